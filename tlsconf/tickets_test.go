package tlsconf

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestParseTicketKeys(t *testing.T) {
	key := func(n byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32)) }
	secret := key(7)
	for _, tt := range []struct {
		about, data string
		want        []byte // first octet of each key
		err         string
	}{
		{about: "one", data: key(1) + "\n", want: []byte{1}},
		{about: "order", data: key(2) + "\n" + key(1) + "\n", want: []byte{2, 1}},
		{about: "no line end", data: key(1), want: []byte{1}},
		{about: "comments and empty lines", data: "# new\n\n \t\n  " + key(1) + "  \n#" + key(2) + "\n", want: []byte{1}},
		{about: "CR LF", data: key(1) + "\r\n" + key(2) + "\r\n", want: []byte{1, 2}},
		{about: "empty", err: "got no key"},
		{about: "only comments", data: "# later\n", err: "got no key"},
		{about: "too short", data: "# x\n" + secret[:40] + "\n", err: "line 2: got 40 characters, want 44: 32 octets"},
		{about: "too long", data: secret + secret, err: "line 1: got 88 characters, want 44: 32 octets"},
		{about: "33 octets without padding", data: secret[:43] + "A", err: "line 1: got another format, want 32 octets"},
		{about: "comment after a key", data: key(1) + "\n" + secret + " # old", err: "line 2: got 50 characters, want 44: 32 octets"},
		{about: "URL alphabet", data: strings.Repeat("_", 43) + "=", err: "line 1: got another format, want 32 octets"},
		{about: "nonzero trailing bits", data: secret[:42] + "d=", err: "line 1: got another format, want 32 octets"},
		{about: "CR inside", data: secret[:20] + "\r" + secret[20:43], err: "line 1: got another format, want 32 octets"},
		{about: "binary", data: string(bytes.Repeat([]byte{0xff}, 44)), err: "line 1: got another format, want 32 octets"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			keys, err := ParseTicketKeys([]byte(tt.data))
			var got []byte
			for _, k := range keys {
				got = append(got, k[0])
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("got keys %v, want %v", got, tt.want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), secret[:20]) {
				t.Errorf("error %q contains a key", err)
			}
		})
	}
}

// FuzzTicketKeys checks that every input is an error or has one key for each line that
// is not empty and not a comment.
func FuzzTicketKeys(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseTicketKeys(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("got %d keys and error %v", len(keys), err)
		}
		if err != nil {
			return
		}
		var want []string
		for line := range strings.SplitSeq(string(data), "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				want = append(want, line)
			}
		}
		for i, key := range keys {
			if got := base64.StdEncoding.EncodeToString(key[:]); i >= len(want) || got != want[i] {
				t.Fatalf("key %d: got %s, which is not that line", i, got)
			}
		}
		if len(keys) != len(want) {
			t.Fatalf("got %d keys of %d lines", len(keys), len(want))
		}
	})
}
