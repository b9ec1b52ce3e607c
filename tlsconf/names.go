package tlsconf

import (
	"crypto/tls"
	"strings"
)

// names finds the certificates for a server name. Each list is in the order
// of preference, which is the order of the settings.
type names struct {
	all   []*tls.Certificate
	exact map[string][]*tls.Certificate // "mail.example.org", lower case
	wild  map[string][]*tls.Certificate // ".example.org" for "*.example.org"
}

// index sorts pairs by the DNS names of their leaves. Whoever covers an exact
// name by a wildcard comes after those that hold the name itself.
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

// covering returns the certificates for name, none if there is no such name.
func (n *names) covering(name string) []*tls.Certificate {
	name = lower(name)
	if found := n.exact[name]; found != nil {
		return found
	}
	return n.wildcard(name)
}

// wildcard returns the certificates whose wildcard covers name. A wildcard
// stands for exactly one label (RFC 9525 section 6.3), and since a client may
// send anything there, only for one that is a label.
func (n *names) wildcard(name string) []*tls.Certificate {
	dot := strings.IndexByte(name, '.')
	if dot < 0 || len(name) > maxName || !isLabel(name[:dot]) {
		return nil
	}
	return n.wild[name[dot:]]
}

// pick returns the certificate for a handshake: among those for the name it
// asks for the first that the client can check, so that an ECDSA and an RSA
// certificate may stand side by side. A client without a name, or with one
// nobody has heard of, may get any certificate, the default first: programs
// that know the server by address or by an old name exist. If the client
// supports none of them the handshake fails later with an alert that says so.
func (n *names) pick(hello *tls.ClientHelloInfo) *tls.Certificate {
	found := n.covering(hello.ServerName)
	if found == nil {
		found = n.all
	}
	if len(found) == 1 {
		return found[0]
	}
	// The name has been dealt with; left in place, SupportsCertificate would
	// turn the default down for those who ask for an unknown name.
	nameless := *hello
	nameless.ServerName = ""
	for _, pair := range found {
		if nameless.SupportsCertificate(pair) == nil {
			return pair
		}
	}
	return found[0]
}

// lower folds the case of ASCII letters and of no others: to Unicode the Kelvin
// sign is a capital k, and so a name of DNS syntax could be had from one without.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, name)
}

// Limits of RFC 1035 section 2.3.4, in octets without the root's dot.
const (
	maxLabel = 63
	maxName  = 253
)

// isHostname reports whether s is a DNS name as hosts have them.
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

// isLabel reports whether s is one part of a host name in lower case. The
// underscore is not allowed to hosts (RFC 1123) but is met in practice.
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
