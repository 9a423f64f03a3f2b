package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"freshet/event"

	"github.com/alecthomas/kong"
)

// ErrPrinted says that Parse has printed the help or the version, as asked. There is nothing to run, and nothing has failed.
var ErrPrinted = errors.New("help or version printed")

// Parse reads the arguments, without the program's name. Flags that are not given come from the environment, which is [os.Environ],
// or else from the defaults. Use the Config only if the error is nil.
func Parse(args, environ []string, stdout io.Writer) (Config, error) {
	var c Config
	if err := parse("freshet", opening, &c, args, environ, stdout); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Default returns the configuration of a server without flags and variables.
func Default() Config {
	cfg, err := Parse(nil, nil, io.Discard)
	if err != nil {
		panic(err) // the defaults are valid
	}
	return cfg
}

// parse sets the fields of flags, which are the flags of the command, and validates them. Their help begins with the opening.
func parse(command, opening string, flags interface{ validate() error }, args, environ []string, stdout io.Writer) error {
	settings, fromVariable := settings(environ), map[string]bool{}
	parser, err := parserOf(flags, kong.Resolvers(
		// Kong's env tags would read the environment of the process.
		kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
			text, set := settings[variable(flag.Name)]
			if !set || text == "" && flag.Name != "anonymous" {
				return nil, nil
			}
			fromVariable[flag.Name] = true
			if flag.IsBool() {
				return text, refuse(text != "true" && text != "false", "%q is not allowed: want true or false", text)
			}
			return text, refuseEmpty(flag, text)
		})))
	if err != nil {
		return err
	}
	args, err = arguments(command, args, parser.Model.Node)
	switch {
	case errors.Is(err, errHelp):
		printHelp(stdout, opening, parser.Model.Flags)
		return ErrPrinted
	case errors.Is(err, errVersion):
		fmt.Fprintln(stdout, ThisBuild())
		return ErrPrinted
	case err != nil:
		return err
	}
	if err = checkVariables(settings); err != nil {
		return err
	}
	if _, err = parser.Parse(args); err == nil {
		err = flags.validate()
	}
	if err != nil {
		// Only the text is kept: kong's error holds all values, secrets included.
		text := strings.TrimPrefix(err.Error(), "<"+places(parser.Model.Node)+">: ")
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "--"), ":")
		if fromVariable[name] {
			text += " (from " + variable(name) + ")"
		}
		return errors.New(text)
	}
	return nil
}

// parserOf returns a parser of the flags, which are a pointer to a struct.
func parserOf(flags any, resolvers ...kong.Option) (*kong.Kong, error) {
	return kong.New(flags, append(resolvers,
		kong.NoDefaultHelp(),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), mapper(parseDuration)),
		kong.TypeMapper(reflect.TypeFor[Bytes](), mapper(parseBytes)),
		kong.TypeMapper(reflect.TypeFor[Retry](), mapper(parseRetry)),
		kong.TypeMapper(reflect.TypeFor[Sync](), mapper(parseSync)),
		kong.TypeMapper(reflect.TypeFor[netip.Prefix](), mapper(parseProxy)),
		kong.TypeMapper(reflect.TypeFor[slog.Level](), mapper(parseLevel)),
		kong.TypeMapper(reflect.TypeFor[event.Pattern](), mapper(parsePattern)),
		kong.TypeMapper(reflect.TypeFor[Relay](), mapper(parseRelay)),
		kong.TypeMapper(reflect.TypeFor[Retention](), mapper(parseRetention)),
		kong.KindMapper(reflect.Int, mapper(parseCount)),
		kong.KindMapper(reflect.String, mapper(func(text string) (string, error) { return text, nil })),
	)...)
}

func mapper[T any](parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("value", &text); err != nil {
			return err
		}
		value, err := parse(text)
		if err == nil {
			target.Set(reflect.ValueOf(value).Convert(target.Type()))
		}
		return err
	}
}
