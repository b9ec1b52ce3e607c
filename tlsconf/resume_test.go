package tlsconf_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"testing"
)

// ticketKey returns a line for a ticket key file, different for each n.
func ticketKey(n byte) []byte {
	return []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32)) + "\n")
}

// resuming returns a client that keeps tickets, of its own for each call.
func resuming(name string, pairs ...identity) *tls.Config {
	c := trust(name, pairs...)
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return c
}

// resumes makes a connection and reports whether it resumed an earlier one.
func resumes(t testing.TB, server, client *tls.Config) bool {
	t.Helper()
	state, clientErr, serverErr := handshake(t, server, client)
	if clientErr != nil || serverErr != nil {
		t.Fatalf("handshake: client: %v; server: %v", clientErr, serverErr)
	}
	return state.DidResume
}

// eachVersion runs test for TLS 1.2 and 1.3, whose tickets differ.
func eachVersion(t *testing.T, test func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

// Without a key file sessions resume at every door of the protocol, and go on
// doing so when certificates are renewed.
func TestResumeWithOwnKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		dir := folder(t.TempDir())
		pair, renewed := issue(t, "mail.example.org"), issue(t, "mail.example.org")
		s := load(t, dir.config(t, pair))
		client := resuming("mail.example.org", pair, renewed)
		client.MaxVersion = version
		if resumes(t, s.Server("imap"), client) {
			t.Fatal("the first connection was resumed")
		}
		if !resumes(t, s.Server("imap"), client) {
			t.Error("not resumed at the other door")
		}
		dir.config(t, renewed)
		reload(t, s, true)
		if !resumes(t, s.Server("imap"), client) {
			t.Error("not resumed after a renewal")
		}
		if resumes(t, load(t, dir.config(t, pair)).Server("imap"), client) {
			t.Error("resumed by a gateway with other keys")
		}
	})
}

// Two gateways that share a key file resume each other's sessions, before and
// after the file is changed.
func TestResumeWithSharedKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		pair := issue(t, "mail.example.org")
		shared := folder(t.TempDir())
		c := shared.config(t, pair)
		c.TicketKeyFile = shared.write(t, "tickets", ticketKey(1))
		one, two := load(t, c), load(t, c)
		client := resuming("mail.example.org", pair)
		client.MaxVersion = version
		here, there := one.Server("imap"), two.Server("imap")
		served(t, here, client)
		if !resumes(t, there, client) {
			t.Error("not resumed by the other gateway")
		}

		shared.write(t, "tickets", append(ticketKey(2), ticketKey(1)...))
		reload(t, one, true)
		if !resumes(t, here, client) {
			t.Error("a ticket under the second key was not resumed")
		}
		if resumes(t, there, client) { // it was renewed under the first key
			t.Error("resumed without the key")
		}
		reload(t, two, true)
		served(t, here, client)
		if !resumes(t, there, client) {
			t.Error("not resumed after both gateways had the new key")
		}
	})
}

// A door that is opened after a rotation has the new keys.
func TestNewDoorHasNewKeys(t *testing.T) {
	dir := folder(t.TempDir())
	pair := issue(t, "mail.example.org")
	c := dir.config(t, pair)
	c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
	s := load(t, c)
	dir.write(t, "tickets", ticketKey(2))
	reload(t, s, true)
	client := resuming("mail.example.org", pair)
	served(t, s.Server("imap"), client)
	if !resumes(t, load(t, c).Server("imap"), client) {
		t.Error("the door has the old keys")
	}
}

// A key that is dropped from the file ends the sessions that began under it.
func TestDroppedKeyEndsSessions(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		dir := folder(t.TempDir())
		pair := issue(t, "mail.example.org")
		c := dir.config(t, pair)
		c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
		s := load(t, c)
		client := resuming("mail.example.org", pair)
		client.MaxVersion = version
		served(t, s.Server("imap"), client)
		dir.write(t, "tickets", ticketKey(2))
		reload(t, s, true)
		if resumes(t, s.Server("imap"), client) {
			t.Error("resumed under a key that was dropped")
		}
	})
}

// A session must not carry a client past what its door demands today: neither
// past ALPN nor below the minimum version.
func TestResumptionBypassesNothing(t *testing.T) {
	dir := folder(t.TempDir())
	pair := issue(t, "mail.example.org")
	c := dir.config(t, pair)
	c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
	s := load(t, c)

	client := resuming("mail.example.org", pair)
	client.NextProtos = []string{"pop3"}
	served(t, s.Server("pop3"), client)
	if _, clientErr, serverErr := handshake(t, s.Server("imap"), client); clientErr == nil || serverErr == nil {
		t.Error("a session of one protocol was resumed in another")
	}

	client = resuming("mail.example.org", pair)
	client.MaxVersion = tls.VersionTLS12
	served(t, s.Server("imap"), client)
	c.MinVersion = tls.VersionTLS13
	if _, clientErr, serverErr := handshake(t, load(t, c).Server("imap"), client); clientErr == nil || serverErr == nil {
		t.Error("a TLS 1.2 session was resumed where TLS 1.3 is demanded")
	}
}
