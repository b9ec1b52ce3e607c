package dialogue

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// Sieve is the dialogue of ManageSieve (RFC 5804) before login.
type Sieve struct{}

// Name is "sieve".
func (Sieve) Name() string { return "sieve" }

// Title is "ManageSieve".
func (Sieve) Title() string { return "ManageSieve" }

// ALPN is "managesieve".
func (Sieve) ALPN() string { return "managesieve" }

// The names of ManageSieve capabilities (RFC 5804 section 1.7).
const (
	capaImplementation = "IMPLEMENTATION"
	capaSieve          = "SIEVE"
	capaNotify         = "NOTIFY"
	capaVersion        = "VERSION"
	capaStartTLS       = "STARTTLS"
)

// The response codes of RFC 5804 section 1.3 in the proxy's own answers.
const (
	sieveTryLater      = "(TRYLATER) "
	sieveEncryptNeeded = "(ENCRYPT-NEEDED) "
)

// sieveDefault is what is offered until a backend has been probed.
var sieveDefault = Capabilities{
	capaSieve + " fileinto reject envelope vacation imap4flags subaddress relational regex copy include variables body",
	capaSASL + " " + sasl.Plain + " " + sasl.Login,
}

// sieveOwnCapabilities are what the proxy decides itself. It implements neither XCLIENT
// nor ID, and a session that logs out of its account but keeps its connection
// (UNAUTHENTICATE) could log in past the proxy.
var sieveOwnCapabilities = []string{capaSASL, capaStartTLS, "UNAUTHENTICATE", "XCLIENT", "ID"}

// sieveBackend returns the backend's list.
func (o Offer) sieveBackend() Capabilities {
	if o.Backend == nil {
		return sieveDefault
	}
	return o.Backend
}

// sieveMechanisms returns all mechanisms the backend offers.
func (o Offer) sieveMechanisms() []string { return lineMechanisms(o.sieveBackend()) }

// sieveCapabilities is the capability list for a client (RFC 5804 section 1.7): the
// backend's, except for what the proxy decides. Those that every server must have are
// there even if the backends differ in them.
func (o Offer) sieveCapabilities() string {
	values := map[string]string{capaImplementation: "postern", capaSieve: "", capaVersion: "1.0"}
	names := []string{capaImplementation, capaSieve}
	for _, line := range o.sieveBackend() {
		name, value, _ := strings.Cut(line, " ")
		name = strings.ToUpper(name)
		values[name] = value
		if !slices.Contains(names, name) && !slices.Contains(sieveOwnCapabilities, name) && name != capaVersion {
			names = append(names, name)
		}
	}
	values[capaSASL] = strings.Join(slices.DeleteFunc(o.sieveMechanisms(), func(m string) bool { return !o.allows(m) }), " ")
	names = append(names, capaSASL)
	if o.StartTLS {
		names = append(names, capaStartTLS)
	}
	var list strings.Builder
	for _, name := range append(names, capaVersion) {
		list.WriteString(sieveQuoted(name))
		if value, has := values[name]; has && (value != "" || name == capaSieve || name == capaSASL) {
			list.WriteString(" " + sieveQuoted(value))
		}
		list.WriteString("\r\n")
	}
	return list.String()
}

// Greet writes the capabilities and the greeting.
func (Sieve) Greet(c *Conn, o Offer) error {
	return c.writeLine(o.sieveCapabilities(), `OK "Ready."`)
}

// GreetTLS writes the capabilities again, as they are in TLS (RFC 5804 section 2.2).
func (Sieve) GreetTLS(c *Conn, o Offer) error {
	return c.writeLine(o.sieveCapabilities(), `OK "TLS negotiation successful."`)
}

// ReadRequest answers commands until one needs a decision of the proxy.
func (p Sieve) ReadRequest(c *Conn, o Offer) (Request, error) {
	r, err := readRequest(c, func(line []byte) (Request, bool, error) { return sieveCommand(c, o, line) })
	return r, p.reportEnd(c, err)
}

// reportEnd writes BYE if the client's mistakes end the dialogue, and returns err. A
// client of another protocol gets no answer.
func (Sieve) reportEnd(c *Conn, err error) error {
	switch {
	case errors.Is(err, ErrBadCommands):
		_ = c.writeLine(`BYE "Too many invalid commands."`)
	case errors.Is(err, ErrTooLong):
		_ = c.writeLine(`BYE "Line or literal too long."`)
	}
	return err
}

