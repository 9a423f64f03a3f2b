package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet/nearest"

	"github.com/alecthomas/kong"
)

// errHelp and errVersion say that the arguments ask for them.
var errHelp, errVersion = errors.New("help"), errors.New("version")

// arguments returns each flag and its value as one argument, --name=value, and then the arguments without a flag. It refuses those
// that the command has no place for, and flags without a value, before kong does so in its own words. An error shows an unknown flag
// without its value, because the value of a misspelt --publish-token is a secret.
func arguments(command string, args []string, model *kong.Node) (joined []string, err error) {
	known, names := map[string]*kong.Flag{}, []string{"help", "version"}
	for _, flag := range model.Flags {
		known["--"+flag.Name] = flag
		names = append(names, flag.Name)
	}
	var plain []string
	for len(args) > 0 {
		if args[0] == "" && places(model) != "" {
			return nil, fmt.Errorf("an empty %s is not allowed", strings.ToUpper(places(model)))
		}
		if isPlain := !strings.HasPrefix(args[0], "-"); isPlain && (len(plain) < len(model.Positional) || len(plain) > 0 && model.Positional[0].IsCumulative()) {
			plain, args = append(plain, args[0]), args[1:]
			continue
		}
		name, value, hasValue := strings.Cut(args[0], "=")
		args = args[1:]
		flag := known[name]
		switch {
		case name == "--help" || name == "-h":
			return nil, errHelp
		case name == "--version":
			return nil, errVersion
		case flag == nil:
			return nil, unknown(name, names, command)
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
	return append(append(joined, "--"), plain...), nil
}

// places is the name of the argument without a flag that the command takes; empty if it takes none.
func places(model *kong.Node) string {
	if len(model.Positional) == 0 {
		return ""
	}
	return model.Positional[0].Name
}

// unknown is the error for an argument that is no flag of the command, with a suggestion if one is near.
func unknown(argument string, flags []string, command string) error {
	what := fmt.Sprintf("unexpected argument %q", argument)
	if strings.HasPrefix(argument, "-") {
		what = "unknown flag " + argument
	}
	if guess, near := suggestion(strings.TrimLeft(argument, "-"), flags); near {
		return fmt.Errorf("%s; did you mean --%s?", what, guess)
	}
	return fmt.Errorf("%s; see %s --help", what, command)
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
	"server": "url", "publish-token": "token", "n": "exit-after", "count": "exit-after",
	"verbose": "log-level", "debug": "log-level", "v": "version",
}

// suggestion returns the flag that a user most likely means by the name, if there is one.
func suggestion(name string, flags []string) (string, bool) {
	if name = strings.ToLower(name); slices.Contains(flags, name) {
		return name, true
	}
	if flag := synonyms[strings.ToLower(name)]; slices.Contains(flags, flag) {
		return flag, true
	}
	return nearest.Word(name, flags)
}
