package check_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/config"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose is the file compose.yaml with its variables.
func compose(ctx context.Context, file string, variables ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithEnv(variables), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

func composed(t *testing.T) *types.Project {
	t.Helper()
	project, err := compose(t.Context(), "../compose.yaml", "FRESHET_PUBLISH_TOKEN="+password)
	must(t, err)
	return project
}

// isNode reports whether the service is a Freshet node.
func isNode(s types.ServiceConfig) bool { return s.Image == "freshet" }

// nodeOfCompose are the settings of a service that is a Freshet node.
func nodeOfCompose(t *testing.T, s types.ServiceConfig) config.Config {
	t.Helper()
	variables := map[string]string{}
	for name, value := range s.Environment {
		variables[name] = *value
	}
	return settings(t, s.Command, variables)
}

func TestCompose(t *testing.T) {
	project := composed(t)
	services := project.Services
	if have := strings.Join(slices.Sorted(maps.Keys(services)), " "); have != "freshet-1 freshet-2 nats proxy" {
		t.Fatalf("the services are %s", have)
	}
	edge, err := netip.ParsePrefix(project.Networks["edge"].Ipam.Config[0].Subnet)
	must(t, err)
	if _, together := services["nats"].Networks["edge"]; together || !project.Networks["log"].Internal {
		t.Error("others can reach NATS, which has no password")
	}
	proxy := read(t, "compose/nginx.conf")
	addresses := map[string]bool{}
	for name, s := range services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s has more rights than it needs", name)
		}
		if on := s.Networks["edge"]; on != nil {
			address, err := netip.ParseAddr(on.Ipv4Address)
			if err != nil || !edge.Contains(address) || addresses[on.Ipv4Address] {
				t.Errorf("%s has the address %q", name, on.Ipv4Address)
			}
			addresses[on.Ipv4Address] = true
		}
		if !isNode(s) {
			continue
		}
		cfg := nodeOfCompose(t, s)
		if grace := time.Duration(*s.StopGracePeriod); grace < cfg.Drain+stopping {
			t.Errorf("%s: stop_grace_period %v is too short for --drain %v", name, grace, cfg.Drain)
		}
		if cfg.NATS != "nats://nats:4222" || !slices.Equal(cfg.Listen, []string{":8080"}) || cfg.TrustedProxies[0].Addr().String() != services["proxy"].Networks["edge"].Ipv4Address {
			t.Errorf("%s listens on %q, trusts %v and uses %s", name, cfg.Listen, cfg.TrustedProxies, string(cfg.NATS))
		}
		if s.Ulimits["nofile"].Single < cfg.MaxConnections+200 {
			t.Errorf("%s may open %d files", name, s.Ulimits["nofile"].Single)
		}
		if s.Build.Dockerfile != filepath.Join(s.Build.Context, "deploy", "Dockerfile") && s.Build.Dockerfile != "deploy/Dockerfile" {
			t.Errorf("%s is built with %s in %s", name, s.Build.Dockerfile, s.Build.Context)
		}
		if !strings.Contains(proxy, "server "+name+":8080 ") {
			t.Errorf("the proxy does not use %s", name)
		}
		natsOptions(t, read(t, "compose/nats.conf"), cfg)
	}
	for name, c := range project.Configs {
		if _, err := os.Stat(c.File); err != nil {
			t.Errorf("the configuration %s: %v", name, err)
		}
	}
}

// A Compose file that docker compose would refuse fails here too.
func TestBrokenComposeFilesAreFound(t *testing.T) {
	text := read(t, "compose.yaml")
	for want, change := range map[string][2]string{
		"stop_grace false schema":                     {"stop_grace_period:", "stop_grace:"},
		"invalid duration":                            {"stop_grace_period: 15s", "stop_grace_period: soon"},
		`undefined network lag`:                       {"networks: [log]", "networks: [lag]"},
		`depends on undefined service`:                {"    depends_on:\n      freshet-1:", "    depends_on:\n      freshet-3:"},
		`refers to undefined volume`:                  {`["log:/data"]`, `["logs:/data"]`},
		`run export FRESHET_PUBLISH_TOKEN=$(openssl `: {"${FRESHET_PUBLISH_TOKEN:", "${FRESHET_TOKEN:"},
	} {
		file := filepath.Join(t.TempDir(), "compose.yaml")
		must(t, os.WriteFile(file, []byte(replace(t, text, change[:]...)), 0o600))
		if _, err := compose(t.Context(), file, "FRESHET_PUBLISH_TOKEN="+password); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q instead of %q gives %v, want %s", change[1], change[0], err, want)
		}
	}
}
