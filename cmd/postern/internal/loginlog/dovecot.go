package loginlog

import (
	"bytes"
	"net/netip"
	"unicode/utf8"
)

// services are the programs of Dovecot whose lines count, as they begin a message.
var services = [][]byte{[]byte("imap-login: "), []byte("pop3-login: ")}

// cutService returns the part of a message of Dovecot after the service that made it.
func cutService(message []byte) (rest []byte, ok bool) {
	for _, s := range services {
		if rest, ok = bytes.CutPrefix(message, s); ok {
			return rest, true
		}
	}
	return nil, false
}

// The beginnings of messages about logins. Nothing before their fields was chosen by a client.
var (
	acceptedVerbs = [][]byte{[]byte("Login: "), []byte("Logged in: ")}
	endedVerbs    = [][]byte{
		[]byte("Disconnected"), []byte("Login aborted"), []byte("Aborted login"), []byte("Remote closed connection"),
		[]byte("Client has quit the connection"),
	}
	proxyVerb = []byte("proxy(")
	fieldsAt  = []byte(": user=<")
)

// dovecot reads a message of imap-login or pop3-login. It sets all of e but the time.
func dovecot(message []byte, e *Event) meaning {
	for _, verb := range acceptedVerbs {
		if fields, ok := bytes.CutPrefix(message, verb); ok {
			e.Outcome, e.Attempts = Accepted, 1
			return e.fields(fields)
		}
	}
	at := bytes.Index(message, fieldsAt) // the first one: what is before it is Dovecot's own text
	if at < 0 {
		return other
	}
	head, fields := message[:at], message[at+2:]
	if bytes.HasPrefix(message, proxyVerb) {
		return e.proxied(head, fields)
	}
	for _, verb := range endedVerbs {
		if bytes.HasPrefix(message, verb) {
			var ok bool
			if e.Outcome, e.Attempts, ok = reason(head); !ok {
				return other
			}
			return e.fields(fields)
		}
	}
	return other
}

// The reasons for which a connection ended before login, as far as they are about credentials.
var (
	authFailed     = []byte("(auth failed, ")
	authzFailed    = []byte("(authorization failed, ")
	otherDenials   = [][]byte{[]byte("(user disabled)"), []byte("(password expired)"), []byte("(login disabled)"), []byte("(proxy dest auth failed)")}
	internalFaults = [][]byte{
		[]byte("(auth service reported temporary failure)"), []byte("(auth process communication failure)"), []byte("(internal failure, "),
	}
)

// reason returns how the attempts of a connection ended. ok is false if there were none.
func reason(head []byte) (o Outcome, attempts int, ok bool) {
	for _, r := range [][]byte{authFailed, authzFailed} {
		if i := bytes.Index(head, r); i >= 0 {
			digits := head[i+len(r):]
			if end := bytes.IndexByte(digits, ' '); end >= 0 {
				digits = digits[:end]
			}
			n, _ := number(digits)
			return Denied, min(max(n, 1), attemptsMost), true
		}
	}
	if containsAny(head, otherDenials) {
		return Denied, 1, true
	}
	return Fault, 1, containsAny(head, internalFaults)
}

func containsAny(b []byte, texts [][]byte) bool {
	for _, t := range texts {
		if bytes.Contains(b, t) {
			return true
		}
	}
	return false
}

// proxied reads a message whose head is proxy(NAME): started proxying to HOST, or proxy(NAME,HOST): Started proxying to
// HOST. NAME must be that of the fields: only then is the end of it certain.
func (e *Event) proxied(head, fields []byte) meaning {
	e.Outcome, e.Attempts = Accepted, 1
	head = head[len(proxyVerb):]
	if !bytes.Contains(head, []byte("tarted proxying to ")) {
		return other
	}
	if m := e.fields(fields); m != login || e.Account == "" {
		return m
	}
	head, ok := bytes.CutPrefix(head, []byte(e.Account))
	if !ok || len(head) == 0 || head[0] != ')' && head[0] != ',' {
		return obscure
	}
	_, verb, _ := bytes.Cut(head, []byte("): "))
	if bytes.HasPrefix(verb, []byte("started proxying to ")) || bytes.HasPrefix(verb, []byte("Started proxying to ")) {
		return login
	}
	return obscure
}

// Names of fields.
var (
	userField    = []byte("user=<")
	ripField     = []byte("rip=")
	uniqueFields = [][]byte{ripField, []byte("lip="), []byte("method="), []byte("session=<"), []byte("mpid=")}
	separator    = []byte(", ")
)

// fields reads the fields of a message into e. Each of uniqueFields may appear once, and nothing else may look like one:
// with a second one, there is no way to know which a client has put into its name.
func (e *Event) fields(b []byte) meaning {
	b, ok := bytes.CutPrefix(b, userField)
	end := bytes.IndexByte(b, '>')
	if !ok || end < 0 || hasControl(b) {
		return obscure
	}
	name, rest := b[:end], b[end+1:]
	if bytes.IndexByte(name, '<') >= 0 || bytes.Contains(name, separator) {
		return obscure
	}
	if rest, ok = bytes.CutPrefix(rest, separator); !ok || bytes.Contains(rest, userField) {
		return obscure
	}
	seen := 0
	for more := true; more; {
		var field []byte
		field, rest, more = bytes.Cut(rest, separator)
		if !e.field(field, &seen) {
			return obscure
		}
	}
	if !e.Addr.IsValid() {
		return obscure
	}
	e.Account = completeName(name)
	return login
}

// field reads one field. seen has a bit for each of uniqueFields. It returns false if the field is ambiguous or wrong.
func (e *Event) field(field []byte, seen *int) bool {
	for i, name := range uniqueFields {
		value, ok := bytes.CutPrefix(field, name)
		if !ok {
			continue
		}
		if *seen&(1<<i) != 0 {
			return false
		}
		*seen |= 1 << i
		if name[len(name)-1] == '<' {
			value, ok = bytes.CutSuffix(value, []byte(">"))
		}
		if i == 0 {
			e.Addr, ok = address(value)
		}
		return ok && !hasBracket(value)
	}
	return len(field) > 0 && !hasBracket(field) && !bytes.Contains(field, ripField)
}

// hasBracket reports whether b has < or >, which only names and sessions are put between. A name that ends its field and
// forges others leaves one behind.
func hasBracket(b []byte) bool { return bytes.IndexByte(b, '<') >= 0 || bytes.IndexByte(b, '>') >= 0 }

// address reads the address of a client.
func address(b []byte) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(string(b))
	if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// nameMax is how many octets of a name Dovecot logs. It ends a longer one with an ellipsis.
const nameMax = 80

// completeName returns the name that a client sent, or nothing if Dovecot may have cut it, or replaced characters that
// cannot be printed by question marks.
func completeName(name []byte) string {
	if len(name) >= nameMax || bytes.HasSuffix(name, []byte("...")) || bytes.IndexByte(name, '?') >= 0 ||
		bytes.ContainsRune(name, utf8.RuneError) || !utf8.Valid(name) {
		return ""
	}
	return string(name)
}

// hasControl reports whether b has control characters, which Dovecot never logs.
func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}
