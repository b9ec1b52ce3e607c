package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/proxy"
	"postern/proxy/dialogue"
)

// loginMax bounds a login through one listener. A client may have to wait longer than that
// for a gateway that limits it, but not for one where everything is right.
const loginMax = 8 * time.Second

// checkLogins logs in through every listener of the running gateway, by all protocols at
// the same time. Of one protocol it is one login after another: many POP3 servers allow one
// session of an account at a time.
func (e *examination) checkLogins(ctx context.Context) []Finding {
	if e.User == "" {
		return nil
	}
	if e.running == nil {
		return []Finding{failure("login", "not tried: postern does not run, or not with these settings", "start it, then run this command again")}
	}
	found := make([][]Finding, len(dialogue.Protocols()))
	var busy sync.WaitGroup
	for i, protocol := range dialogue.Protocols() {
		busy.Go(func() {
			for _, l := range e.listeners() {
				if _, port, _ := net.SplitHostPort(l.addr); l.Protocol == protocol && port != "0" {
					found[i] = append(found[i], e.checkLogin(ctx, l)...)
				}
			}
		})
	}
	busy.Wait()
	return slices.Concat(found...)
}

// checkLogin logs in through one listener.
func (e *examination) checkLogin(ctx context.Context, l listener) []Finding {
	check := "login " + l.String()
	ctx, cancel := context.WithTimeout(ctx, loginMax)
	defer cancel()
	raw, err := dial(ctx, target(l.addr))
	if err != nil {
		return nil // checkPorts says so
	}
	defer raw.Close()
	started := time.Now()
	s := &loginTry{examination: e, listener: l, conn: newMailConn(ctx, raw, l.Protocol), file: e.firstPair()}
	if err := s.run(ctx, raw); err != nil {
		return append(s.found, failure(check, "postern "+describe(err), s.remedy(err)))
	}
	how := "in TLS"
	if !s.secure {
		how = "in clear text"
	}
	if s.header {
		how += ", behind a PROXY header, which " + config.Prefix + "PROXY_FROM demands here"
	}
	return append(s.found, ok(check, "as %s, %s, in %v", e.User, how, time.Since(started).Round(time.Millisecond)))
}

// loginTry is one login through a listener.
type loginTry struct {
	*examination
	listener listener
	conn     *mailConn
	file     *tls.Certificate // the first one of the settings, nil without
	found    []Finding        // about the certificate
	secure   bool             // the connection is in TLS
	header   bool             // it began with a PROXY header
}

// run logs in on raw, uses the mailbox and logs out.
func (s *loginTry) run(ctx context.Context, raw net.Conn) error {
	if err := s.sendHeader(raw); err != nil {
		return err
	}
	if s.listener.TLS == proxy.Implicit {
		if err := s.conn.begin(ctx, s.clientTLS()); err != nil {
			return err
		}
	}
	if err := s.conn.greeting(); err != nil {
		return err
	}
	if s.listener.TLS == proxy.Upgrade && len(s.config.TLS.Certs) > 0 {
		if err := s.conn.startTLS(ctx, s.clientTLS()); err != nil {
			return err
		}
	}
	if secure, ok := s.conn.Conn.(*tls.Conn); ok {
		s.secure = true
		s.checkShown(secure.ConnectionState())
	}
	if err := s.conn.login(s.User, s.password); err != nil {
		return err
	}
	return s.conn.useMail()
}

// sendHeader sends a PROXY header if the listener demands one from this machine, as a load
// balancer would. It announces this machine itself.
func (s *loginTry) sendHeader(raw net.Conn) error {
	own := addrPort(raw.LocalAddr())
	for _, network := range s.config.Listeners.ProxyFrom {
		s.header = s.header || network.Contains(own.Addr().Unmap())
	}
	if !s.header {
		return nil
	}
	header, err := proxy.Header(proxy.ProxyV2, own, addrPort(raw.RemoteAddr()), false)
	if err == nil {
		_, err = raw.Write(header)
	}
	return err
}

