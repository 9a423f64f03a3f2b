package doctor

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The programs and services that have settings here.
const (
	nginx      = "nginx"
	haproxy    = "HAProxy"
	caddy      = "Caddy"
	traefik    = "Traefik"
	envoy      = "Envoy"
	cloudflare = "Cloudflare"
	aws        = "AWS"
)

var (
	buffering = []Advice{
		{nginx, "proxy_buffering off; in the location of the stream, and no proxy_ignore_headers X-Accel-Buffering"},
		{haproxy, "remove http-response wait-for-body"},
		{caddy, "remove response_buffers (before 2.7: buffer_responses) from reverse_proxy"},
		{traefik, "remove the middleware buffering from the router"},
		{envoy, "remove filters that collect the response, such as file_system_buffer, or ext_proc with the body mode BUFFERED"},
		{cloudflare, "a cache rule that bypasses the cache, and no features that rewrite bodies, for the path of the stream"},
		{aws, "no Lambda target behind the load balancer, and no API Gateway before it: both collect the response"},
	}
	compressing = []Advice{
		{nginx, "gzip off; (and brotli off;) in the location of the stream"},
		{haproxy, "leave text/event-stream out of compression type"},
		{caddy, "in encode, a match with header Content-Type that leaves text/event-stream out"},
		{traefik, "compress.excludedContentTypes: text/event-stream"},
		{envoy, "leave text/event-stream out of content_type of the filter compressor"},
		{cloudflare, "a compression rule that turns compression off for the path, or Cache-Control: no-transform from the server"},
		{aws, "in CloudFront, compress objects automatically: no"},
	}
	idle = []Advice{
		{nginx, "proxy_read_timeout (default 60s), four times the heartbeat or more"},
		{haproxy, "timeout server and timeout client, four times the heartbeat or more; Debian's file has 50s"},
		{caddy, "read_timeout and write_timeout of transport http in reverse_proxy (no default)"},
		{envoy, "stream_idle_timeout (default 5m) and the route's idle_timeout"},
		{cloudflare, "the proxy read time-out (120 s) is fixed outside Enterprise: more frequent heartbeats"},
		{aws, "idle_timeout.timeout_seconds of the load balancer (default 60)"},
	}
	duration = []Advice{
		{envoy, "timeout: 0s of the route (default 15s), and no max_stream_duration"},
		{caddy, "timeouts { write 0 } in the global options servers"},
		{traefik, "respondingTimeouts.writeTimeout: 0 of the entry point"},
		{nginx, "a worker that ends after a reload cuts its streams: worker_shutdown_timeout"},
		{haproxy, "a process that ends after a reload cuts its streams: hard-stop-after"},
		{aws, "no API Gateway before the load balancer: it ends responses after 30 s"},
	}
	http2 = []Advice{
		{nginx, "http2 on; (before 1.25.1: listen 443 ssl http2;)"},
		{haproxy, "alpn h2,http/1.1 of the line bind"},
		{caddy, "h2 among the protocols of the global options servers (default)"},
		{traefik, "h2 among alpnProtocols of the TLS options (default)"},
		{envoy, "alpn_protocols: [h2, http/1.1] of the listener's TLS context, and codec_type: AUTO"},
		{cloudflare, "Speed, Settings, HTTP/2: on"},
		{aws, "an HTTPS listener, and routing.http2.enabled of the load balancer: true"},
	}
	twice = []Advice{
		{nginx, "remove add_header Access-Control-Allow-Origin, or add proxy_hide_header Access-Control-Allow-Origin"},
		{haproxy, "http-response set-header instead of add-header, or neither"},
		{caddy, "remove header Access-Control-Allow-Origin, or add header_down -Access-Control-Allow-Origin"},
		{traefik, "remove accessControlAllowOriginList of the middleware headers"},
		{envoy, "remove the filter cors"},
		{cloudflare, "remove the transform rule for response headers"},
		{aws, "remove the listener's attribute routing.http.response.access_control_allow_origin.header_value"},
	}
	cached = []Advice{
		{nginx, "proxy_cache off; in the location of the stream"},
		{haproxy, "no http-request cache-use for the stream"},
		{cloudflare, "a cache rule that bypasses the cache for the path"},
		{aws, "in CloudFront, the cache policy CachingDisabled"},
	}
	lostHeader = []Advice{
		{nginx, "no proxy_set_header Last-Event-ID, and no proxy_pass_request_headers off"},
		{haproxy, "no http-request del-header Last-Event-ID"},
		{caddy, "no header_up -Last-Event-ID"},
		{traefik, "no Last-Event-ID among customRequestHeaders of the middleware headers"},
		{envoy, "no last-event-id among request_headers_to_remove"},
		{cloudflare, "no transform rule that removes the header"},
		{aws, "in CloudFront, the origin request policy AllViewer"},
	}
	chain = []Advice{
		{nginx, "ssl_certificate names a file with the certificate, followed by those of its authority (fullchain.pem)"},
		{haproxy, "crt names a file with the certificate, those of its authority, and the key"},
		{traefik, "certFile has the certificate, followed by those of its authority"},
		{envoy, "certificate_chain has the certificate, followed by those of its authority"},
		{aws, "import the certificate again, together with its chain"},
	}
)

