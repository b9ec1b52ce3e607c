package tlsconf

import (
	"crypto/tls"
	"strings"
)

// names finds the certificates for a server name. Each list is in order of preference,
// which is the order of Config.
type names struct {
	all   []*tls.Certificate
	exact map[string][]*tls.Certificate // "mail.example.org", lower case
	wild  map[string][]*tls.Certificate // ".example.org" for "*.example.org"
}

// index indexes pairs by the DNS names of their leaf certificates. For an exact name,
// certificates that cover it with a wildcard come last.
func index(pairs []*tls.Certificate) names {
	n := names{
		all:   pairs,
		exact: make(map[string][]*tls.Certificate),
		wild:  make(map[string][]*tls.Certificate),
	}
	for _, pair := range pairs {
		for _, name := range pair.Leaf.DNSNames {
			name = lower(name)
			if parent, ok := strings.CutPrefix(name, "*"); ok {
				if isHostname("x" + parent) {
					n.wild[parent] = append(n.wild[parent], pair)
				}
			} else if isHostname(name) {
				n.exact[name] = append(n.exact[name], pair)
			}
		}
	}
	for name, found := range n.exact {
		n.exact[name] = append(found, n.wildcard(name)...)
	}
	return n
}

// covering returns the certificates that cover name.
func (n *names) covering(name string) []*tls.Certificate {
	name = lower(name)
	if found := n.exact[name]; found != nil {
		return found
	}
	return n.wildcard(name)
}

// wildcard returns the certificates with a wildcard that covers name. A wildcard
// matches exactly one label (RFC 9525 section 6.3). A client may send anything as the
// server name, so the label is validated.
func (n *names) wildcard(name string) []*tls.Certificate {
	dot := strings.IndexByte(name, '.')
	if dot < 0 || len(name) > maxName || !isLabel(name[:dot]) {
		return nil
	}
	return n.wild[name[dot:]]
}

// pick returns the certificate for a handshake: of those that cover the server name
// the first whose signature algorithm the client supports, so an ECDSA and an RSA
// certificate can serve the same name. For a missing or unknown server name it chooses
// among all certificates, the default first: some mail programs use the server's
// address or a former name. If the client supports none of them, the handshake fails
// with an alert.
func (n *names) pick(hello *tls.ClientHelloInfo) *tls.Certificate {
	found := n.covering(hello.ServerName)
	if found == nil {
		found = n.all
	}
	if len(found) == 1 {
		return found[0]
	}
	// Without the name, which is handled above: SupportsCertificate would reject
	// the default certificate for an unknown name.
	nameless := *hello
	nameless.ServerName = ""
	for _, pair := range found {
		if nameless.SupportsCertificate(pair) == nil {
			return pair
		}
	}
	return found[0]
}

// lower converts ASCII letters only. strings.ToLower maps the Kelvin sign (U+212A) to
// an ASCII k, which would turn an invalid name into a valid one.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, name)
}

// The limits of RFC 1035 section 2.3.4, in octets, without the dot of the root.
const (
	maxLabel = 63
	maxName  = 253
)

// isHostname reports whether s is a host name in DNS syntax and in lower case.
func isHostname(s string) bool {
	if len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel reports whether s is one label of a host name, in lower case. RFC 1123 does
// not allow the underscore, but such names are in use.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
