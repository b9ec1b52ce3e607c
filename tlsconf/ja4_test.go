package tlsconf_test

import (
	"crypto/tls"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/tlsconf"
)

// chrome is the ClientHello of the example in the description of JA4 by FoxIO, with its
// GREASE values.
func chrome() *tls.ClientHelloInfo {
	schemes := []tls.SignatureScheme{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}
	return &tls.ClientHelloInfo{
		CipherSuites: []uint16{
			0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
		},
		Extensions: []uint16{
			0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xfafa,
		},
		SignatureSchemes:  schemes,
		SupportedProtos:   []string{"h2", "http/1.1"},
		SupportedVersions: []uint16{0x2a2a, tls.VersionTLS12, tls.VersionTLS13},
	}
}

func TestJA4(t *testing.T) {
	for _, tt := range []struct {
		about  string
		change func(*tls.ClientHelloInfo)
		want   string
	}{
		{"example of the description", func(*tls.ClientHelloInfo) {}, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"order does not matter", func(h *tls.ClientHelloInfo) {
			slices.Reverse(h.CipherSuites)
			slices.Reverse(h.Extensions)
			slices.Reverse(h.SupportedVersions)
		}, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"order of signature algorithms matters", func(h *tls.ClientHelloInfo) { slices.Reverse(h.SignatureSchemes) }, "t13d1516h2_8daaf6152771_130f056d635f"},
		{"resumption does not matter", func(h *tls.ClientHelloInfo) { h.Extensions = append(h.Extensions, 41, 42) }, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"without a server name", func(h *tls.ClientHelloInfo) { h.Extensions = slices.Delete(h.Extensions, 2, 3) }, "t13i1515h2_8daaf6152771_e5627efa2ab1"},
		{"without ALPN", func(h *tls.ClientHelloInfo) {
			h.Extensions, h.SupportedProtos = slices.Delete(h.Extensions, 4, 5), nil
		}, "t13d151500_8daaf6152771_e5627efa2ab1"},
		{"without signature algorithms", func(h *tls.ClientHelloInfo) { h.SignatureSchemes = nil }, "t13d1516h2_8daaf6152771_6d807ffa2a79"},
		{"nothing", func(h *tls.ClientHelloInfo) { *h = tls.ClientHelloInfo{} }, "t00i000000_000000000000_000000000000"},
		{"TLS 1.2", func(h *tls.ClientHelloInfo) { h.SupportedVersions = []uint16{tls.VersionTLS12} }, "t12d1516h2_8daaf6152771_e5627efa2ab1"},
		{"TLS 1.0", func(h *tls.ClientHelloInfo) { h.SupportedVersions = []uint16{tls.VersionTLS10} }, "t10d1516h2_8daaf6152771_e5627efa2ab1"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			hello := chrome()
			tt.change(hello)
			if got := tlsconf.JA4(hello); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// The protocol is the only text of the client that a fingerprint contains.
func TestJA4ALPN(t *testing.T) {
	for protocol, want := range map[string]string{
		"": "00", "imap": "ip", "pop3": "p3", "h": "hh", "\xab": "ab", "\xab\xcd": "ad", "0\xab": "3b", "01\xab\xcd": "3d", "0\xab\xcd1": "01",
		"i\n": "6a", "\x1b[31m": "1d", `"p`: "20",
	} {
		hello := chrome()
		hello.SupportedProtos = []string{protocol}
		if got := tlsconf.JA4(hello); got != "t13d1516"+want+"_8daaf6152771_e5627efa2ab1" {
			t.Errorf("protocol %q: got %s, want %s as its characters", protocol, got, want)
		}
	}
}

// A ClientHello of 64 KB has no more effect on cost and length than one of 1 KB.
func TestJA4IsBounded(t *testing.T) {
	hello := chrome()
	for v := range uint16(30_000) {
		hello.CipherSuites, hello.Extensions = append(hello.CipherSuites, v), append(hello.Extensions, v)
		hello.SignatureSchemes = append(hello.SignatureSchemes, tls.SignatureScheme(v))
	}
	hello.SupportedProtos = []string{strings.Repeat("x", 60_000)}
	got := tlsconf.JA4(hello)
	if !regexp.MustCompile(`^t13d9999xx_[0-9a-f]{12}_[0-9a-f]{12}$`).MatchString(got) {
		t.Errorf("got %s, want counts of 99", got)
	}
	if n := testing.AllocsPerRun(10, func() { tlsconf.JA4(hello) }); n > 1 {
		t.Errorf("got %v allocations, want 1 at most", n)
	}
}

// hellos returns the JA4 of two connections of a client, of which the second resumes the
// session of the first.
func hellos(t *testing.T, client *tls.Config) (ja4 []string) {
	t.Helper()
	server := load(t, testDir(t.TempDir()).config(t, issue(t, "mail.example.org"))).Server("imap").Clone()
	server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		ja4 = append(ja4, tlsconf.JA4(hello))
		return nil, nil
	}
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		near, far := net.Pipe()
		done := make(chan bool, 1)
		go func() {
			defer far.Close()
			conn := tls.Server(far, server)
			_, err := conn.Write([]byte("x"))
			done <- err == nil && conn.ConnectionState().DidResume
		}()
		conn := tls.Client(near, client)
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if resumed := <-done; resumed != (i == 1) {
			t.Fatalf("connection %d: got resumed %v", i, resumed)
		}
		near.Close()
	}
	return ja4
}

func TestJA4IsTheSameForResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := insecureClient("mail.example.org")
		client.MaxVersion = version
		if got := hellos(t, client); len(got) != 2 || got[0] != got[1] || got[0] == "" {
			t.Errorf("%s: got %q, want the same twice", tls.VersionName(version), got)
		}
	}
}

func BenchmarkJA4(b *testing.B) {
	hello := chrome()
	b.ReportAllocs()
	for b.Loop() {
		tlsconf.JA4(hello)
	}
}

// FuzzJA4 checks that fingerprints have their form whatever the client offers.
func FuzzJA4(f *testing.F) {
	form := regexp.MustCompile(`^t(1[0-3]|00)[di][0-9]{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)
	f.Add([]byte{0x0a, 0x0a, 0x13, 0x01}, "imap")
	f.Fuzz(func(t *testing.T, data []byte, protocol string) {
		hello := &tls.ClientHelloInfo{SupportedProtos: []string{protocol}}
		for pair := range slices.Chunk(data, 2) {
			v := uint16(pair[0])<<8 | uint16(pair[len(pair)-1])
			hello.CipherSuites, hello.Extensions = append(hello.CipherSuites, v), append(hello.Extensions, v)
			hello.SignatureSchemes = append(hello.SignatureSchemes, tls.SignatureScheme(v))
			hello.SupportedVersions = append(hello.SupportedVersions, v)
		}
		if got := tlsconf.JA4(hello); !form.MatchString(got) {
			t.Errorf("got %q, want the form of JA4", got)
		}
	})
}