// usualTimes are default time-outs, by which the cause can be guessed.
var usualTimes = []struct {
	after time.Duration
	at    []string
}{
	{15 * time.Second, []string{envoy}},
	{30 * time.Second, []string{aws, haproxy}}, // API Gateway, and many examples of haproxy.cfg
	{50 * time.Second, []string{haproxy}},      // Debian's haproxy.cfg
	{60 * time.Second, []string{nginx, aws}},
	{100 * time.Second, []string{cloudflare}},
	{120 * time.Second, []string{cloudflare}},
	{5 * time.Minute, []string{envoy}},
}

// usualAt returns whose default is so long.
func usualAt(after time.Duration) []string {
	for _, t := range usualTimes {
		if after > t.after-t.after/50 && after < t.after+max(t.after/50, time.Second) {
			return t.at
		}
	}
	return nil
}

// usual is usualAt as a part of a sentence.
func usual(after time.Duration) string {
	if at := usualAt(after); at != nil {
		return ", a usual time-out of " + strings.Join(at, " and ")
	}
	return ""
}

// advise returns the advice in the order of likelihood: first for proxies that have named themselves, then for the likely ones.
func (x *examination) advise(advice []Advice, likely ...string) []Advice {
	first := append(slices.Clone(x.proxies), likely...)
	sorted := slices.Clone(advice)
	slices.SortStableFunc(sorted, func(a, b Advice) int { return place(first, a.At) - place(first, b.At) })
	return sorted
}

func place(first []string, name string) int {
	if i := slices.Index(first, name); i >= 0 {
		return i
	}
	return len(first)
}

// identify notes the proxies that the headers name.
func (x *examination) identify(h http.Header) {
	server, via := strings.ToLower(h.Get("Server")), strings.ToLower(strings.Join(h.Values("Via"), ","))
	cookies := strings.Join(h.Values("Set-Cookie"), ";")
	for name, found := range map[string]bool{
		nginx:      strings.Contains(server, "nginx") || strings.Contains(server, "openresty"),
		haproxy:    strings.Contains(via, "haproxy"),
		caddy:      strings.Contains(server, "caddy") || strings.Contains(via, "caddy"),
		traefik:    strings.Contains(server, "traefik") || strings.Contains(via, "traefik"),
		envoy:      strings.Contains(server, "envoy") || h.Get("X-Envoy-Upstream-Service-Time") != "",
		cloudflare: strings.Contains(server, "cloudflare") || h.Get("CF-Ray") != "",
		aws:        strings.Contains(server, "awselb") || strings.Contains(cookies, "AWSALB") || h.Get("X-Amz-Cf-Id") != "" || h.Get("X-Amzn-RequestId") != "",
	} {
		if found && !slices.Contains(x.proxies, name) {
			x.proxies = append(x.proxies, name)
		}
	}
	slices.Sort(x.proxies) // the map has no order
}
