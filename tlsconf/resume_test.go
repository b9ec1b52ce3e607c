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

// resumingClient is trustingClient with a session cache of its own.
func resumingClient(name string, pairs ...identity) *tls.Config {
	c := trustingClient(name, pairs...)
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return c
}

// resumes makes a connection and reports whether it resumed a session.
func resumes(t testing.TB, server, client *tls.Config) bool {
	t.Helper()
	state, clientErr, serverErr := handshake(t, server, client)
	if clientErr != nil || serverErr != nil {
		t.Fatalf("handshake: client: %v; server: %v", clientErr, serverErr)
	}
	return state.DidResume
}

// eachVersion runs test with TLS 1.2 and 1.3, whose tickets differ.
func eachVersion(t *testing.T, test func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

// Without a key file, sessions resume at every listener of the protocol, also after
// certificates are renewed.
func TestResumeWithoutKeyFile(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		dir := testDir(t.TempDir())
		pair, renewed := issue(t, "mail.example.org"), issue(t, "mail.example.org")
		s := load(t, dir.config(t, pair))
		client := resumingClient("mail.example.org", pair, renewed)
		client.MaxVersion = version
		if resumes(t, s.Server("imap"), client) {
			t.Fatal("the first connection was resumed")
		}
		if !resumes(t, s.Server("imap"), client) {
			t.Error("not resumed at another listener")
		}
		dir.config(t, renewed)
		reload(t, s, true)
		if !resumes(t, s.Server("imap"), client) {
			t.Error("not resumed after renewal")
		}
		if resumes(t, load(t, dir.config(t, pair)).Server("imap"), client) {
			t.Error("resumed by a gateway with other keys")
		}
	})
}

// Two gateways with the same key file resume each other's sessions, before and after a
// rotation.
func TestResumeWithSharedKeyFile(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		pair := issue(t, "mail.example.org")
		shared := testDir(t.TempDir())
		c := shared.config(t, pair)
		c.TicketKeyFile = shared.write(t, "tickets", ticketKey(1))
		one, two := load(t, c), load(t, c)
		client := resumingClient("mail.example.org", pair)
		client.MaxVersion = version
		here, other := one.Server("imap"), two.Server("imap")
		mustHandshake(t, here, client)
		if !resumes(t, other, client) {
			t.Error("not resumed by the other gateway")
		}

		shared.write(t, "tickets", append(ticketKey(2), ticketKey(1)...))
		reload(t, one, true)
		if !resumes(t, here, client) {
			t.Error("a ticket of the second key was not resumed")
		}
		if resumes(t, other, client) { // the ticket was renewed with the first key
			t.Error("resumed without the key")
		}
		reload(t, two, true)
		mustHandshake(t, here, client)
		if !resumes(t, other, client) {
			t.Error("not resumed although both gateways have the new key")
		}
	})
}

// A config made after a rotation has the new keys.
func TestServerAfterRotationHasNewKeys(t *testing.T) {
	dir := testDir(t.TempDir())
	pair := issue(t, "mail.example.org")
	c := dir.config(t, pair)
	c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
	s := load(t, c)
	dir.write(t, "tickets", ticketKey(2))
	reload(t, s, true)
	client := resumingClient("mail.example.org", pair)
	mustHandshake(t, s.Server("imap"), client)
	if !resumes(t, load(t, c).Server("imap"), client) {
		t.Error("the config has the old keys")
	}
}

// Sessions of a key that is deleted from the file do not resume.
func TestDeletedKeyPreventsResumption(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		dir := testDir(t.TempDir())
		pair := issue(t, "mail.example.org")
		c := dir.config(t, pair)
		c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
		s := load(t, c)
		client := resumingClient("mail.example.org", pair)
		client.MaxVersion = version
		mustHandshake(t, s.Server("imap"), client)
		dir.write(t, "tickets", ticketKey(2))
		reload(t, s, true)
		if resumes(t, s.Server("imap"), client) {
			t.Error("resumed with a deleted key")
		}
	})
}

// Resumption does not bypass ALPN or the minimum version.
func TestResumptionEnforcesPolicy(t *testing.T) {
	dir := testDir(t.TempDir())
	pair := issue(t, "mail.example.org")
	c := dir.config(t, pair)
	c.TicketKeyFile = dir.write(t, "tickets", ticketKey(1))
	s := load(t, c)

	client := resumingClient("mail.example.org", pair)
	client.NextProtos = []string{"pop3"}
	mustHandshake(t, s.Server("pop3"), client)
	if _, clientErr, serverErr := handshake(t, s.Server("imap"), client); clientErr == nil || serverErr == nil {
		t.Error("resumed a session of another protocol")
	}

	client = resumingClient("mail.example.org", pair)
	client.MaxVersion = tls.VersionTLS12
	mustHandshake(t, s.Server("imap"), client)
	c.MinVersion = tls.VersionTLS13
	if _, clientErr, serverErr := handshake(t, load(t, c).Server("imap"), client); clientErr == nil || serverErr == nil {
		t.Error("resumed a TLS 1.2 session although the minimum is TLS 1.3")
	}
}

// Keys that the caller sets apply to all configs, those made before and after.
func TestSetTicketKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		dir := testDir(t.TempDir())
		pair := issue(t, "mail.example.org")
		c := dir.config(t, pair)
		one, two := load(t, c), load(t, c)
		client := resumingClient("mail.example.org", pair)
		client.MaxVersion = version
		here := one.Server("imap")
		one.SetTicketKeys([][32]byte{{1}})
		two.SetTicketKeys([][32]byte{{2}, {1}})
		mustHandshake(t, here, client)
		if !resumes(t, two.Server("imap"), client) {
			t.Error("not resumed by the other gateway")
		}
		one.SetTicketKeys([][32]byte{{2}})
		if !resumes(t, here, client) {
			t.Error("a ticket of the second key was not resumed")
		}
		one.SetTicketKeys([][32]byte{{3}})
		if resumes(t, here, client) {
			t.Error("resumed with a deleted key")
		}
	})
}
