package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"freshet/client"
	"freshet/event"
)

func parseRetry(text string) (Retry, error) {
	low, high, isRange := strings.Cut(strings.TrimPrefix(text, "-"), "-")
	if !isRange {
		high = low
	}
	least, errLeast := parseDuration(low)
	most, errMost := parseDuration(high)
	const want = "want a range such as 1s-3s, or one duration such as 2s"
	switch {
	case errLeast != nil || errMost != nil:
		return Retry{}, fmt.Errorf("%q is not allowed: %s", text, want)
	case strings.HasPrefix(text, "-"):
		return Retry{}, fmt.Errorf("%q is negative: %s", text, want)
	case least == 0: // all browsers would reconnect at once, again and again
		return Retry{}, fmt.Errorf("%q is too short: want at least 1ms", text)
	case least > most:
		return Retry{}, fmt.Errorf("%q begins with the longer duration: want %s-%s", text, high, low)
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
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is out of range: want 0 to %d", text, math.MaxInt)
	case err != nil:
		return 0, fmt.Errorf("%q is not allowed: want a whole number, 0 or more", text)
	case n < 0:
		return 0, fmt.Errorf("%q is negative: want a whole number, 0 or more", text)
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
		return pattern, fmt.Errorf("%q is not allowed: want a topic pattern such as news, orders.* or public.>", text)
	}
	return pattern, nil
}

// parseRetention cuts at the last =, because a topic may have one.
func parseRetention(text string) (Retention, error) {
	const want = "want PATTERN=DURATION, such as answers.>=1h, with a duration of at least 1s, or 0 for no limit"
	i := max(strings.LastIndexByte(text, '='), 0)
	pattern, errPattern := event.ParsePattern(text[:i])
	d, err := parseDuration(strings.TrimPrefix(text[i:], "="))
	var ttl event.TTL
	if err == nil && d > 0 {
		ttl, err = event.NewTTL(d)
	}
	if errPattern != nil || err != nil {
		return Retention{}, fmt.Errorf("%q is not allowed: %s", text, want)
	}
	return Retention{pattern, ttl}, nil
}

// parseRelay shows no URL in its errors: it may hold a secret.
func parseRelay(text string) (Relay, error) {
	const want = "want TOPIC=URL, such as wiki=https://events.example.com/stream"
	name, address, _ := strings.Cut(text, "=")
	topic, err := event.ParseTopic(name)
	_, errURL := client.ParseURL(address)
	switch {
	case err != nil || topic.Reserved():
		return Relay{}, fmt.Errorf("%q is no topic for a relay: %s", name, want)
	case errURL != nil:
		return Relay{}, fmt.Errorf("what follows %s= is no URL: %s", name, want)
	}
	return Relay{Topic: topic, URL: address}, nil
}

func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return 0, fmt.Errorf("%q is not allowed: want debug, info, warn or error", text)
	}
	return level, nil
}
