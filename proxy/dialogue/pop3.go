package dialogue

import (
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// POP3 is the dialogue of RFC 1939, RFC 2449 and RFC 5034 before login.
type POP3 struct{}

// Name is "pop3".
func (POP3) Name() string { return "pop3" }

// The names of POP3 capabilities (RFC 2449 section 6, RFC 2595, RFC 3206).
const (
	capaUser     = "USER"
	capaSASL     = "SASL"
	capaSTLS     = "STLS"
	capaCodes    = "RESP-CODES"
	capaAuthCode = "AUTH-RESP-CODE"
)

// pop3Unknown is what the gate offers before a backend has told what it can do:
// what every Dovecot does.
var pop3Default = Capabilities{"TOP", "UIDL", "PIPELINING", "SASL PLAIN LOGIN"}

// pop3Own is what the gate decides itself, whatever the backend says; UTF8 and
// LANG (RFC 6856) are commands before login that it does not know.
var pop3OwnCapabilities = []string{capaUser, capaSASL, capaSTLS, capaCodes, capaAuthCode, "UTF8", "LANG"}

// pop3Backend returns the backend's list.
func (o Offer) pop3Backend() Capabilities {
	if o.Backend == nil {
		return pop3Default
	}
	return o.Backend
}

// pop3Mechanisms returns all mechanisms the backend offers.
func (o Offer) pop3Mechanisms() []string {
	for _, line := range o.pop3Backend() {
		if isSASL(line) {
			return strings.Fields(strings.ToUpper(line))[1:]
		}
	}
	return nil
}

// pop3Advertised leaves PLAIN and LOGIN out while USER is offered. Clients then
// use USER, where a refusal does not cost them their stored password; in AUTH
// and PASS they take any refusal for a wrong one.
func (o Offer) pop3Advertised() []string {
	return slices.DeleteFunc(o.pop3Mechanisms(), func(m string) bool {
		return m == sasl.Plain || m == loginMech || !o.allows(m)
	})
}

// pop3Capabilities is the answer to CAPA (RFC 2449 section 5): the backend's
// own, without what the gate decides.
func (o Offer) pop3Capabilities() []string {
	var lines []string
	for _, line := range o.pop3Backend() {
		name, _, _ := strings.Cut(strings.ToUpper(line), " ")
		if !slices.Contains(pop3OwnCapabilities, name) {
			lines = append(lines, line)
		}
	}
	lines = append(lines, capaCodes, capaAuthCode)
	if o.StartTLS {
		lines = append(lines, capaSTLS)
	}
	if o.secure() {
		lines = append(lines, capaUser)
	}
	if m := o.pop3Advertised(); len(m) > 0 {
		lines = append(lines, capaSASL+" "+strings.Join(m, " "))
	}
	return lines
}
