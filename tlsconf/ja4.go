package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"slices"
)

// ja4Len is the length of a JA4 in octets.
const ja4Len = 36

// ja4ListMax is how many cipher suites, extensions and signature algorithms of a
// ClientHello count, each. Clients have fewer than 100. A ClientHello may have thousands,
// and to sort all of them would cost more than the rest of the handshake.
const ja4ListMax = 256

// JA4 returns the fingerprint of a ClientHello by the method JA4 for TLS clients of FoxIO
// (BSD 3-Clause), such as "t13d131000_f57a46bbacb6_ab7e3b40a677": what the client offers,
// in a form that does not depend on the order of cipher suites and extensions. It names
// the TLS library and how it is set, not the program, and any client can imitate any
// other. It consists of at most 36 lower-case letters, digits and underscores, except that
// the ninth and tenth character may be any ASCII letter or digit.
//
// The extensions of a client that resumes a session (pre_shared_key and early_data) are
// left out, so that a client has the same fingerprint whether it resumes or not. Other
// programs that print JA4 count them.
func JA4(hello *tls.ClientHelloInfo) string {
	var suites, extensions, schemes ja4List
	for _, s := range hello.CipherSuites {
		suites.add(s)
	}
	for _, s := range hello.SignatureSchemes {
		schemes.add(uint16(s))
	}
	domain, counted := byte('i'), 0 // counted includes what is not in the hash
	for _, e := range hello.Extensions {
		switch {
		case isGREASE(e), e == extensionPreSharedKey, e == extensionEarlyData:
			continue
		case e == extensionServerName:
			domain = 'd'
		case e != extensionALPN:
			extensions.add(e)
		}
		counted++
	}
	first, last := ja4ALPN(hello.SupportedProtos)
	var out [ja4Len]byte
	b := append(out[:0], 't')
	b = append(b, ja4Version(hello.SupportedVersions)...)
	b = appendJA4Count(append(b, domain), suites.n)
	b = appendJA4Count(b, counted)
	b = append(b, first, last, '_')
	b = append(suites.appendHash(b, nil), '_')
	return string(extensions.appendHash(b, &schemes))
}

// The extensions that JA4 treats differently, by RFC 6066, 7301 and 8446.
const (
	extensionServerName   = 0
	extensionALPN         = 16
	extensionPreSharedKey = 41
	extensionEarlyData    = 42
)

// isGREASE reports whether v is one of the values that clients add so that servers do not
// come to depend on known ones (RFC 8701).
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// ja4Version is the highest version that a client supports.
func ja4Version(versions []uint16) string {
	highest := uint16(0)
	for _, v := range versions {
		if !isGREASE(v) {
			highest = max(highest, v)
		}
	}
	switch highest {
	case tls.VersionTLS13:
		return "13"
	case tls.VersionTLS12:
		return "12"
	case tls.VersionTLS11:
		return "11"
	case tls.VersionTLS10:
		return "10"
	}
	return "00"
}

// ja4ALPN is the first and the last character of the first protocol that a client offers,
// or of its hexadecimal form if one of these is no ASCII letter or digit.
func ja4ALPN(protocols []string) (first, last byte) {
	if len(protocols) == 0 || protocols[0] == "" {
		return '0', '0'
	}
	const digits = "0123456789abcdef"
	first, last = protocols[0][0], protocols[0][len(protocols[0])-1]
	if !isAlphanumeric(first) || !isAlphanumeric(last) {
		return digits[first>>4], digits[last&0xf]
	}
	return first, last
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// appendJA4Count appends n in two digits, at most 99.
func appendJA4Count(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// ja4List has the first values of a list in a ClientHello, without GREASE.
type ja4List struct {
	values [ja4ListMax]uint16
	n      int
}

func (l *ja4List) add(v uint16) {
	if l.n < len(l.values) && !isGREASE(v) {
		l.values[l.n] = v
		l.n++
	}
}

// appendHash appends the first 12 hexadecimal digits of the SHA-256 of the sorted values,
// followed by those of last in their order; zeros if there are no values. It sorts l.
func (l *ja4List) appendHash(b []byte, last *ja4List) []byte {
	if l.n == 0 {
		return append(b, "000000000000"...)
	}
	slices.Sort(l.values[:l.n])
	var text [2 * 5 * ja4ListMax]byte
	t := l.appendText(text[:0])
	if last != nil && last.n > 0 {
		t = last.appendText(append(t, '_'))
	}
	sum := sha256.Sum256(t)
	return hex.AppendEncode(b, sum[:6])
}

// appendText appends the values in hexadecimal, with commas between them.
func (l *ja4List) appendText(b []byte) []byte {
	for i, v := range l.values[:l.n] {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}