// sieveCommand handles one command. It returns done = true with a request that needs a
// decision, errSyntax for a bad command that has been answered, and any other error when
// the dialogue is over.
func sieveCommand(c *Conn, o Offer, line []byte) (r Request, done bool, err error) {
	name, args, err := scanAtom(line)
	a := newSieveArgs(c, args)
	if err != nil {
		a.rest = line
		return r, false, sieveBad(c, a, "Invalid command.")
	}
	switch name {
	case "AUTHENTICATE":
		return sieveAuthenticate(c, o, a)
	case "NOOP":
		return r, false, sieveNoop(c, a)
	}
	valid := name == "CAPABILITY" || name == "STARTTLS" || name == "LOGOUT"
	switch {
	case !valid || len(a.rest) > 0:
		return r, false, sieveBad(c, a, "Unknown command, or not before login.")
	case name == "CAPABILITY":
		return r, false, c.writeLine(o.sieveCapabilities(), `OK "Capability completed."`)
	case name == "LOGOUT":
		return Request{Kind: Logout}, true, c.writeLine(`OK "Logout completed."`)
	case !o.StartTLS:
		return r, false, sieveBad(c, a, "STARTTLS is not possible now.")
	case c.Buffered() > 0: // octets in clear text, as behind STARTTLS in IMAP
		return r, false, ErrHostile
	}
	return Request{Kind: StartTLS}, true, nil
}

// sieveNoop handles NOOP (RFC 5804 section 2.13), which repeats a tag. As in IMAP a tag
// is short and has no octet that could mean something else.
func sieveNoop(c *Conn, a *sieveArgs) error {
	if len(a.rest) == 0 {
		return c.writeLine(`OK "NOOP completed."`)
	}
	tag, err := a.str()
	if err == nil {
		err = a.end()
	}
	if err == nil && (len(tag) > maxTag || slices.ContainsFunc(tag, func(c byte) bool { return !isAstringChar(c) })) {
		err = errSyntax
	}
	switch {
	case errors.Is(err, errSyntax):
		return sieveBad(c, a, "Invalid arguments.")
	case err != nil:
		return err
	}
	return c.writeLine("OK (TAG ", sieveQuoted(string(tag)), `) "NOOP completed."`)
}

// sieveAuthenticate handles AUTHENTICATE (RFC 5804 section 2.1).
func sieveAuthenticate(c *Conn, o Offer, a *sieveArgs) (r Request, done bool, err error) {
	name, err := a.str()
	var ir []byte
	if err == nil && len(a.rest) > 0 {
		if err = a.space(); err == nil {
			ir, err = a.str()
		}
		if err == nil && len(ir) == 0 {
			ir = []byte("=")
		}
	}
	if err == nil {
		err = a.end()
	}
	switch {
	case errors.Is(err, errSyntax):
		return r, false, sieveBad(c, a, "Invalid arguments.")
	case err != nil:
		return r, false, err
	}
	defer Secret(ir).Wipe()
	mechanism := strings.ToUpper(string(name))
	switch o.access(mechanism, o.sieveMechanisms()) {
	case needsTLS:
		return r, false, c.writeLine("NO ", sieveEncryptNeeded, `"Logging in needs TLS, begin with STARTTLS."`)
	case notOffered:
		return r, false, c.writeLine(`NO "Unsupported authentication mechanism."`)
	}
	r, err = readSASL(c, stringFraming{}, mechanism, ir)
	switch {
	case errors.Is(err, errCancelled):
		return r, false, c.writeLine(`NO "Authentication cancelled."`)
	case errors.Is(err, errBase64), errors.Is(err, errResponse):
		return r, false, sieveBad(c, newSieveArgs(c, nil), "Invalid SASL response.")
	}
	return r, err == nil, err
}

// sieveBad refuses a command: it reads the rest of it and answers NO. It returns
// errSyntax, or the error that ends the dialogue.
func sieveBad(c *Conn, a *sieveArgs, text string) error {
	if err := a.discard(); err != nil {
		return err
	}
	if err := c.writeLine("NO ", sieveQuoted(text)); err != nil {
		return err
	}
	return errSyntax
}

// sieveDenial is the line that denies a login.
func sieveDenial(string) string { return "NO " + sieveQuoted(deniedText) }

// Answer writes the reply to the client's request, which ManageSieve does not name. For
// the zero Request it writes BYE.
func (Sieve) Answer(c *Conn, r Request, a Answer) error {
	status := "NO "
	if r.Kind == Logout {
		status = "BYE "
	}
	switch a {
	case AnswerTLS:
		return c.writeLine(`OK "Begin TLS negotiation now."`)
	case AnswerDenied:
		return c.writeLine(sieveDenial(""))
	case AnswerBusy, AnswerDelay:
		return c.writeLine(status, sieveTryLater, sieveQuoted(busyText+c.refSuffix()))
	case AnswerTries:
		return c.writeLine("BYE ", sieveQuoted(triesText+c.refSuffix()))
	case AnswerShutdown:
		return c.writeLine("BYE ", sieveTryLater, sieveQuoted(closingTexts[a]))
	}
	return c.writeLine("BYE ", sieveQuoted(closingTexts[a]))
}
