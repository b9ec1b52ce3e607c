package dialogue

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// spelledIn returns the spelling in which a text shows the password, empty if it
// does not.
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
		t.Errorf("%d octets are not wiped", len(bytes.Trim(secret, "\x00")))
	}
}

// TestSecretInsideOthers: a Secret is hidden from every verb, and inside other values.
func TestSecretInsideOthers(t *testing.T) {
	secret := Secret("hunter2")
	for format, octet := range map[string]string{"%d": "104 117", "%b": "1101000", "%o": "150", "%c": "h u n", "%U": "U+0068"} {
		for _, v := range []any{secret, Request{Response: secret}} {
			if s := fmt.Sprintf(format, v); bytes.Contains([]byte(s), []byte(octet)) {
				t.Errorf("%s: %s", format, s)
			}
		}
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "r", Request{Response: secret}, "s", []Secret{secret})
	j, _ := json.Marshal(Request{Response: secret})
	if spelledIn(out.String()) != "" || spelledIn(string(j)) != "" {
		t.Errorf("%s %s", out.String(), j)
	}
}
