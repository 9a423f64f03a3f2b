//go:build full

package faults_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"freshet/doctor"
)

// breakage is a proxy's configuration that breaks or disturbs streams, and what the doctor has to find.
type breakage struct {
	program, config string // %[1]s is the proxy's address, %[2]s the server's
	check           string
	result          doctor.Result
	seen            string // a part of the finding
	first           string // the first advice is for it
}

const haproxyDefaults = "defaults\n mode http\n timeout connect 5s\n timeout client 50s\n timeout server 50s\nlisten a\n bind %[1]s\n server a %[2]s\n"

var breakages = map[string]breakage{
	"nginx buffers": {"nginx", "server { listen %[1]s; location / { proxy_pass http://%[2]s; proxy_ignore_headers X-Accel-Buffering; } }",
		"first-byte", doctor.Fail, "holds it back", "nginx"},
	"nginx compresses": {"nginx", "server { listen %[1]s; gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any; location / { proxy_pass http://%[2]s; proxy_http_version 1.1; } }",
		"compression", doctor.Warn, "compressed with gzip", "nginx"},
	"nginx is hasty": {"nginx", "server { listen %[1]s; proxy_read_timeout 1s; location / { proxy_pass http://%[2]s; } }",
		"time-out", doctor.Fail, "a quiet stream", "nginx"},
	"nginx drops the ID": {"nginx", `server { listen %[1]s; location / { proxy_pass http://%[2]s; proxy_set_header Last-Event-ID ""; } }`,
		"resume", doctor.Fail, "does not reach the server", "nginx"},
	"nginx and the server allow origins": {"nginx", "server { listen %[1]s; add_header Access-Control-Allow-Origin *; location / { proxy_pass http://%[2]s; } }",
		"cors", doctor.Fail, "more than one value", "nginx"},
	"HAProxy buffers":    {"haproxy", haproxyDefaults + " http-response wait-for-body time 30s at-least 8000\n", "first-byte", doctor.Fail, "holds it back", "nginx"},
	"HAProxy is hasty":   {"haproxy", haproxyDefaults + " timeout server 1s\n", "time-out", doctor.Fail, "a quiet stream", "nginx"},
	"Caddy is hasty":     {"caddy", "{\n admin off\n auto_https off\n servers {\n  timeouts {\n   write 1s\n  }\n }\n}\nhttp://%[1]s {\n reverse_proxy %[2]s\n}\n", "time-out", doctor.Fail, "a stream with an event each second", "Caddy"},
	"Caddy is as it is":  {"caddy", "{\n admin off\n auto_https off\n}\nhttp://%[1]s {\n encode gzip\n reverse_proxy %[2]s\n}\n", "delivery", doctor.OK, "one by one", ""},
	"nginx is as it is":  {"nginx", "server { listen %[1]s; location / { proxy_pass http://%[2]s; } }", "delivery", doctor.OK, "one by one", ""},
	"HAProxy as Debians": {"haproxy", haproxyDefaults, "delivery", doctor.OK, "one by one", ""},
}

// The doctor finds what a real proxy breaks, names the proxy's setting first where the proxy names itself, and finds nothing else that fails.
func TestDoctorFindsWhatProxiesBreak(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	s := start(ctx, t, t.TempDir(), "--counter-interval", "100ms", "--heartbeat", "10m")
	for name, b := range breakages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, b.program)
			p.configure(t, fmt.Sprintf(b.config, p.plain, s.Addr()))
			p.start(ctx, t)
			report := examined(ctx, t, doctor.Config{URL: "http://" + p.plain, Origin: "https://app.example"})
			for _, f := range report.Findings {
				if f.Result == doctor.Fail && f.Check != b.check {
					t.Errorf("%s fails too: %s", f.Check, f.Seen)
				}
			}
			f := finding(t, report, b.check)
			if f.Result != b.result || !strings.Contains(f.Seen, b.seen) || b.first != "" && (len(f.Advice) == 0 || f.Advice[0].At != b.first) {
				t.Errorf("got %+v, want %s, %q and first %s", f, b.result, b.seen, b.first)
			}
			if report.OK != (b.result != doctor.Fail) || !report.Freshet {
				t.Errorf("ok %v, freshet %v", report.OK, report.Freshet)
			}
		})
	}
}

// Behind the configurations that are shipped, nothing fails, and HTTP/2 and the certificate are seen.
func TestDoctorFindsNothingBehindOurProxies(t *testing.T) {
	eachProxy(t, func(t *testing.T, k proxyKind) {
		ctx := begin(t)
		s := start(ctx, t, t.TempDir(), "--counter-interval", "100ms", "--heartbeat", "200ms")
		p := k.start(ctx, t, s.Addr())
		_, port, _ := strings.Cut(p.secure, ":")
		report := examined(ctx, t, doctor.Config{URL: "https://127.0.0.1:" + port, Origin: "https://app.example", Roots: p.tls().RootCAs, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, p.secure) // the certificate is for 127.0.0.1 alone
		}})
		if !report.OK || !report.Freshet {
			t.Errorf("%+v", report)
		}
		for _, check := range []string{"connect", "tls", "http", "resume", "delivery", "compression", "heartbeats", "time-out"} {
			if f := finding(t, report, check); f.Result != doctor.OK {
				t.Errorf("%+v", f)
			}
		}
	})
}

func examined(ctx context.Context, t *testing.T, cfg doctor.Config) doctor.Report {
	t.Helper()
	cfg.For = 3 * time.Second
	report, err := doctor.Examine(ctx, cfg)
	must(t, err)
	return report
}

func finding(t *testing.T, report doctor.Report, check string) doctor.Finding {
	t.Helper()
	for _, f := range report.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding of %s in %+v", check, report)
	return doctor.Finding{}
}
