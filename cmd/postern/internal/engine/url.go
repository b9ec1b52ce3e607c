package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// URLForm describes the URLs that [ParseURL] accepts.
const URLForm = "valkeys://USER@HOST:PORT (TLS), valkey://, rediss:// or redis:// likewise, unix:///PATH, or with Sentinel valkeys://USER@HOST:PORT,HOST:PORT/?master=NAME; ?server_name=NAME if the certificate has another name"

// The default ports of an engine and of Sentinel.
const (
	enginePort   = "6379"
	sentinelPort = "26379"
)

// A URL says where the engine is.
type URL struct {
	Socket     string   // path of a Unix socket; empty: Addresses
	Addresses  []string // host:port of the engine, or of each Sentinel
	TLS        bool
	User       string // of the ACL; empty: default
	Master     string // name of the primary at the Sentinels; empty: there is no Sentinel
	ServerName string // in the certificate of the engine; empty: the host
}

// errPassword is the error for a URL with a password, which others could see in the environment or in a log.
var errPassword = errors.New("got a URL with a password, want the password in a file")

// ParseURL parses the URL of an engine, in one of these forms. There is no database number: ACLs are per
// key, and postern's keys begin with postern:.
//
//	valkeys://user@host:6379                         TLS; rediss:// is the same
//	valkey://user@host:6379                          without TLS; redis:// is the same
//	unix://user@/path, unix:/path                    a Unix socket
//	valkeys://user@host:26379,host:26379/?master=m   Sentinels that know the primary m
//
// The user, the ports and ?server_name= may be left out. The error does not repeat s, in which there may be a password.
func ParseURL(s string) (URL, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	u := URL{TLS: scheme == "valkeys" || scheme == "rediss"}
	rest, hasAuthority := strings.CutPrefix(rest, "//")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path := "", rest
	if hasAuthority {
		authority, path = rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			authority, path = rest[:i], rest[i:]
		}
	}
	hosts := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, err := url.PathUnescape(authority[:i])
		if err != nil || strings.Contains(authority[:i], ":") {
			return URL{}, errPassword
		}
		u.User, hosts = user, authority[i+1:]
	}
	if err := u.parseQuery(query); err != nil {
		return URL{}, err
	}
	switch scheme {
	case "unix":
		return u, u.parseSocket(hosts, path)
	case "valkey", "valkeys", "redis", "rediss":
		if !hasAuthority || path != "" && path != "/" {
			return URL{}, errors.New("got a path or a database number, want only a host")
		}
		return u, u.parseHosts(hosts)
	}
	return URL{}, errors.New("got an unknown scheme, want valkeys, valkey, rediss, redis or unix")
}

// parseQuery parses what follows the question mark.
func (u *URL) parseQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("got a query that cannot be parsed, want master=NAME or server_name=NAME")
	}
	for name, v := range values {
		switch {
		case len(v) != 1 || v[0] == "":
			return errors.New("got a parameter without a value or twice, want it once: ?master=NAME")
		case name == "master":
			u.Master = v[0]
		case name == "server_name":
			u.ServerName = v[0]
		case name == "password":
			return errPassword
		default:
			return errors.New("got an unknown parameter, want master or server_name")
		}
	}
	return nil
}

// parseSocket parses the path of a Unix socket.
func (u *URL) parseSocket(host, path string) error {
	path, err := url.PathUnescape(path)
	switch {
	case err != nil || host != "" || !filepath.IsAbs(path):
		return errors.New("got no absolute path, want unix:///PATH")
	case u.Master != "" || u.ServerName != "":
		return errors.New("got parameters of a Unix socket, want none")
	}
	u.Socket = path
	return nil
}

// parseHosts parses the address of the engine, or those of the Sentinels.
func (u *URL) parseHosts(hosts string) error {
	port := enginePort
	if u.Master != "" {
		port = sentinelPort
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := withPort(strings.TrimSpace(host), port)
		if err != nil {
			return err
		}
		u.Addresses = append(u.Addresses, addr)
	}
	if len(u.Addresses) > 1 && u.Master == "" {
		return fmt.Errorf("got %d hosts without the name of the primary at their Sentinels, want one host or ?master=NAME", len(u.Addresses))
	}
	if u.ServerName != "" && !u.TLS {
		return errors.New("got server_name without TLS, want it only with valkeys or rediss")
	}
	return nil
}

// withPort completes a host that may have a port.
func withPort(s, fallback string) (string, error) {
	wrong := errors.New("got a wrong address, want HOST or HOST:PORT")
	host, port := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), fallback
	if _, err := netip.ParseAddr(host); err != nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", wrong
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\r\n/[]") {
		return "", wrong
	}
	return net.JoinHostPort(host, port), nil
}

// String is the address of the engine, for people. It does not contain the user.
func (u URL) String() string {
	scheme := "valkey://"
	if u.TLS {
		scheme = "valkeys://"
	}
	switch {
	case u.Socket != "":
		return "unix://" + (&url.URL{Path: u.Socket}).EscapedPath()
	case u.Master != "":
		return scheme + strings.Join(u.Addresses, ",") + "/?master=" + url.QueryEscape(u.Master)
	}
	return scheme + strings.Join(u.Addresses, ",")
}

// IsExposed reports whether what is sent to the engine can be read on the network: there is no TLS, and an
// address is not on loopback. Host names but localhost are not resolved.
func (u URL) IsExposed() bool {
	if u.TLS || u.Socket != "" {
		return false
	}
	for _, addr := range u.Addresses {
		host, _, _ := net.SplitHostPort(addr)
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
			return true
		}
	}
	return u.Master != "" // the primary may be anywhere
}
