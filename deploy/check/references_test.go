package check_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// pods are the templates of the pods, by the names of their workloads.
func (m manifests) pods() map[string]core.PodTemplateSpec {
	pods := map[string]core.PodTemplateSpec{}
	for name, d := range m.deployments {
		pods[name] = d.Spec.Template
	}
	for name, s := range m.statefulSets {
		pods[name] = s.Spec.Template
	}
	return pods
}

// problems are references to things that do not exist, which Kubernetes accepts, and rights that a pod does not need.
func (m manifests) problems() (problems []string) {
	say := func(broken bool, format string, args ...any) {
		if broken {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	// selected are the ports of the pods that the labels select.
	selected := func(what string, labels map[string]string) (ports []core.ContainerPort) {
		for _, pod := range m.pods() {
			if isSelected(labels, pod.Labels) {
				ports = append(ports, pod.Spec.Containers[0].Ports...)
			}
		}
		say(len(ports) == 0, "%s selects no pod", what)
		return ports
	}
	for name, d := range m.deployments {
		say(!isSelected(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels), "%s selects other pods than its own", name)
	}
	for name, s := range m.statefulSets {
		say(!isSelected(s.Spec.Selector.MatchLabels, s.Spec.Template.Labels), "%s selects other pods than its own", name)
		say(m.services[s.Spec.ServiceName] == nil, "%s has no service %s", name, s.Spec.ServiceName)
	}
	for name, b := range m.budgets {
		selected("budget "+name, b.Spec.Selector.MatchLabels)
	}
	for name, s := range m.services {
		ports := selected("service "+name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			say(!hasPort(ports, p.TargetPort), "service %s: no pod has the port %s", name, p.TargetPort.String())
		}
	}
	for name, p := range m.policies {
		ports := selected("policy "+name, p.Spec.PodSelector.MatchLabels)
		for _, rule := range p.Spec.Ingress {
			for _, from := range rule.From {
				selected("policy "+name, from.PodSelector.MatchLabels)
			}
			for _, p := range rule.Ports {
				say(!hasPort(ports, *p.Port), "policy %s: no pod has the port %s", name, p.Port.String())
			}
		}
	}
	for name, i := range m.ingresses {
		for _, rule := range i.Spec.Rules {
			say(len(i.Spec.TLS) != 1 || !slices.Contains(i.Spec.TLS[0].Hosts, rule.Host), "ingress %s: %s has no TLS", name, rule.Host)
			for _, path := range rule.HTTP.Paths {
				to := path.Backend.Service
				s := m.services[to.Name]
				say(s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == to.Port.Name }), "ingress %s: no service %s has the port %s", name, to.Name, to.Port.Name)
			}
		}
	}
	for name, pod := range m.pods() {
		problems = append(problems, m.podProblems(name, pod)...)
	}
	return problems
}

func (m manifests) podProblems(name string, pod core.PodTemplateSpec) (problems []string) {
	say := func(broken bool, format string, args ...any) {
		if broken {
			problems = append(problems, name+": "+fmt.Sprintf(format, args...))
		}
	}
	spec, c := pod.Spec, pod.Spec.Containers[0]
	say(len(spec.Containers) != 1, "more than one container")
	say(len(spec.TopologySpreadConstraints) == 0 || spec.TopologySpreadConstraints[0].WhenUnsatisfiable != core.DoNotSchedule, "pods may share a machine")
	for _, spread := range spec.TopologySpreadConstraints {
		say(!isSelected(spread.LabelSelector.MatchLabels, pod.Labels), "the pods are not spread")
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		say(probe == nil || !hasPort(c.Ports, probe.HTTPGet.Port), "a probe has no port")
	}
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = true
		say(v.ConfigMap != nil && m.configMaps[v.ConfigMap.Name] == nil, "no config map of the volume %s", v.Name)
	}
	if s := m.statefulSets[name]; s != nil {
		for _, claim := range s.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = true
		}
	}
	for _, mount := range c.VolumeMounts {
		say(!volumes[mount.Name], "no volume %s", mount.Name)
	}
	for _, from := range c.EnvFrom {
		say(m.configMaps[from.ConfigMapRef.Name] == nil, "no config map %s", from.ConfigMapRef.Name)
	}
	p, s := spec.SecurityContext, c.SecurityContext
	say(!*p.RunAsNonRoot || *p.RunAsUser == 0 || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation ||
		!slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || *spec.AutomountServiceAccountToken, "more rights than it needs")
	say(c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() || !c.Resources.Limits.Cpu().IsZero(), "want a request and a limit of memory, and no limit of CPU")
	return problems
}

// isSelected reports whether a pod with the labels has those of the selector, which is not empty.
func isSelected(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

func hasPort(ports []core.ContainerPort, want intstr.IntOrString) bool {
	return slices.ContainsFunc(ports, func(p core.ContainerPort) bool {
		return want.Type == intstr.String && p.Name == want.StrVal || want.Type == intstr.Int && p.ContainerPort == want.IntVal
	})
}

func TestManifestsReferToEachOther(t *testing.T) {
	text, m := built(t)
	if problems := m.problems(); problems != nil {
		t.Errorf("%q", problems)
	}
	want := "deployments freshet, sets nats, services freshet nats, ingresses freshet, budgets freshet nats, policies nats"
	have := fmt.Sprintf("deployments %s, sets %s, services %s, ingresses %s, budgets %s, policies %s",
		names(m.deployments), names(m.statefulSets), names(m.services), names(m.ingresses), names(m.budgets), names(m.policies))
	if have != want {
		t.Errorf("the manifests have %s; want %s", have, want)
	}
	for _, o := range []meta.Object{m.deployments["freshet"], m.statefulSets["nats"], m.services["freshet"], m.ingresses["freshet"]} {
		if o.GetNamespace() != "freshet" {
			t.Errorf("%s is in the namespace %q", o.GetName(), o.GetNamespace())
		}
	}
	for name, change := range map[string][2]string{
		"service freshet: no pod has the port http": {"containerPort: 8080\n          name: http", "containerPort: 8080\n          name: web"},
		"service freshet: no pod has the port web":  {"targetPort: http", "targetPort: web"},
		"freshet: no config map other":              {"configMapRef:\n            name: freshet-", "configMapRef:\n            name: other-"},
		"nats: no volume log":                       {"- metadata:\n      name: log", "- metadata:\n      name: data"},
		"nats: pods may share a machine":            {"whenUnsatisfiable: DoNotSchedule", "whenUnsatisfiable: ScheduleAnyway"},
		"nats: more rights than it needs":           {"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"},
	} {
		m, err := parseManifests(replace(t, text, change[:]...))
		must(t, err)
		if problems := strings.Join(m.problems(), "\n"); !strings.Contains(problems, name) {
			t.Errorf("%q instead of %q gives %q, want %s", change[1], change[0], problems, name)
		}
	}
}

func names[T any](objects map[string]T) string {
	return strings.Join(slices.Sorted(maps.Keys(objects)), " ")
}
