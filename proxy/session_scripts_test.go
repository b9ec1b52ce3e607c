package proxy

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"postern/proxy/dialogue"
	"postern/proxy/mailtest"
	"postern/proxy/standin"
)

// offers are the capabilities of the scripts' backends.
var offers = map[string]dialogue.Capabilities{
	"imap": {
		"IMAP4rev1", "SASL-IR", "LOGIN-REFERRALS", "LITERAL+", "ID", "ENABLE", "STARTTLS", "AUTH=PLAIN", "AUTH=LOGIN",
		"AUTH=CRAM-MD5", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS", "AUTH=XOAUTH2", "AUTH=OAUTHBEARER",
	},
	"pop3": {
		"TOP", "UIDL", "RESP-CODES", "PIPELINING", "STLS", "USER",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER",
	},
	"sieve": {
		"IMPLEMENTATION Dovecot Pigeonhole", "SIEVE fileinto vacation", "NOTIFY mailto", "STARTTLS", "VERSION 1.0", "XCLIENT", "UNAUTHENTICATE",
		"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2 OAUTHBEARER",
	},
}

// Every script of package dialogue is played through a Server over loopback.
func TestScripts(t *testing.T) {
	cert, err := standin.NewCertificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range readScripts(t, "dialogue/testdata/dlg/*.dlg") {
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			protocol := protocols[script.Listener.Protocol]
			backendListener := listen(t)
			upstream := mailtest.AcceptBackend(t, backendListener, standin.Options{ProxyHeader: true})
			backends := NewBackends(protocol, BackendConfig{Addrs: []string{backendListener.Addr().String()}, Logins: 1})
			offer := offers[protocol.Name()]
			backends.offered.Store(&offer)
			listener := Listener{Name: script.Listener.Protocol, Protocol: protocol, Config: cert.Server()}
			if script.Listener.TLS {
				listener.TLS = Implicit
			}
			s := newServer(t, backends)
			s.CleartextLogin = script.Listener.Cleartext
			addr := serve(t, s, listener)
			client, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			script.Play(t, mailtest.Endpoints{Client: client, Backends: upstream})
		})
	}
}

var protocols = map[string]dialogue.Protocol{"imap": dialogue.IMAP{}, "pop3": dialogue.POP3{}, "sieve": dialogue.Sieve{}}

// readScripts parses every script of the files that match pattern.
func readScripts(t *testing.T, pattern string) (all []mailtest.Script) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts %s: got %d files, %v", pattern, len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := mailtest.ParseScripts(filepath.Base(file), data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scripts...)
	}
	return all
}
