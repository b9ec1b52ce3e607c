package dialogue

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// IMAP is the dialogue of RFC 3501 and RFC 9051 before login.
type IMAP struct{}

// Name is "imap".
func (IMAP) Name() string { return "imap" }

// imapUnknown is what the gate offers before a backend has told what it can do:
// what every Dovecot does.
var imapDefault = Capabilities{
	string(imap.CapIMAP4rev1), string(imap.CapSASLIR), string(imap.CapID), string(imap.CapEnable),
	string(imap.CapIdle), string(imap.CapLiteralPlus), "AUTH=PLAIN", "AUTH=LOGIN",
}

// imapOwn is what the gate decides itself, whatever the backend says. It
// follows no referrals, and a session that logs out of its account but keeps its
// connection would be past the gate (RFC 8437).
var imapOwnCapabilities = []string{
	string(imap.CapStartTLS), string(imap.CapLoginDisabled),
	string(imap.CapLoginReferrals), string(imap.CapMailboxReferrals), string(imap.CapUnauthenticate),
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
	for _, word := range o.imapBackend() {
		if m, ok := cutPrefixFold(word, "AUTH="); ok {
			all = append(all, strings.ToUpper(m))
		}
	}
	return all
}

// imapCapabilities is the capability list for a client (RFC 3501 sections 6.1.1
// and 7.2.1): the backend's own, without what the gate decides.
func (o Offer) imapCapabilities() string {
	all := o.imapBackend()
	words := make([]string, 0, len(all)+2)
	for _, word := range all {
		own := func(w string) bool { return strings.EqualFold(w, word) }
		if _, auth := cutPrefixFold(word, "AUTH="); !auth && !slices.ContainsFunc(imapOwnCapabilities, own) {
			words = append(words, word)
		}
	}
	if o.StartTLS {
		words = append(words, string(imap.CapStartTLS))
	}
	if !o.secure() {
		words = append(words, string(imap.CapLoginDisabled))
	}
	for _, word := range all {
		if m, auth := cutPrefixFold(word, "AUTH="); auth && o.allows(strings.ToUpper(m)) {
			words = append(words, strings.ToUpper(word))
		}
	}
	return strings.Join(words, " ")
}

// cutPrefixFold is strings.CutPrefix for an ASCII prefix in any case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
