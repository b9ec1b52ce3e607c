package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/cmd/postern/internal/engine"
	"postern/limiter"
	"postern/proxy"
	"postern/tlsconf"
)

// observe is the mode in which no client is refused or delayed.
const observe = "observe"

// The types a setting may have, beside those of limiter and proxy that have
// UnmarshalText.
type (
	listenAddrs []string       // addresses to listen on; empty is no listener
	hostPorts   []string       // addresses to dial
	httpAddr    string         // host:port, or unix: and a path; empty is off
	networks    []netip.Prefix // masked
	file        string         // path of one file; empty is none
	files       []string       // paths
	directory   string         // path of a directory; empty is none
	hostName    string         // a DNS name
	text        string         // for people
	link        string         // an http or https URL without a slash at its end; empty is none
	links       []string       // such URLs
	ceiling     int            // 0 is off
	percent     int            // from 0 to 100
	ttl         time.Duration  // 0 is off
	mode        string         // enforce or observe
	tlsVersion  uint16         // as in crypto/tls
	logFormat   string         // json or text
	logLevel    slog.Level     // slog.Level itself would accept info+2
	engineURL   string         // see engine.ParseURL; empty is none
	gatewayName string         // letters, digits, . _ and -
	noticeKinds []string       // of notify.NoticeKinds; empty is all
)

// kind is how the text of one type of setting is parsed and described.
type kind struct {
	want  string                    // ends the sentence "POSTERN_X: got "value", want ..."
	parse func(string) (any, error) // nil where the type has UnmarshalText
}

// kinds holds every type that a field of Config may have.
var kinds = map[reflect.Type]kind{
	reflect.TypeFor[listenAddrs]():        {"addresses such as :993 or [::1]:993, separated by commas, or off", parseListen},
	reflect.TypeFor[hostPorts]():          {"host:port, several separated by commas", parseHostPorts},
	reflect.TypeFor[httpAddr]():           {"host:port, unix:/path, or off", parseHTTPAddr},
	reflect.TypeFor[networks]():           {"networks such as 192.0.2.0/24 or 2001:db8::/32, separated by commas", parseNetworks},
	reflect.TypeFor[file]():               {"a path", func(s string) (any, error) { return file(s), nil }},
	reflect.TypeFor[files]():              {"paths, separated by commas", func(s string) (any, error) { return splitAs[files](s, notEmpty) }},
	reflect.TypeFor[directory]():          {"a path, or off", parseDirectory},
	reflect.TypeFor[hostName]():           {"a host name", func(s string) (any, error) { return hostName(s), nil }},
	reflect.TypeFor[text]():               {"any text", func(s string) (any, error) { return text(s), nil }},
	reflect.TypeFor[link]():               {"a URL such as https://host/path", func(s string) (any, error) { return link(strings.TrimRight(s, "/")), checkLink(s) }},
	reflect.TypeFor[links]():              {"URLs such as https://host/path, separated by commas", func(s string) (any, error) { return splitAs[links](s, checkLink) }},
	reflect.TypeFor[bool]():               {"true or false", func(s string) (any, error) { return strconv.ParseBool(s) }},
	reflect.TypeFor[int]():                {"a number of at least 1", func(s string) (any, error) { return parseCount(s) }},
	reflect.TypeFor[ceiling]():            {"a number of at least 1, or off", parseCeiling},
	reflect.TypeFor[percent]():            {"a number from 0 to 100", parsePercent},
	reflect.TypeFor[ttl]():                {"a duration above zero such as 60s, 10m or 720h, or off", parseTTL},
	reflect.TypeFor[mode]():               {"enforce or observe", parseMode},
	reflect.TypeFor[time.Duration]():      {"a duration above zero such as 10s, 5m or 1h", parseDuration},
	reflect.TypeFor[tlsVersion]():         {"1.2 or 1.3", parseTLSVersion},
	reflect.TypeFor[logFormat]():          {"json or text", parseLogFormat},
	reflect.TypeFor[logLevel]():           {"debug, info, warn or error", parseLevel},
	reflect.TypeFor[engineURL]():          {engine.URLForm, parseEngineURL},
	reflect.TypeFor[gatewayName]():        {"up to 64 letters, digits, dots, underscores and hyphens", parseGatewayName},
	reflect.TypeFor[noticeKinds]():        {"some of " + noticeKindNames() + ", separated by commas", parseNoticeKinds},
	reflect.TypeFor[limiter.Rate]():       {"tokens/time such as 10/10m, or off", nil},
	reflect.TypeFor[proxy.ProxyVersion](): {"v2, v1 or off", nil},
	reflect.TypeFor[proxy.BackendTLS]():   {"off, starttls or tls", nil},
}

