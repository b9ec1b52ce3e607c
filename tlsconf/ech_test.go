package tlsconf_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"testing"
)

// Encrypted Client Hello is rejected without a configuration for another attempt.
func TestRejectsEncryptedClientHello(t *testing.T) {
	pair := issue(t, "mail.example.org")
	server := load(t, testDir(t.TempDir()).config(t, pair)).Server("imap")
	client := trustingClient("secret.example.org", pair)
	client.MinVersion = tls.VersionTLS13
	client.EncryptedClientHelloConfigList = echConfigList(t, "mail.example.org")
	state, err, _ := handshake(t, server, client)
	var rejection *tls.ECHRejectionError
	if !errors.As(err, &rejection) || len(rejection.RetryConfigList) != 0 || state.ECHAccepted {
		t.Errorf("got %v, accepted %t, want ECHRejectionError", err, state.ECHAccepted)
	}
}

// echConfigList is the ECHConfigList of a DNS record (RFC 9849 section 4) with the
// outer name public: X25519, HKDF-SHA256, AES-128-GCM.
func echConfigList(t *testing.T, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	prefixed := func(data []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)
	}
	body := []byte{1, 0x00, 0x20} // config id, KEM
	body = append(body, prefixed(key.PublicKey().Bytes())...)
	body = append(body, prefixed([]byte{0x00, 0x01, 0x00, 0x01})...) // KDF, AEAD
	body = append(body, 0, byte(len(public)))
	body = append(body, public...)
	body = append(body, 0x00, 0x00) // extensions
	return prefixed(append([]byte{0xfe, 0x0d}, prefixed(body)...))
}
