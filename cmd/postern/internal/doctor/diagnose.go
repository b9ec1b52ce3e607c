package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"

	"postern/cmd/postern/internal/config"
	"postern/proxy"
)

// This file finds out why a backend that accepts connections does not work. What it does
// is often not telling: it closes or sends nothing. So it is tried in other ways, and the
// one that works shows which setting is wrong.

// diagnose says why the conversation t, in the way of the settings, has failed.
func (b *backend) diagnose(ctx context.Context, t *talk) Finding {
	if remedy := b.tlsRemedy(t.err); remedy != "" {
		return failure(b.String(), "TLS fails: "+t.err.Error(), remedy)
	}
	if t.greeted && len(t.strays) > 0 {
		return b.answersUnasked(t)
	}
	var others []attempt
	if !t.heard || t.greeted || proxy.IsClosed(t.err) { // else it has sent something else than a greeting
		others = b.tryOthers(ctx)
	}
	what := b.configured().String() + " it " + describe(t.err)
	for _, o := range others {
		if o.works() {
			return failure(b.String(), what+"; "+o.String()+" it greets", b.wayRemedy(o.way))
		}
	}
	return failure(b.String(), what, b.closedRemedy(t, others))
}

// tlsRemedy says what to change if err is that the certificate of the backend is not
// accepted; it is empty for other errors.
func (b *backend) tlsRemedy(err error) string {
	const prefix = config.Prefix + "BACKEND_TLS"
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return "set " + prefix + "_NAME to a name in the certificate of the backend, or use such a name in " + b.setting
	case errors.As(err, &unknown):
		return "set " + prefix + "_CA to a file with the certificate of the CA that has issued that of the backend"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the certificate of the backend (ssl_cert of Dovecot), or set the clock"
	case errors.As(err, &verification):
		return "replace the certificate of the backend (ssl_cert of Dovecot), or correct " + prefix + "_CA and " + prefix + "_NAME"
	}
	return ""
}

// answersUnasked is the Finding for a backend that greets, and then sends what answers no
// command: it has taken the PROXY header for one.
func (b *backend) answersUnasked(t *talk) Finding {
	line := fmt.Sprintf("%.*q", quoteMax, t.strays[0])
	if b.config.Proxy == proxy.ProxyOff || !isComplaint(t.strays[0]) {
		return failure(b.String(), "it sends "+line+" unasked", "see that "+b.setting+" names a mail server that speaks "+b.protocol.Title())
	}
	return failure(b.String(), "it answers the PROXY header with "+line, b.wayRemedy(way{proxy.ProxyOff, b.config.TLS}))
}

// isComplaint reports whether an unasked line of IMAP answers a bad command.
func isComplaint(line string) bool {
	_, rest, _ := strings.Cut(line, " ")
	return strings.HasPrefix(rest, "BAD") || strings.HasPrefix(rest, "NO") || strings.HasPrefix(rest, "BYE")
}

// attempt is what came of another way than the configured one.
type attempt struct {
	way
	*talk
}

// works reports whether the backend greeted, and understood all that it was sent.
func (a attempt) works() bool { return a.greeted && a.err == nil && len(a.strays) == 0 }

// tryOthers tries the backend with PROXY header and TLS changed, each alone and then both.
func (b *backend) tryOthers(ctx context.Context) []attempt {
	w := b.configured()
	header, secure := proxy.ProxyOff, proxy.BackendImplicit
	if w.proxy == proxy.ProxyOff {
		header = proxy.ProxyV2
	}
	if w.tls == proxy.BackendImplicit {
		secure = proxy.BackendClear
	}
	others := []attempt{{way{header, w.tls}, nil}, {way{w.proxy, secure}, nil}, {way{header, secure}, nil}}
	var busy sync.WaitGroup
	for i := range others {
		busy.Go(func() { others[i].talk = b.talk(ctx, others[i].way) })
	}
	busy.Wait()
	return others
}

// wayRemedy says how to have the backend and the settings agree, given the way that works.
func (b *backend) wayRemedy(works way) string {
	var parts []string
	if works.proxy != b.config.Proxy {
		if works.proxy == proxy.ProxyOff {
			parts = append(parts, "it does not expect a PROXY header on this port: in Dovecot, set `haproxy = yes` on that inet_listener, or set "+config.Prefix+"BACKEND_PROXY=off")
		} else {
			parts = append(parts, "it expects a PROXY header on this port: set "+config.Prefix+"BACKEND_PROXY=v2, or take another port in "+b.setting)
		}
	}
	if works.tls != b.config.TLS {
		mode := "tls"
		if works.tls == proxy.BackendClear {
			mode = "starttls, or off"
		}
		parts = append(parts, "set "+config.Prefix+"BACKEND_TLS="+mode+", or take another port in "+b.setting)
	}
	return strings.Join(parts, "; and ")
}

// closedRemedy says what to change if the backend greets in no way that was tried. A
// Dovecot that expects a header from others closes at once, before it has read anything.
func (b *backend) closedRemedy(t *talk, others []attempt) string {
	refusal := (*replyError)(nil)
	switch {
	case errors.As(t.err, &refusal) && t.greeted && b.config.TLS == proxy.BackendStartTLS:
		return "it offers no STARTTLS: set `ssl = yes` in Dovecot, or " + config.Prefix + "BACKEND_TLS=off if the network to it is your own"
	case errors.As(t.err, &refusal) && strings.HasPrefix(refusal.line, "* BYE"), errors.As(t.err, &refusal) && strings.HasPrefix(refusal.line, "-ERR"):
		return "see the log of the backend: it refuses the connection (process_limit, client_limit or a shutdown)"
	case t.heard:
		return "see that " + b.setting + " names a mail server that speaks " + b.protocol.Title()
	case proxy.IsClosed(t.err) && b.config.Proxy != proxy.ProxyOff:
		return proxy.HeaderRemedy(t.gateway)
	case proxy.IsClosed(t.err):
		return "see the log of the backend; if it expects a PROXY header (`haproxy = yes`), set " + config.Prefix + "BACKEND_PROXY=v2 and put this gateway's address " + t.gateway.String() + " into haproxy_trusted_networks"
	case len(others) > 0 && proxy.IsClosed(others[0].err):
		return proxy.HeaderRemedy(t.gateway)
	}
	return "see the log of the backend: it may be overloaded (process_limit of the login service), or " + b.setting + " names another kind of server"
}
