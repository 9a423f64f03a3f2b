package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet/nearest"

	"github.com/alecthomas/kong"
)

// arguments returns each flag and its value as one argument, --name=value. It refuses the arguments that are no flags, and flags
// without a value, before kong does so in its own words. An error shows an unknown flag without its value, because the value of a
// misspelt --publish-token is a secret.
func arguments(command string, args []string, flags []*kong.Flag) (joined []string, err error) {
	known, names := map[string]*kong.Flag{}, []string{}
	for _, flag := range flags {
		known["--"+flag.Name] = flag
		names = append(names, flag.Name)
	}
	known["-h"] = known["--help"]
	for len(args) > 0 {
		name, value, hasValue := strings.Cut(args[0], "=")
		args = args[1:]
		flag := known[name]
		switch {
		case flag == nil:
			what := fmt.Sprintf("unexpected argument %q", name)
			if strings.HasPrefix(name, "-") {
				what = "unknown flag " + name
			}
			if guess, near := suggestion(strings.TrimLeft(name, "-"), names); near {
				return nil, fmt.Errorf("%s; did you mean --%s?", what, guess)
			}
			return nil, fmt.Errorf("%s; see %s --help", what, command)
		case flag.IsBool() && hasValue:
			return nil, fmt.Errorf("%s: no value is allowed", name)
		case flag.IsBool():
			joined = append(joined, name)
			continue
		case !hasValue && (len(args) == 0 || strings.HasPrefix(args[0], "--")):
			return nil, fmt.Errorf("%s: no value: want %s %s", name, name, flag.PlaceHolder)
		case !hasValue:
			value, args = args[0], args[1:]
		}
		if err := refuseEmpty(flag, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		joined = append(joined, name+"="+value)
	}
	return joined, nil
}

// refuseEmpty refuses an empty value. An empty --anonymous could mean that anyone may read, or that nobody may.
func refuseEmpty(flag *kong.Flag, value string) error {
	switch {
	case value != "":
		return nil
	case flag.Name == "anonymous":
		return errors.New("an empty value is not allowed: want none (reading needs a token) or '>' (anyone may read everything)")
	}
	return fmt.Errorf("an empty value is not allowed: want --%s %s, or leave the flag out", flag.Name, flag.PlaceHolder)
}

// synonyms are what other programs call a flag, or what users call it.
var synonyms = map[string]string{
	"addr": "listen", "address": "listen", "bind": "listen", "port": "listen", "p": "listen",
	"hostname": "host", "domain": "acme-domain", "cert": "tls-cert", "key": "tls-key", "proxy": "trusted-proxy",
	"dir": "data", "data-dir": "data", "folder": "data", "retention": "retain-age", "max-age": "retain-age",
	"creds": "nats-creds", "nats-url": "nats", "token": "publish-token", "secret": "jwt-secret", "jwks": "jwks-url",
	"cors": "cors-origin", "origin": "cors-origin", "public": "anonymous",
	"verbose": "log-level", "debug": "log-level", "v": "version",
}

// suggestion returns the flag that a user most likely means by the name, if there is one.
func suggestion(name string, flags []string) (string, bool) {
	if flag := synonyms[strings.ToLower(name)]; slices.Contains(flags, flag) {
		return flag, true
	}
	return nearest.Word(name, flags)
}