// A detailError is an error that operators see instead of the value and what kind it should be.
type detailError struct{ error }

// errForm means that a value does not have the form that its kind describes.
// Operators see the description instead.
var errForm = errors.New("wrong form")

// splitAs splits a comma list and checks every item.
func splitAs[T ~[]string](s string, check func(string) error) (T, error) {
	var parts T
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if err := check(part); err != nil {
			return nil, fmt.Errorf("part %q: %w", part, err)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// notEmpty accepts any text that is not empty.
func notEmpty(s string) error {
	if s == "" {
		return errForm
	}
	return nil
}

// parseListen parses the addresses of a listener; off is none.
func parseListen(s string) (any, error) {
	if s == "off" {
		return listenAddrs(nil), nil
	}
	return splitAs[listenAddrs](s, checkListen)
}

// checkListen accepts a port, alone or after a host.
func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err
}

// Network is the network to listen on at an address that has been parsed. all are the
// addresses of all listeners. A port alone and [::] get both families, as in most
// programs, unless an IPv4 address is listed with the same port: each gets its own
// family then. Any other address literal gets its own family.
func Network(addr string, all []string) string {
	host, port, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	switch {
	case host != "" && err != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	case host != "" && !ip.IsUnspecified() || port != "0" && hasIPv4(all, port):
		return "tcp6"
	default:
		return "tcp"
	}
}

// hasIPv4 reports whether an IPv4 address with this port is among addrs.
func hasIPv4(addrs []string, port string) bool {
	return slices.ContainsFunc(addrs, func(addr string) bool {
		host, p, _ := net.SplitHostPort(addr)
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Is4() && p == port
	})
}

// parseDirectory parses the path of a directory; off is none.
func parseDirectory(s string) (any, error) {
	if s == "off" {
		return directory(""), nil
	}
	return directory(s), nil
}

// parseHostPorts parses the addresses of backends.
func parseHostPorts(s string) (any, error) { return splitAs[hostPorts](s, checkHostPort) }

// checkHostPort accepts a host and a port that can be dialled.
func checkHostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return errForm
	}
	return nil
}

// checkLink accepts http and https URLs with a host.
func checkLink(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		return errForm
	}
	return nil
}

// parseHTTPAddr parses an address to listen on, or the path of a Unix socket.
func parseHTTPAddr(s string) (any, error) {
	if s == "off" {
		return httpAddr(""), nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return httpAddr(s), notEmpty(path)
	}
	return httpAddr(s), checkListen(s)
}

// parseNetworks accepts single addresses too, as networks of one address. An
// IPv4 network written as ::ffff:a.b.c.d is unmapped, because clients' addresses
// are compared unmapped.
func parseNetworks(s string) (any, error) {
	var nets networks
	_, err := splitAs[[]string](s, func(part string) error {
		p, err := parseNetwork(part)
		nets = append(nets, p)
		return err
	})
	return nets, err
}

// parseNetwork parses one item of parseNetworks.
func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// parseCount parses a number from 1 on. It fits into 32 bits, so that sums of
// counts do not overflow.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, errForm
	}
	return int(n), nil
}

// parseCeiling parses a count that may also be unlimited.
func parseCeiling(s string) (any, error) {
	if s == "off" {
		return ceiling(0), nil
	}
	n, err := parseCount(s)
	return ceiling(n), err
}

// parsePercent parses a share.
func parsePercent(s string) (any, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n > 100 {
		return nil, errForm
	}
	return percent(n), nil
}

// parseTTL parses how long something is remembered.
func parseTTL(s string) (any, error) {
	if s == "off" {
		return ttl(0), nil
	}
	d, err := parseDuration(s)
	if err != nil {
		return nil, err
	}
	return ttl(d.(time.Duration)), nil
}

// parseMode parses whether verdicts are enforced.
func parseMode(s string) (any, error) {
	if s != "enforce" && s != observe {
		return nil, errForm
	}
	return mode(s), nil
}

// parseDuration parses a duration. Zero is refused: it could mean "at once" or
// "never".
func parseDuration(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return nil, errForm
	}
	return d, nil
}

// parseTLSVersion parses a version into the number crypto/tls has for it.
func parseTLSVersion(s string) (any, error) {
	v, err := tlsconf.MinVersion(s)
	return tlsVersion(v), err
}

// parseLogFormat parses the name of a slog handler.
func parseLogFormat(s string) (any, error) {
	if s != "json" && s != "text" {
		return nil, errForm
	}
	return logFormat(s), nil
}

// parseLevel parses the name of a level, in upper or lower case.
func parseLevel(s string) (any, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[strings.ToLower(s)]
	if !ok {
		return nil, errForm
	}
	return logLevel(level), nil
}
