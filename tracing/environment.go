package tracing

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

// settings are what this package needs of the environment. OpenTelemetry reads the rest itself, such as headers, time limits, certificates
// and the sampler; checkVariables checks them before.
type settings struct {
	protocol  string // of OTLP
	endpoint  string // without a path, which may be a credential
	byDefault bool   // no variable has the endpoint
}

// The protocols of OTLP.
const (
	grpc         = "grpc"
	httpProtobuf = "http/protobuf"
	httpJSON     = "http/json"
)

// readEnvironment reports whether the environment asks for traces, and how to send them. The error is one line that names the variable.
func readEnvironment() (s settings, on bool, err error) {
	if strings.EqualFold(variable("OTEL_SDK_DISABLED"), "true") {
		return s, false, nil
	}
	endpoint, name := first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch exporter := variable("OTEL_TRACES_EXPORTER"); {
	case exporter == "none" || exporter == "" && endpoint == "":
		return s, false, nil
	case exporter != "" && exporter != "otlp":
		return s, false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q; want otlp or none", exporter)
	}
	s.protocol, s.endpoint, s.byDefault = httpProtobuf, "http://localhost:4318", endpoint == ""
	if protocol, name := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" {
		if protocol != grpc && protocol != httpProtobuf && protocol != httpJSON {
			return s, false, fmt.Errorf("%s is %q; want %s, %s or %s", name, protocol, grpc, httpProtobuf, httpJSON)
		}
		s.protocol = protocol
	}
	if s.protocol == grpc {
		s.endpoint = "http://localhost:4317"
	}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" { // the text may have a password
			return s, false, fmt.Errorf("%s is not an http or https URL; want one such as %s", name, s.endpoint)
		}
		if u.User != nil {
			return s, false, fmt.Errorf("%s has a user, which OpenTelemetry would ignore; send credentials with OTEL_EXPORTER_OTLP_HEADERS", name)
		}
		s.endpoint = u.Scheme + "://" + u.Host
	}
	return s, true, checkVariables()
}

// variable returns the value of the environment variable; empty counts as not set.
func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// first returns the value and the name of the first variable that is set. The first is for traces alone, the second for all kinds of telemetry.
func first(forTraces, forAll string) (value, name string) {
	if value = variable(forTraces); value != "" {
		return value, forTraces
	}
	return variable(forAll), forAll
}
