package tracing

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// checkVariables finds the mistakes that OpenTelemetry would ignore, or write to standard error with the value, which may be a credential.
func checkVariables() error {
	for _, check := range []func() error{checkSampler, checkNumbers, checkHeaders, checkCompression, checkCertificates} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// checkSampler: with a mistake, everything would be sampled.
func checkSampler() error {
	sampler, arg := strings.ToLower(variable("OTEL_TRACES_SAMPLER")), variable("OTEL_TRACES_SAMPLER_ARG")
	if sampler != "" && !slices.Contains(samplers, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER is %q; want one of %s", sampler, strings.Join(samplers, ", "))
	}
	if arg == "" || !strings.HasSuffix(sampler, "traceidratio") {
		return nil
	}
	if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q; want a number from 0 to 1", arg)
	}
	return nil
}

func checkNumbers() error {
	for _, name := range []string{
		"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT",
		"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
	} {
		text, unit := os.Getenv(name), " of milliseconds"
		if strings.HasSuffix(name, "_SIZE") {
			unit = ""
		}
		if n, err := strconv.Atoi(text); text != "" && (err != nil || n < 1) {
			return fmt.Errorf("%s is %q; want a whole number%s above 0", name, text, unit)
		}
	}
	return nil
}

// checkHeaders says nothing of the values, because they may be credentials.
func checkHeaders() error {
	headers, name := first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
	if headers == "" {
		return nil
	}
	for header := range strings.SplitSeq(headers, ",") {
		key, value, found := strings.Cut(header, "=")
		if _, err := url.PathUnescape(value); !found || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(key)) {
			return fmt.Errorf("%s is invalid; want name=value,name=value, with other characters than ASCII, commas and %% as %%XX", name)
		}
	}
	return nil
}

func checkCompression() error {
	compression, name := first("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
	if compression != "" && compression != "gzip" && compression != "none" {
		return fmt.Errorf("%s is %q; want gzip or none", name, compression)
	}
	return nil
}

func checkCertificates() error {
	file, name := first("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: %s holds no certificate in PEM format", name, file)
		}
	}
	certificate, name := first("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
	key, keyName := first("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY")
	switch {
	case certificate == "" && key == "":
		return nil
	case certificate == "" || key == "":
		return fmt.Errorf("%s and %s are only allowed together", name, keyName)
	}
	if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
		return fmt.Errorf("%s and %s: %w", name, keyName, err)
	}
	return nil
}
