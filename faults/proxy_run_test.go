package faults_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/client"
)

// proxyKind is a proxy whose configuration is in deploy/. Tests use that file with some
// replacements: pairs of an old and a new text.
type proxyKind struct {
	program, file string
	moved         func(p *proxy, upstream string) []string // to the test's addresses and files
	hasty         []string                                 // a second of silence is too long
}

var proxyKinds = []proxyKind{{
	program: "nginx",
	file:    "../deploy/nginx/freshet.conf",
	moved: func(p *proxy, upstream string) []string {
		return []string{
			"server 127.0.0.1:8080 ", "server " + upstream + " ",
			"listen 80;", "listen " + p.plain + ";",
			"listen [::]:80;", "",
			"listen 443 ", "listen " + p.secure + " ",
			"listen [::]:443 ssl http2;", "",
			"/etc/ssl/certs/freshet.pem", p.identity,
			"/etc/ssl/private/freshet.key", p.identity,
			// An operator's nginx.conf may compress everything.
			"upstream freshet {", "gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any; upstream freshet {",
		}
	},
	hasty: []string{"proxy_read_timeout 60s;", "proxy_read_timeout 1s;"},
}, {
	program: "haproxy",
	file:    "../deploy/haproxy/haproxy.cfg",
	moved: func(p *proxy, upstream string) []string {
		return []string{
			"server a 127.0.0.1:8080 ", "server a " + upstream + " ",
			"bind :80\n", "bind " + p.plain + "\n",
			"bind :443 ", "bind " + p.secure + " ",
			"/etc/haproxy/freshet.pem", p.identity,
			// The test's user may not do more.
			"maxconn 20000\n", "maxconn 500\n",
			"user haproxy\n", "\n",
			"group haproxy\n", "\n",
			"chroot /var/lib/haproxy\n", "\n",
		}
	},
	hasty: []string{"timeout server 60s\n", "timeout server 1s\n", "timeout client 60s\n", "timeout client 1s\n"},
}, {
	program: "caddy",
	file:    "../deploy/caddy/Caddyfile",
	moved: func(p *proxy, upstream string) []string {
		_, port, _ := strings.Cut(p.secure, ":")
		return []string{
			"to 127.0.0.1:8080\n", "to " + upstream + "\n",
			// The test's certificate.
			"freshet.example.org {\n", "https://:" + port + " {\n bind " + strings.TrimSuffix(p.secure, ":"+port) + "\n tls " + p.identity + " " + p.identity + "\n",
			// No ports of Caddy's own.
			"grace_period 5m\n", "grace_period 5m\n admin off\n auto_https off\n",
		}
	},
	hasty: []string{"read_timeout 60s\n", "read_timeout 1s\n"},
}}

