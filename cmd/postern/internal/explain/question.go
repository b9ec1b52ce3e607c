package explain

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/eventlog"
	"postern/limiter"
)

// aboutMax is how long a question may be, in octets: that of the longest mail address.
const aboutMax = 320

// A question is what an Explanation is about. Of a session or account, address and account
// are those of the latest event.
type question struct {
	subject Subject
	session string
	address netip.Addr
	network netip.Prefix // of Source and Network
	account string
}

// sessionID is the form of the ID of a session.
var sessionID = regexp.MustCompile(`^[a-z2-7]{6}-[0-9a-z]{1,13}$`)

// parse decides what a question is about. An ID may have the parentheses of the message in
// which a user finds it.
func parse(about string) (q question, err error) {
	s := strings.TrimSpace(about)
	switch {
	case s == "":
		return q, wrong("got nothing, want the ID of a session, an address, a network or an account")
	case len(s) > aboutMax:
		return q, wrong("got %d octets, want the ID of a session, an address, a network or an account of at most %d", len(s), aboutMax)
	}
	if id := strings.ToLower(strings.Trim(s, "().")); sessionID.MatchString(id) {
		return question{subject: Session, session: id}, nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.WithZone("").Unmap()
		return question{subject: Source, address: addr, network: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	if before, _, found := strings.Cut(s, "/"); found {
		if _, err := netip.ParseAddr(before); err == nil {
			return parseNetwork(s)
		}
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return q, wrong("got %q, want a name without control characters", eventlog.Printable(s, eventlog.NameMax))
	}
	return question{subject: Account, account: original(s)}, nil
}

// parseNetwork reads a network in CIDR form. That of one address is the address.
func parseNetwork(s string) (q question, err error) {
	p, err := decisions.ParseNetwork(s)
	if err != nil {
		return q, decisions.RequestError{Err: err}
	}
	if p.IsSingleIP() {
		return question{subject: Source, address: p.Addr(), network: p}, nil
	}
	q = question{subject: Network, network: p}
	if p == limiter.Source(p.Addr()) { // an IPv6 /64
		q.subject, q.address = Source, p.Addr()
	}
	return q, nil
}

// name is what the question is about.
func (q *question) name() string {
	switch q.subject {
	case Session:
		return q.session
	case Source, Network:
		return limiter.BlockName(q.network)
	}
	return q.account
}

// wrong returns the error of a question that makes no sense.
func wrong(format string, args ...any) error {
	return decisions.RequestError{Err: fmt.Errorf("about: "+format, args...)}
}
