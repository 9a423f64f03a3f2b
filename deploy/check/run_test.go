package check_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	"github.com/nats-io/nats-server/v2/server"
)

func TestMain(m *testing.M) { apptest.Main(m) }

// machine runs the programs of deploy/ on this machine. Each service has an address of its own, in place of its name.
type machine struct {
	t   *testing.T
	dir string

	addresses map[string]string // by the names
}

func newMachine(t *testing.T, names ...string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), addresses: map[string]string{}}
	for _, name := range names {
		m.addresses[name] = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	}
	return m
}

// resolved is the text with addresses instead of names, where a port follows.
func (m *machine) resolved(text string) string {
	return nameWithPort.ReplaceAllStringFunc(text, func(found string) string {
		name, port, _ := strings.Cut(found, ":")
		return cmp.Or(m.addresses[name], name) + ":" + port
	})
}

var nameWithPort = regexp.MustCompile(`[a-z0-9.-]+:[0-9]{4}\b`)

// nats starts a NATS server with the configuration.
func (m *machine) nats(name, text string) *server.Server {
	m.t.Helper()
	file := filepath.Join(m.dir, name+".conf")
	must(m.t, os.WriteFile(file, []byte(m.resolved(text)), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(m.t, err)
	host := m.addresses[name]
	options.Host, options.HTTPHost, options.Cluster.Host = host, host, host
	options.StoreDir, options.PidFile, options.NoSigs = filepath.Join(m.dir, name), "", true
	s, err := server.NewServer(options)
	must(m.t, err)
	s.Start()
	m.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// node starts a Freshet node with the arguments and variables, and asks it as the health check of the image does.
func (m *machine) node(name string, args []string, variables map[string]string) *apptest.Process {
	m.t.Helper()
	command := func(args ...string) *exec.Cmd {
		cmd, err := apptest.Command(m.t.Context(), args...)
		must(m.t, err)
		for name, value := range variables {
			cmd.Env = append(cmd.Env, name+"="+m.resolved(value))
		}
		cmd.Env = append(cmd.Env, "FRESHET_LISTEN="+m.addresses[name]+":8080", "FRESHET_DRAIN=200ms",
			"FRESHET_DATA="+filepath.Join(m.dir, "nothing"), "FRESHET_TRUSTED_PROXY=127.0.0.1")
		return cmd
	}
	s, err := apptest.StartProcess(command(args...))
	must(m.t, err)
	m.t.Cleanup(s.Kill)
	if output, err := command("healthcheck").CombinedOutput(); err != nil {
		m.t.Errorf("the health check of %s: %v: %s", name, err, output)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		m.t.Errorf("a node with NATS writes to its data folder: %v", err)
	}
	return s
}

// status is the status of a GET, or 0.
func (m *machine) status(url string) int {
	r, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, url, nil)
	must(m.t, err)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (m *machine) until(ctx context.Context, url string, status int) {
	m.t.Helper()
	if err := apptest.Until(ctx, func() bool { return m.status(url) == status }); err != nil {
		m.t.Fatalf("%s answers %d, want %d", url, m.status(url), status)
	}
}

// follows publishes at url, and reads from there. Meanwhile restart stops what serves the reader. Nothing is lost.
func follows(ctx context.Context, t *testing.T, url string, restart func()) {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Token: password})
	must(t, err)
	publish := func(data string) {
		_, err := c.Publish(ctx, client.Message{Topic: "news", Data: data, Key: data})
		must(t, err)
	}
	read := make(chan string)
	reading, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	defer func() { stop(); <-ended }()
	go func() {
		defer close(ended)
		for e, err := range c.Subscribe(reading, client.Subscription{Topics: []string{"news"}, Since: "all"}) {
			if err != nil {
				return
			}
			select {
			case read <- e.Data:
			case <-reading.Done():
				return
			}
		}
	}()
	want := func(data string) {
		select {
		case have := <-read:
			if have != data {
				t.Fatalf("the reader got %q, want %q", have, data)
			}
		case <-ctx.Done():
			t.Fatalf("the reader did not get %q", data)
		}
	}
	publish("before")
	want("before")
	restart()
	publish("after")
	want("after")
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// The programs of the Compose file run with its arguments, variables and files. One node after the other stops.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	ctx, project := patient(t), composed(t)
	m := newMachine(t, "freshet-1", "freshet-2", "proxy", "nats")
	nats := m.nats("nats", replace(t, read(t, "compose/nats.conf"), "http: 127.0.0.1:8222", "http: 8222"))
	m.until(ctx, health(t, m, project.Services["nats"].HealthCheck.Test, "nats"), http.StatusOK)
	nodes := map[string]*apptest.Process{}
	start := func(name string) {
		variables := map[string]string{}
		for name, value := range project.Services[name].Environment {
			variables[name] = *value
		}
		nodes[name] = m.node(name, project.Services[name].Command, variables)
	}
	start("freshet-1")
	start("freshet-2")
	proxy := m.addresses["proxy"]
	conf := replace(t, m.resolved(read(t, "compose/nginx.conf")), "listen 8080;", "listen "+proxy+":8080;", "/tmp/", m.dir+"/")
	must(t, os.WriteFile(filepath.Join(m.dir, "nginx.conf"), []byte(conf), 0o600))
	nginx(t, m.dir)
	m.until(ctx, health(t, m, project.Services["proxy"].HealthCheck.Test, "proxy"), http.StatusOK)

	url := "http://" + proxy + ":8080"
	follows(ctx, t, url, func() {
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			must(t, nodes[name].Signal(syscall.SIGTERM))
			must(t, nodes[name].Wait(ctx))
			start(name)
		}
	})
	nats.Shutdown()
	keepsStreamsOpen(ctx, t, m, url)
}