// eachProxy runs the test with each proxy whose configuration is in deploy/.
func eachProxy(t *testing.T, test func(*testing.T, proxyKind)) {
	t.Parallel()
	for _, k := range proxyKinds {
		t.Run(k.program, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// start starts the proxy in front of the server at the address upstream, with further replacements.
func (k proxyKind) start(ctx context.Context, t *testing.T, upstream string, changes ...string) *proxy {
	t.Helper()
	text, err := os.ReadFile(k.file)
	must(t, err)
	p := newProxy(t, k.program)
	p.configure(t, replaceEach(t, string(text), append(k.moved(p, upstream), changes...)))
	p.start(ctx, t)
	return p
}

func replaceEach(t *testing.T, text string, changes []string) string {
	t.Helper()
	for change := range slices.Chunk(changes, 2) {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the configuration that is shipped has no %q", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	return text
}

// proxy is a proxy in front of a server, with its own folder and ports.
type proxy struct {
	URL    string       // https
	Client *http.Client // trusts it; speaks HTTP/2

	program  string
	dir      string
	plain    string   // address without TLS
	secure   string   // address with TLS
	listens  []string // the configured ones of the two
	identity string   // file of a certificate and its key
	cmd      *exec.Cmd
	exited   chan struct{}
}

// newProxy finds the program and makes its folder. The caller configures and starts it.
func newProxy(t *testing.T, program string) *proxy {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil { // on Debian only root has it in the PATH
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	if err != nil {
		missing(t, "%s, on Debian the package of that name", program)
	}
	p := &proxy{program: path, dir: t.TempDir(), plain: ownAddress(t), secure: ownAddress(t)}
	p.URL = "https://" + p.secure

	// A test server of net/http has a certificate and a client that trusts it.
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	p.Client = server.Client()
	p.tls().ServerName = "example.com" // as the certificate says
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	must(t, err)
	p.identity = filepath.Join(p.dir, "identity.pem")
	must(t, os.WriteFile(p.identity, slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600))
	return p
}

// ownAddress returns an address of this machine that nothing else uses, on a host that other
// tests do not use. A port that is closed for a while stays free there, and HAProxy would
// share a port with others unnoticed.
func ownAddress(t *testing.T) string {
	t.Helper()
	_, port, _ := strings.Cut(apptest.FreeAddress(t), ":")
	return fmt.Sprintf("127.%d.%d.%d:%s", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254), port)
}

// nginxConf is an operator's nginx.conf, which includes ours.
const nginxConf = `
events {}
error_log stderr;
pid nginx.pid;
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	include freshet.conf;
}
`

// configure writes the configuration that the proxy reads when it starts.
func (p *proxy) configure(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(p.dir, "nginx.conf"), []byte(nginxConf), 0o600))
	must(t, os.WriteFile(filepath.Join(p.dir, "freshet.conf"), []byte(text), 0o600))
	p.listens = slices.DeleteFunc([]string{p.plain, p.secure}, func(address string) bool {
		host, port, _ := strings.Cut(address, ":")
		return !strings.Contains(text, address) && !strings.Contains(text, "bind "+host+"\n") || !strings.Contains(text, port)
	})
}

// start starts the process and returns when it accepts connections at each address. The
// process ends with the test.
func (p *proxy) start(ctx context.Context, t *testing.T) {
	t.Helper()
	var args []string
	switch filepath.Base(p.program) {
	case "nginx": // one process, which can be killed
		args = []string{"-p", p.dir, "-c", filepath.Join(p.dir, "nginx.conf"), "-g", "daemon off; master_process off;"}
	case "haproxy":
		args = []string{"-db", "-f", "freshet.conf"}
	case "caddy":
		args = []string{"run", "--config", "freshet.conf", "--adapter", "caddyfile"}
	case "traefik":
		args = []string{"--configfile=traefik.yaml"}
	}
	p.cmd = exec.CommandContext(ctx, p.program, args...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir, "XDG_DATA_HOME="+p.dir) // Caddy keeps files there
	p.cmd.Stdout, p.cmd.Stderr = t.Output(), t.Output()
	must(t, p.cmd.Start())
	exited := make(chan struct{})
	p.exited = exited
	go func() {
		defer close(exited)
		_ = p.cmd.Wait() // the test kills it
	}()
	t.Cleanup(p.kill)
	for _, address := range p.listens {
		must(t, apptest.Until(ctx, func() bool {
			select {
			case <-exited:
				t.Fatalf("%s has ended", p.program)
			default:
			}
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return err == nil && conn.Close() == nil
		}))
	}
}

// kill ends the process at once, as SIGKILL does.
func (p *proxy) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// tls is the configuration of Client.
func (p *proxy) tls() *tls.Config { return p.Client.Transport.(*http.Transport).TLSClientConfig }

// client returns a client of the proxy that sends each request once.
func (p *proxy) client(t *testing.T, transport *http.Client, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: p.URL, Token: token, HTTP: transport, Attempts: 1})
	must(t, err)
	return c
}

// reader returns a client that reads through the proxy, each stream over a connection of
// its own from the address; from any address if it is empty.
func (p *proxy) reader(t *testing.T, address string) *client.Client {
	t.Helper()
	return p.client(t, &http.Client{Transport: &http.Transport{DialTLSContext: p.from(address)}}, "")
}

// from returns how to connect to the proxy from an address of this machine, over TLS, for
// HTTP/1.1; from any address if it is empty.
func (p *proxy) from(address string) func(ctx context.Context, network, address string) (net.Conn, error) {
	config := p.tls().Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := &net.Dialer{}
	if address != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext
}
