package dialogue

import (
	"slices"
	"strings"
)

// Capabilities is what a server says it can do: the words of an IMAP capability
// list, or the lines of a POP3 one. The values must not be changed.
type Capabilities []string

// Common returns what both lists hold, in the order of c: it is empty, not nil, if
// that is nothing. The mechanisms on the SASL line of POP3 are compared one by one.
func (c Capabilities) Common(other Capabilities) Capabilities {
	common := Capabilities{}
	for _, line := range c {
		for _, theirs := range other {
			if strings.EqualFold(line, theirs) {
				common = append(common, line)
			} else if isSASL(line) && isSASL(theirs) {
				common = append(common, strings.Join(commonFields(line, theirs), " "))
			}
		}
	}
	return common
}

// isSASL says whether a POP3 capability lists the mechanisms.
func isSASL(line string) bool {
	name, _, _ := strings.Cut(line, " ")
	return strings.EqualFold(name, capaSASL)
}

// commonWords returns the words of line that theirs holds too, in any case.
func commonFields(line, theirs string) []string {
	return slices.DeleteFunc(strings.Fields(line), func(word string) bool {
		return !slices.ContainsFunc(strings.Fields(theirs), func(w string) bool { return strings.EqualFold(w, word) })
	})
}

// allows says whether the client may use a mechanism now, in upper case, if the
// backend offers it. Channel binding cannot pass the gate that ends TLS, and what
// shows the password needs TLS unless clear text is allowed.
func (o Offer) allows(mechanism string) bool {
	return !strings.HasSuffix(mechanism, "-PLUS") && (o.secure() || !showsSecret(mechanism))
}

// access is whether a client may use a mechanism.
type access uint8

const (
	allowed  access = iota
	needsTLS        // only behind STARTTLS or STLS
	notOffered         // the backend does not offer it
)

// access looks the mechanism up among all that the backend offers.
func (o Offer) access(mechanism string, all []string) access {
	switch {
	case !slices.Contains(all, mechanism) || strings.HasSuffix(mechanism, "-PLUS"):
		return notOffered
	case showsSecret(mechanism) && !o.secure():
		return needsTLS
	}
	return allowed
}
