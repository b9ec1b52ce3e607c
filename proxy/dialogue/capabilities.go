package dialogue

import (
	"slices"
	"strings"
)

// Capabilities is what a server says it can do: the words of an IMAP capability
// list, or the lines of a POP3 one. The values must not be changed.
type Capabilities []string

// Common returns what both lists hold, in the order of c.
func (c Capabilities) Common(other Capabilities) Capabilities {
	return slices.DeleteFunc(slices.Clone(c), func(word string) bool {
		return !slices.Contains(other, word)
	})
}

// mechanisms returns the SASL mechanisms the client may use now, in upper case.
// Channel binding cannot pass the gate that ends TLS, and what shows the
// password needs TLS unless clear text is allowed.
func (o Offer) mechanisms(all []string) []string {
	return slices.DeleteFunc(all, func(m string) bool {
		return strings.HasSuffix(m, "-PLUS") || showsSecret(m) && !o.secure()
	})
}

// access is whether a client may use a mechanism.
type access uint8

const (
	allowed  access = iota
	needsTLS        // only behind STARTTLS or STLS
	unknown         // the backend does not offer it
)

// access looks the mechanism up among all that the backend offers.
func (o Offer) access(mechanism string, all []string) access {
	switch {
	case !slices.Contains(all, mechanism) || strings.HasSuffix(mechanism, "-PLUS"):
		return unknown
	case showsSecret(mechanism) && !o.secure():
		return needsTLS
	}
	return allowed
}
