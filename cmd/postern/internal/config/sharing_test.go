package config

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/testbed"
	"postern/limiter"
)

func TestShare(t *testing.T) {
	c, err := load(testbed.Environ("POSTERN_SHARE_URL=valkeys://gw@engine.example", "POSTERN_SHARE_CA=/ca", "POSTERN_SHARE_CERT=/crt", "POSTERN_SHARE_KEY=/key",
		"POSTERN_SHARE_PASSWORD_FILE=/password", "POSTERN_KEY_FILE=/k", "POSTERN_GATEWAY=gw-1.example_A"), testFDs)
	if err != nil {
		t.Fatal(err)
	}
	want := engine.Config{URL: "valkeys://gw@engine.example", CA: "/ca", Cert: "/crt", Key: "/key", PasswordFile: "/password", Name: "gw-1.example_A"}
	if got := c.Share.Engine(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Errorf("got the warnings %q", w)
	}
}

func TestShareErrors(t *testing.T) {
	const url, plain, key = "SHARE_URL=valkeys://h", "SHARE_URL=valkey://localhost", "KEY_FILE=/k"
	for _, tt := range []struct {
		settings []string
		want     string
	}{
		{[]string{url}, "KEY_FILE: got nothing, want the file with the key"},
		{[]string{"SHARE_URL=http://h", key}, "SHARE_URL: got an unknown scheme, want valkeys"},
		{[]string{"SHARE_URL=valkey://gw:hunter2@h", key}, "SHARE_URL: got a URL with a password, want the password in a file"},
		{[]string{"SHARE_CA=/f"}, "SHARE_CA: got a file without POSTERN_SHARE_URL"},
		{[]string{"SHARE_CERT=/f"}, "SHARE_CERT: got a file without POSTERN_SHARE_URL"},
		{[]string{"SHARE_KEY=/f"}, "SHARE_KEY: got a file without POSTERN_SHARE_URL"},
		{[]string{"SHARE_PASSWORD_FILE=/f"}, "SHARE_PASSWORD_FILE: got a file without POSTERN_SHARE_URL"},
		{[]string{plain, key, "SHARE_CA=/f"}, "SHARE_CA: got a file while POSTERN_SHARE_URL has no TLS"},
		{[]string{plain, key, "SHARE_CERT=/f", "SHARE_KEY=/f"}, "SHARE_CERT: got a file while POSTERN_SHARE_URL has no TLS"},
		{[]string{url, key, "SHARE_CERT=/f"}, "SHARE_KEY: got nothing, want the private key"},
		{[]string{url, key, "SHARE_KEY=/f"}, "SHARE_CERT: got nothing, want the certificate"},
		{[]string{"GATEWAY=a b"}, `GATEWAY: got "a b", want up to 64 letters`},
		{[]string{"GATEWAY=" + strings.Repeat("a", 65)}, "GATEWAY: got"},
		{[]string{"GATEWAY=gw-ü"}, "GATEWAY: got"},
	} {
		environ := testbed.Environ()
		for _, s := range tt.settings {
			environ = append(environ, Prefix+s)
		}
		c, err := load(environ, testFDs)
		if err == nil || !strings.HasPrefix(err.Error(), Prefix+tt.want) {
			t.Errorf("%q: got %v, want %s", tt.settings, err, tt.want)
			continue
		}
		var out bytes.Buffer
		if err := c.Describe(&out, nil); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+err.Error(), "hunter2") {
			t.Errorf("the password is shown: %v\n%s", err, out.String())
		}
	}
}

// TestShareWithoutTLS is a warning where others can listen.
func TestShareWithoutTLS(t *testing.T) {
	for url, warned := range map[string]bool{"valkey://10.0.0.1": true, "redis://localhost": false, "unix:///s": false, "valkeys://10.0.0.1": false} {
		c, err := load(testbed.Environ("POSTERN_KEY_FILE=/k", "POSTERN_SHARE_URL="+url), testFDs)
		if w := c.Warnings(); err != nil || (len(w) > 0) != warned || warned && !strings.HasPrefix(w[0], "POSTERN_SHARE_URL: without TLS") {
			t.Errorf("%s: got %q, %v", url, w, err)
		}
	}
}

func TestDefaultGateway(t *testing.T) {
	for host, want := range map[string]string{
		"gw-1.example.org": "gw-1.example.org", "": "gateway", "büro 1": "b-ro-1", strings.Repeat("a", 99): strings.Repeat("a", 64),
	} {
		if got := defaultGateway(host); string(got) != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(testbed.Environ(), testFDs)
	if err != nil || c.Share.Gateway != defaultGateway(host) || c.value("GATEWAY") != string(defaultGateway(host)) {
		t.Errorf("got %q, %v, want the host name %q", c.Share.Gateway, err, host)
	}
}

// TestKeyFileForms are 32 octets and 64 hex digits, with or without a line end.
func TestKeyFileForms(t *testing.T) {
	want := limiter.Key{0: 0x20, 9: 7, 31: '\n'} // begins and ends with white space
	for _, text := range []string{string(want[:]), hex.EncodeToString(want[:]), strings.ToUpper(hex.EncodeToString(want[:])) + "\r\n"} {
		if got, err := ReadKeyFile(testbed.WriteFile(t, text)); err != nil || got != want {
			t.Errorf("%q: got %x, %v, want %x", text, got, err, want)
		}
	}
}

func TestKeyFileErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, tt := range map[string]struct{ path, want string }{
		"missing":   {missing, "no such file"},
		"directory": {t.TempDir(), "POSTERN_KEY_FILE: "},
		"empty":     {testbed.WriteFile(t, ""), "neither 32 octets nor 64 hex digits"},
		"short":     {testbed.WriteFile(t, strings.Repeat("ab", 31)), "neither 32 octets nor 64 hex digits"},
		"long":      {testbed.WriteFile(t, strings.Repeat("ab", 33)), "neither 32 octets nor 64 hex digits"},
		"no hex":    {testbed.WriteFile(t, strings.Repeat("xy", 32)), "neither 32 octets nor 64 hex digits"},
		"huge":      {testbed.WriteFile(t, strings.Repeat("ab", 1<<20)), "neither 32 octets nor 64 hex digits"},
	} {
		_, err := ReadKeyFile(tt.path)
		if err == nil || !strings.HasPrefix(err.Error(), "POSTERN_KEY_FILE: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "abab") || strings.Contains(err.Error(), "xyxy")) {
			t.Errorf("%s: the error has the key: %v", name, err)
		}
	}
	for mode, good := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o644: false, 0o604: false, 0o602: false, 0o601: false} {
		path := testbed.WriteFile(t, strings.Repeat("k", 32))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(path); (err == nil) != good || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("mode %04o", mode)) {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
}
