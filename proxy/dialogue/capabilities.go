package dialogue

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
)

// Capabilities are what a server offers: the items of an IMAP capability list, the
// lines of a POP3 one, or those of a ManageSieve one without quotes: name, space and
// value. The values must not be changed.
type Capabilities []string

// The names of POP3 capabilities (RFC 2449 section 6, RFC 2595, RFC 3206).
const (
	capaUser     = "USER"
	capaSASL     = "SASL"
	capaSTLS     = "STLS"
	capaCodes    = "RESP-CODES"
	capaAuthCode = "AUTH-RESP-CODE"
)

// imapAuth precedes the mechanism in a capability of IMAP.
var imapAuth = string(imap.AuthCap(""))

// What is offered until a backend has been probed: what every Dovecot has.
var (
	imapDefault = Capabilities{
		string(imap.CapIMAP4rev1), string(imap.CapSASLIR), string(imap.CapID), string(imap.CapEnable),
		string(imap.CapIdle), string(imap.CapLiteralPlus),
		string(imap.AuthCap(sasl.Plain)), string(imap.AuthCap(sasl.Login)),
	}
	pop3Default = Capabilities{"TOP", "UIDL", "PIPELINING", capaSASL + " " + sasl.Plain + " " + sasl.Login}
)

// What the proxy decides itself, independent of the backend.
var (
	// The proxy follows no referrals, and a session that logs out of its account
	// but keeps its connection (RFC 8437) could log in past the proxy.
	imapOwnCapabilities = []string{
		string(imap.CapStartTLS), string(imap.CapLoginDisabled),
		string(imap.CapLoginReferrals), string(imap.CapMailboxReferrals), string(imap.CapUnauthenticate),
	}
	// UTF8 and LANG (RFC 6856) are commands before login that the proxy does not
	// implement.
	pop3OwnCapabilities = []string{capaUser, capaSASL, capaSTLS, capaCodes, capaAuthCode, "UTF8", "LANG"}
)

// Common returns what both lists hold, in the order of c: it is empty, not nil, if
// that is nothing. Lines that list mechanisms or extensions are compared field by
// field.
func (c Capabilities) Common(other Capabilities) Capabilities {
	common := Capabilities{}
	for _, line := range c {
		for _, theirs := range other {
			if strings.EqualFold(line, theirs) {
				common = append(common, line)
			} else if name := listName(line); name != "" && name == listName(theirs) {
				common = append(common, strings.Join(commonFields(line, theirs), " "))
			}
		}
	}
	return common
}

// listName returns the name of a capability of POP3 or ManageSieve whose value is a
// list, in upper case, or "".
func listName(line string) string {
	name, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch name {
	case capaSASL, capaSieve, capaNotify:
		return name
	}
	return ""
}

// lineMechanisms returns the mechanisms of a list of POP3 or ManageSieve.
func lineMechanisms(lines Capabilities) []string {
	for _, line := range lines {
		if listName(line) == capaSASL {
			return strings.Fields(strings.ToUpper(line))[1:]
		}
	}
	return nil
}

// commonFields returns the fields of line that theirs holds too, in any case.
func commonFields(line, theirs string) []string {
	return slices.DeleteFunc(strings.Fields(line), func(field string) bool {
		return !slices.ContainsFunc(strings.Fields(theirs), func(f string) bool { return strings.EqualFold(f, field) })
	})
}

// allows reports whether the client may use a mechanism of the backend now; its
// name is in upper case. Channel binding cannot work through a proxy that ends
// TLS, and what shows the password needs TLS unless clear text is allowed.
func (o Offer) allows(mechanism string) bool {
	return !strings.HasSuffix(mechanism, "-PLUS") && (o.secure() || !showsSecret(mechanism))
}

// access is whether a client may use a mechanism.
type access uint8

const (
	allowed    access = iota
	needsTLS          // only after STARTTLS or STLS
	notOffered        // the backend does not offer it
)

// access looks up a mechanism among all that the backend offers.
func (o Offer) access(mechanism string, all []string) access {
	switch {
	case !slices.Contains(all, mechanism) || strings.HasSuffix(mechanism, "-PLUS"):
		return notOffered
	case showsSecret(mechanism) && !o.secure():
		return needsTLS
	}
	return allowed
}

// imapBackend returns the backend's list.
func (o Offer) imapBackend() Capabilities {
	if o.Backend == nil {
		return imapDefault
	}
	return o.Backend
}

// imapMechanisms returns all mechanisms the backend offers.
func (o Offer) imapMechanisms() []string {
	var all []string
	for _, name := range o.imapBackend() {
		if m, ok := cutPrefixFold(name, imapAuth); ok {
			all = append(all, strings.ToUpper(m))
		}
	}
	return all
}

// imapCapabilities is the capability list for a client (RFC 3501 sections 6.1.1
// and 7.2.1): the backend's, except for what the proxy decides.
func (o Offer) imapCapabilities() string {
	all := o.imapBackend()
	list := make([]string, 0, len(all)+2)
	for _, name := range all {
		own := func(s string) bool { return strings.EqualFold(s, name) }
		if _, auth := cutPrefixFold(name, imapAuth); !auth && !slices.ContainsFunc(imapOwnCapabilities, own) {
			list = append(list, name)
		}
	}
	if o.StartTLS {
		list = append(list, string(imap.CapStartTLS))
	}
	if !o.secure() {
		list = append(list, string(imap.CapLoginDisabled))
	}
	for _, name := range all {
		if m, auth := cutPrefixFold(name, imapAuth); auth && o.allows(strings.ToUpper(m)) {
			list = append(list, strings.ToUpper(name))
		}
	}
	return strings.Join(list, " ")
}

// pop3Backend returns the backend's list.
func (o Offer) pop3Backend() Capabilities {
	if o.Backend == nil {
		return pop3Default
	}
	return o.Backend
}

// pop3Mechanisms returns all mechanisms the backend offers.
func (o Offer) pop3Mechanisms() []string { return lineMechanisms(o.pop3Backend()) }

// pop3Advertised returns the mechanisms for a client. PLAIN and LOGIN are not
// listed while USER is offered: clients then use USER, where a refusal does not cost
// them their stored password. They take any refusal of AUTH and PASS for a wrong
// one.
func (o Offer) pop3Advertised() []string {
	return slices.DeleteFunc(o.pop3Mechanisms(), func(m string) bool {
		return m == sasl.Plain || m == sasl.Login || !o.allows(m)
	})
}

// pop3Capabilities is the answer to CAPA (RFC 2449 section 5): the backend's
// list, except for what the proxy decides.
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

// cutPrefixFold is strings.CutPrefix for an ASCII prefix in any case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
