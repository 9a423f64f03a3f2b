package check_test

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"freshet/config"

	core "k8s.io/api/core/v1"
)

// environment is what Kubernetes gives to the container. secrets has the values of the secret.
func (m manifests) environment(t *testing.T, c core.Container, secrets map[string]string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, from := range c.EnvFrom {
		for name, value := range m.configMaps[from.ConfigMapRef.Name].Data {
			found[name] = value
		}
	}
	for _, e := range c.Env {
		value := e.Value
		for _, before := range c.Env {
			value = strings.ReplaceAll(value, "$("+before.Name+")", found[before.Name])
		}
		switch from := e.ValueFrom; {
		case from != nil && from.SecretKeyRef != nil:
			if value = secrets[from.SecretKeyRef.Key]; value == "" || from.SecretKeyRef.Name != "credentials" {
				t.Errorf("the kustomization's commands make no %s in the secret %s", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
			}
		case from != nil && from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.name":
			value = "nats-0"
		case from != nil:
			t.Errorf("nothing checks where %s comes from", e.Name)
		}
		found[e.Name] = value
	}
	return found
}

// ofFreshet are the variables without those of other programs, which are one: Go's.
func ofFreshet(t *testing.T, environment map[string]string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name, value := range environment {
		if strings.HasPrefix(name, "FRESHET_") {
			found[name] = value
		} else if name != "GOMEMLIMIT" && name != "NATS_PASSWORD" {
			t.Errorf("nothing reads the variable %s", name)
		}
	}
	return found
}

// secrets are what the commands in the kustomization create.
func secrets(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, word := range strings.Fields(read(t, "kubernetes/kustomization.yaml")) {
		if key, isKey := strings.CutPrefix(word, "--from-literal="); isKey {
			key, _, _ = strings.Cut(key, "=")
			found[key] = password
		}
	}
	return found
}

func nodeOfKubernetes(t *testing.T, m manifests) (core.PodSpec, config.Config) {
	t.Helper()
	spec := m.deployments["freshet"].Spec.Template.Spec
	c := spec.Containers[0]
	return spec, settings(t, c.Args, ofFreshet(t, m.environment(t, c, secrets(t))))
}

func TestNodesInKubernetes(t *testing.T) {
	_, m := built(t)
	spec, cfg := nodeOfKubernetes(t, m)
	nats, c := m.statefulSets["nats"], spec.Containers[0]
	if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace < cfg.Drain+stopping {
		t.Errorf("the termination grace period %v is too short for --drain %v", grace, cfg.Drain)
	}
	if cfg.Replicas != int(*nats.Spec.Replicas) || cfg.Replicas != 3 || *m.deployments["freshet"].Spec.Replicas != 3 {
		t.Errorf("%d copies on %d NATS servers", cfg.Replicas, *nats.Spec.Replicas)
	}
	for i, text := range strings.Split(string(cfg.NATS), ",") {
		u, err := url.Parse(text)
		must(t, err)
		if set, _ := u.User.Password(); u.Host != fmt.Sprintf("nats-%d.%s:4222", i, nats.Spec.ServiceName) || set != password {
			t.Errorf("--nats has %s", text)
		}
	}
	host := m.ingresses["freshet"].Spec.Rules[0].Host
	if len(cfg.Hosts) != 1 || cfg.Hosts[0] != host {
		t.Errorf("--host is %q, the ingress is for %s", cfg.Hosts, host)
	}
	if cfg.Listen[0] != fmt.Sprintf(":%d", c.Ports[0].ContainerPort) {
		t.Errorf("the node listens on %q", cfg.Listen)
	}
	if start := c.StartupProbe; time.Duration(start.PeriodSeconds*start.FailureThreshold)*time.Second <= cfg.NATSWait+stopping {
		t.Errorf("a node is killed while it waits for NATS")
	}
	// The kernel's part of a connection is in the limit too (docs/scaling-one-node.md).
	const kernel = 4700
	limit := c.Resources.Limits.Memory().Value()
	if int64(cfg.MaxConnections)*kernel > limit-700<<20 {
		t.Errorf("%d connections do not fit into %d bytes beside GOMEMLIMIT", cfg.MaxConnections, limit)
	}
}

func TestNATSInKubernetes(t *testing.T) {
	_, m := built(t)
	_, cfg := nodeOfKubernetes(t, m)
	set := m.statefulSets["nats"]
	spec := set.Spec.Template.Spec
	c := spec.Containers[0]
	for name, value := range m.environment(t, c, secrets(t)) {
		t.Setenv(name, value)
	}
	text := ""
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil {
			text = m.configMaps[v.ConfigMap.Name].Data["nats.conf"]
		}
	}
	options := natsOptions(t, text, cfg)
	if options.Password != password || options.Username != "freshet" || options.ServerName != "nats-0" {
		t.Errorf("the server %s has the user %s with the password %s", options.ServerName, options.Username, options.Password)
	}
	for i, route := range options.Routes {
		if route.Host != fmt.Sprintf("nats-%d.%s:%d", i, set.Spec.ServiceName, options.Cluster.Port) {
			t.Errorf("a route leads to %s", route.Host)
		}
	}
	if len(options.Routes) != int(*set.Spec.Replicas) {
		t.Errorf("there are %d routes", len(options.Routes))
	}
	want := map[string]int32{"client": int32(options.Port), "cluster": int32(options.Cluster.Port), "monitor": int32(options.HTTPPort)}
	for _, p := range c.Ports {
		if want[p.Name] != p.ContainerPort {
			t.Errorf("the port %s is %d, in nats.conf %d", p.Name, p.ContainerPort, want[p.Name])
		}
	}
	if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace < options.LameDuckDuration+stopping {
		t.Errorf("the termination grace period %v is too short for lame_duck_duration %v", grace, options.LameDuckDuration)
	}
	if disk := set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().Value(); disk < options.JetStreamMaxStore {
		t.Errorf("the disk has %d bytes, JetStream may take %d", disk, options.JetStreamMaxStore)
	}
	mounts := map[string]bool{}
	for _, mount := range c.VolumeMounts {
		mounts[mount.MountPath] = true
	}
	folder, _, _ := strings.Cut(options.PidFile, "/nats.pid")
	if !mounts[options.StoreDir] || !mounts[folder] || !strings.Contains(strings.Join(c.Lifecycle.PreStop.Exec.Command, " "), cmp.Or(options.PidFile, "no file")) {
		t.Errorf("JetStream's folder %s, or the file %s, is not in a volume: %v", options.StoreDir, options.PidFile, mounts)
	}
}
