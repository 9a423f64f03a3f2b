package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"freshet/event"

	"github.com/alecthomas/kong"
)

// ErrPrinted says that Parse has printed the help or the version, as asked. There is nothing to run, and nothing has failed.
var ErrPrinted = errors.New("help or version printed")

// Parse reads the arguments, without the program's name. Flags that are not given come from the environment through getenv, which is
// [os.Getenv], or else from the defaults. Use the Config only if the error is nil.
func Parse(args []string, getenv func(string) string, stdout io.Writer) (Config, error) {
	var flags struct {
		Config  `embed:""`
		Version kong.VersionFlag `help:"Print the version."`
	}
	printed := false
	fromEnv := map[string]bool{}
	parser, err := kong.New(&flags,
		kong.Name("freshet"),
		kong.Description("An event server for browsers."),
		kong.Vars{"version": "freshet " + Version()},
		kong.Writers(stdout, stdout),
		kong.Exit(func(int) { printed = true }),
		kong.ValueFormatter(describe),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), mapper(parseDuration)),
		kong.TypeMapper(reflect.TypeFor[Bytes](), mapper(parseBytes)),
		kong.TypeMapper(reflect.TypeFor[Retry](), mapper(parseRetry)),
		kong.TypeMapper(reflect.TypeFor[Sync](), mapper(parseSync)),
		kong.TypeMapper(reflect.TypeFor[netip.Prefix](), mapper(parseProxy)),
		kong.TypeMapper(reflect.TypeFor[slog.Level](), mapper(parseLevel)),
		kong.TypeMapper(reflect.TypeFor[event.Pattern](), mapper(parsePattern)),
		kong.KindMapper(reflect.Int, mapper(parseCount)),
		kong.KindMapper(reflect.String, mapper(func(text string) (string, error) { return text, nil })),
		// Kong's env tags would read the environment of the process.
		kong.Resolvers(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
			if text := getenv(variable(flag.Name)); text != "" && !flag.IsBool() {
				fromEnv[flag.Name] = true
				return text, nil
			}
			return nil, nil
		})),
	)
	if err != nil {
		return Config{}, err
	}
	_, err = parser.Parse(args)
	if printed {
		return Config{}, ErrPrinted
	}
	if err == nil {
		err = flags.validate()
	}
	if err != nil {
		// Only the text is kept: kong's error holds all values, secrets included.
		text := strings.Replace(err.Error(), `missing value, expecting "<arg>,..."`, "no value", 1) // kong's text for lists
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "--"), " ")
		if name = strings.TrimSuffix(name, ":"); fromEnv[name] {
			text += " (from " + variable(name) + ")"
		}
		return Config{}, errors.New(text)
	}
	return flags.Config, nil
}

// Version returns the version of the module that the Go toolchain stamped into the binary.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func variable(flag string) string {
	return "FRESHET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func describe(value *kong.Value) string {
	switch {
	case value.IsBool():
		return value.Help
	case value.Default == "":
		return fmt.Sprintf("%s [%s]", value.Help, variable(value.Name))
	}
	return fmt.Sprintf("%s [default %s, %s]", value.Help, value.Default, variable(value.Name))
}

func mapper[T any](parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if ctx.Scan.PopValueInto("value", &text) != nil {
			// Kong's error repeats the next argument, which may be a secret that begins with a dash.
			return fmt.Errorf("no value: want %s, with the = if the value begins with a dash", ctx.Value.Summary())
		}
		value, err := parse(text)
		if err == nil {
			target.Set(reflect.ValueOf(value).Convert(target.Type()))
		}
		return err
	}
}

// parseDuration also reads whole days. It refuses less than a millisecond, because a ticker of nanoseconds would occupy a processor.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 || d > 0 && d < time.Millisecond {
		return 0, fmt.Errorf("%q is not allowed: want 0 or a duration of at least 1ms, such as 500ms, 15s, 24h or 7d", text)
	}
	return d, nil
}

func parseRetry(text string) (Retry, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	least, errLeast := parseDuration(low)
	most, errMost := parseDuration(high)
	// 0 does not mean off: without a pause, all browsers would reconnect at once, again and again.
	if errLeast != nil || errMost != nil || least == 0 || least > most {
		return Retry{}, fmt.Errorf("%q is not allowed: want a range such as 1s-3s or one duration such as 2s, at least 1ms", text)
	}
	return Retry{Min: least, Max: most}, nil
}

func parseSync(text string) (Sync, error) {
	if text == "always" {
		return 0, nil
	}
	interval, err := parseDuration(text)
	if err != nil || interval < time.Second {
		return 0, fmt.Errorf("%q is not allowed: want always or an interval of at least 1s", text)
	}
	return Sync(interval), nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 0)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not allowed: want a whole number, 0 or more", text)
	}
	return int(n), nil
}

// parseProxy turns an address into a range of one. An IPv4 address in IPv6 form becomes IPv4, because connections have that form. A
// range of all addresses is refused: then every client could claim to be any other.
func parseProxy(text string) (netip.Prefix, error) {
	proxies, err := netip.ParsePrefix(text)
	if addr, single := netip.ParseAddr(text); single == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		proxies, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil || proxies.Bits() == 0 || proxies.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not allowed: want an IP address, or a range such as 10.0.0.0/8 or fd00::/8", text)
	}
	return proxies.Masked(), nil
}

func parsePattern(text string) (event.Pattern, error) {
	pattern, err := event.ParsePattern(text)
	if err != nil {
		return pattern, fmt.Errorf("%q is not allowed: want a topic pattern such as news, orders.* or public.>, or none alone", text)
	}
	return pattern, nil
}

func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return 0, fmt.Errorf("%q is not allowed: want debug, info, warn or error", text)
	}
	return level, nil
}
