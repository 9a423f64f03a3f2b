package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

const prefix = "FRESHET_"

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settings returns the variables of the environment that begin with FRESHET_, without those that Kubernetes sets.
func settings(environ []string) map[string]string {
	found := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	for name, value := range found {
		m := ofKubernetes.FindStringSubmatch(name + "=" + value)
		if m == nil {
			continue
		}
		if _, service := found[m[1]+"_SERVICE_HOST"]; service {
			defer delete(found, name) // later: the other variables of the service need it
		}
	}
	return found
}

// ofKubernetes matches the variables that Kubernetes gives to each container for a service of its namespace, here one whose name is
// freshet or begins with freshet-, and captures the service's part of the name:
//
//	FRESHET_SERVICE_HOST=10.0.0.11
//	FRESHET_SERVICE_PORT=8080
//	FRESHET_SERVICE_PORT_HTTP=8080
//	FRESHET_PORT=tcp://10.0.0.11:8080
//	FRESHET_PORT_8080_TCP=tcp://10.0.0.11:8080
//	FRESHET_PORT_8080_TCP_PROTO=tcp, and also _PORT and _ADDR
//
// FRESHET_PORT=8080 is none of them, but a mistake for FRESHET_LISTEN.
var ofKubernetes = regexp.MustCompile(`^(FRESHET(?:_[A-Z0-9]+)*)_(?:SERVICE_HOST=.*|SERVICE_PORT(?:_[A-Z0-9_]+)?=[0-9]+|` +
	`PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?=[a-z]+://.*|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)=.*)$`)

// checkVariables refuses variables that are no settings of the server or of its clients. Otherwise a misspelt one would have no effect, silently.
func checkVariables(settings map[string]string) error {
	var flags []string
	for _, known := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Server]()} {
		for field := range known.Fields() {
			if name := field.Tag.Get("name"); name != "" {
				flags = append(flags, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", "-"))
		if slices.Contains(flags, flag) && name == variable(flag) {
			continue
		}
		if guess, near := suggestion(flag, flags); near {
			return fmt.Errorf("unknown environment variable %s; did you mean %s?", name, variable(guess))
		}
		return fmt.Errorf("unknown environment variable %s; unset it, or see freshet --help", name)
	}
	return nil
}