// clientTLS is the TLS of a mail program that connects to the first name in the first
// certificate. checkShown verifies, so that a login is tried even if that fails.
func (s *loginTry) clientTLS() *tls.Config {
	return &tls.Config{ServerName: s.serverName(), NextProtos: []string{s.listener.Protocol.ALPN()}, InsecureSkipVerify: true}
}

// serverName is the first name in the first certificate, empty without one.
func (s *loginTry) serverName() string {
	if s.file == nil || len(s.file.Leaf.DNSNames) == 0 {
		return ""
	}
	return strings.Replace(s.file.Leaf.DNSNames[0], "*", "mail", 1)
}

// firstPair is the first certificate in TLS_CERT, nil if it cannot be loaded.
func (e *examination) firstPair() *tls.Certificate {
	t := e.config.TLS
	if len(t.Certs) == 0 || len(t.Keys) == 0 {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(t.Certs[0], t.Keys[0])
	if err != nil {
		return nil
	}
	return &pair
}

// checkShown checks the certificate that the gateway has shown as a client does. What is
// wrong with the one in the file, checkCertificates has said.
func (s *loginTry) checkShown(state tls.ConnectionState) {
	check := "login " + s.listener.String()
	shown := state.PeerCertificates[0]
	same := s.file != nil && s.file.Leaf.Equal(shown)
	if s.file != nil && !same {
		s.found = append(s.found, failure(check, fmt.Sprintf("shows another certificate than the first file in %sTLS_CERT has: for %s, until %s",
			config.Prefix, namesOf(shown), shown.NotAfter.UTC().Format("2006-01-02")),
			"see its log for lines with event=certificates: postern keeps the former one if it cannot read the new files"))
	}
	var chain [][]byte
	for _, c := range state.PeerCertificates {
		chain = append(chain, c.Raw)
	}
	_, err := verify(chain, s.roots, s.serverName(), time.Now())
	if same && err != nil {
		if _, fileErr := verify(s.file.Certificate, s.roots, s.serverName(), time.Now()); fileErr != nil {
			return
		}
	}
	if err != nil {
		s.found = append(s.found, warning(check, "a client does not accept its certificate: "+err.Error(),
			"`postern reload`, or restart postern, so that it shows the certificates in "+config.Prefix+"TLS_CERT"))
	}
}

// sessionID finds the ID of the session at the end of a refusal by postern.
var sessionID = regexp.MustCompile(`\(([0-9a-z]+-[0-9a-z]+)\)"?$`)

// remedy says what to do about a login that has failed.
func (s *loginTry) remedy(err error) string {
	refusal, isRefusal := errors.AsType[*replyError](err)
	switch nothing := !s.conn.heard && (proxy.IsClosed(err) || isTimeout(err)); {
	case nothing && s.header:
		return "this machine is in " + config.Prefix + "PROXY_FROM, and the running postern may have another value of it: restart it"
	case nothing:
		return "the running postern may demand a PROXY header from this machine (" + config.Prefix + "PROXY_FROM), or limit it: see `postern explain " + addrPort(s.conn.LocalAddr()).Addr().Unmap().String() + "` and the log"
	case !isRefusal:
		return "see the log of postern for this login, by event=login or event=connection and the listener " + s.listener.Name
	}
	explain := "see the log of postern for the login of " + s.User
	if id := sessionID.FindStringSubmatch(refusal.line); id != nil {
		explain = "`postern explain " + id[1] + "` says why"
	}
	upper := strings.ToUpper(refusal.line)
	switch {
	case strings.Contains(upper, "[AUTHENTICATIONFAILED]"), strings.Contains(upper, "[AUTH]"):
		return "correct -user or the first line of " + s.PasswordFile + ", or see the log of the backend; " + explain
	case strings.Contains(upper, "[UNAVAILABLE]"), strings.Contains(upper, "[SYS/TEMP]"), strings.Contains(upper, "[LOGIN-DELAY]"), strings.Contains(upper, "(TRYLATER)"):
		return "see the lines about backends here; " + explain
	}
	return explain
}