// keepsStreamsOpen checks a node, or nodes, whose NATS is away: there are streams, but it is not ready.
func keepsStreamsOpen(ctx context.Context, t *testing.T, m *machine, url string) {
	t.Helper()
	m.until(ctx, url+"/readyz", http.StatusServiceUnavailable)
	if have := m.status(url + "/livez"); have != http.StatusOK {
		t.Errorf("/livez answers %d without NATS", have)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/event/news", nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	frame := make([]byte, 5)
	if _, err := io.ReadFull(response.Body, frame); err != nil || response.StatusCode != http.StatusOK || string(frame) != "retry" {
		t.Errorf("a stream without NATS has the status %d and begins with %q: %v", response.StatusCode, frame, err)
	}
}

// health is the URL of a health check by wget.
func health(t *testing.T, m *machine, test []string, name string) string {
	t.Helper()
	url := test[len(test)-1]
	if test[0] != "CMD" || test[1] != "wget" {
		t.Fatalf("the health check of %s is %q", name, test)
	}
	return replace(t, url, "127.0.0.1", m.addresses[name])
}

func nginx(t *testing.T, dir string) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil { // on Debian only root has it in the PATH
		program, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		if os.Getenv("FRESHET_REQUIRE_FAULTS") == "1" {
			t.Fatal("nginx is missing, on Debian the package of that name")
		}
		t.Skip("needs nginx, on Debian the package of that name")
	}
	cmd := exec.CommandContext(t.Context(), program, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-g", "daemon off; master_process off;")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// The programs of the manifests run with their variables and files: three NATS servers, and a node that moves between them.
func TestKubernetesRuns(t *testing.T) {
	ctx := patient(t)
	_, manifests := built(t)
	m := newMachine(t, "nats-0.nats", "nats-1.nats", "nats-2.nats", "node")
	spec, _ := nodeOfKubernetes(t, manifests)
	var text string
	for name, c := range manifests.configMaps {
		if strings.HasPrefix(name, "nats-") {
			text = c.Data["nats.conf"]
		}
	}
	var servers []*server.Server
	for name, value := range manifests.environment(t, manifests.statefulSets["nats"].Spec.Template.Spec.Containers[0], secrets(t)) {
		t.Setenv(name, value)
	}
	for _, name := range []string{"nats-0", "nats-1", "nats-2"} {
		t.Setenv("POD_NAME", name)
		servers = append(servers, m.nats(name+".nats", text))
	}
	m.until(ctx, "http://"+m.addresses["nats-0.nats"]+":8222/healthz", http.StatusOK)
	c := spec.Containers[0]
	node := m.node("node", c.Args, manifests.environment(t, c, secrets(t)))
	for name, want := range map[string]string{"startup": c.StartupProbe.HTTPGet.Path, "readiness": c.ReadinessProbe.HTTPGet.Path, "liveness": c.LivenessProbe.HTTPGet.Path} {
		if status := m.status(node.URL + want); status != http.StatusOK {
			t.Errorf("the %s probe gets %d", name, status)
		}
	}
	follows(ctx, t, node.URL, func() {
		servers[0].Shutdown()
		m.until(ctx, node.URL+"/readyz", http.StatusOK)
	})
	servers[1].Shutdown()
	servers[2].Shutdown()
	keepsStreamsOpen(ctx, t, m, node.URL)
	if status := m.status(node.URL + c.ReadinessProbe.HTTPGet.Path); status != http.StatusOK {
		t.Errorf("without NATS, the readiness probe gets %d, and Kubernetes takes all nodes out of service", status)
	}
}
