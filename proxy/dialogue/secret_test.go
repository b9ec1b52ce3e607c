package dialogue

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// shows says in which spelling a text shows the password, if it does.
func spelledIn(text string) string {
	const password = "hunter2"
	for _, spelling := range []string{
		password, hex.EncodeToString([]byte(password)), "aHVudGVyMg", "GVudGVyM",
		strings.Trim(fmt.Sprintf("%d", []byte(password)), "[]"),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(spelling)) {
			return spelling
		}
	}
	return ""
}

func TestSecretIsNotPrinted(t *testing.T) {
	secret := Secret("\x00user\x00hunter2")
	request := Request{Account: "user", Response: secret}
	for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "% x", "%10.3s"} {
		for _, value := range []any{secret, &secret, request, &request, []Secret{secret}, map[string]Secret{"x": secret}} {
			if text := fmt.Sprintf(format, value); spelledIn(text) != "" {
				t.Errorf("%s of %T: %s", format, value, text)
			}
		}
	}
	if got := fmt.Sprintf("%v %v", secret, fmt.Errorf("x: %v", secret)); got != "[secret] x: [secret]" {
		t.Errorf("got %q", got)
	}
}

func TestSecretIsNotLogged(t *testing.T) {
	secret := Secret("hunter2")
	var out bytes.Buffer
	for name, h := range map[string]slog.Handler{"text": slog.NewTextHandler(&out, nil), "JSON": slog.NewJSONHandler(&out, nil)} {
		out.Reset()
		slog.New(h).Info("x", "secret", secret, slog.Group("g", "s", secret))
		if spelledIn(out.String()) != "" || strings.Count(out.String(), "[secret]") != 2 {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

func TestWipe(t *testing.T) {
	secret := Secret("hunter2")
	alias := secret[:3]
	secret.Wipe()
	if !bytes.Equal(secret, make([]byte, 7)) || !bytes.Equal(alias, make([]byte, 3)) {
		t.Errorf("%d octets are left", len(bytes.Trim(secret, "\x00")))
	}
}
