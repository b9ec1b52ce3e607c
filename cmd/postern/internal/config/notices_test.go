package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"postern/cmd/postern/internal/notify"
	"postern/cmd/postern/internal/testbed"
)

// TestNoticeSettings that have no effect, or lack a file, are refused.
func TestNoticeSettings(t *testing.T) {
	const url = "POSTERN_NOTICE_URL=https://help.example/x"
	for _, tt := range []struct {
		settings []string
		want     string // in the error; empty if there is none
	}{
		{[]string{url}, ""},
		{[]string{url, "POSTERN_NOTICE_KINDS=old_password, attacking_network"}, ""},
		{[]string{url, "POSTERN_NOTICE_KINDS=old"}, `POSTERN_NOTICE_KINDS: got "old", want some of attacking_network, new_country, new_operator, old_password, separated by commas`},
		{[]string{url, "POSTERN_NOTICE_KINDS=new_country"}, "POSTERN_COUNTRY_FILE: got nothing"},
		{[]string{url, "POSTERN_NOTICE_KINDS=new_operator"}, "POSTERN_ASN_FILE: got nothing"},
		{[]string{"POSTERN_NOTICE_KINDS=old_password"}, "POSTERN_NOTICE_KINDS: got kinds without POSTERN_NOTICE_URL"},
		{[]string{"POSTERN_NOTICE_SECRET_FILE=/x"}, "POSTERN_NOTICE_SECRET_FILE: got a file without POSTERN_NOTICE_URL"},
		{[]string{"POSTERN_COUNTRY_FILE=/x"}, "POSTERN_COUNTRY_FILE: got a file without POSTERN_NOTICE_URL"},
	} {
		_, err := load(testbed.Environ(tt.settings...), testFDs)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q", tt.settings, err, tt.want)
		}
	}
}

// TestNoticeKinds: without NOTICE_KINDS, all are sent.
func TestNoticeKinds(t *testing.T) {
	if got := (Notices{}).NoticeKinds(); !slices.Equal(got, notify.NoticeKinds()) {
		t.Errorf("got %q", got)
	}
	if got := (Notices{Kinds: noticeKinds{"old_password", "new_country"}}).NoticeKinds(); !slices.Equal(got, []notify.NoticeKind{notify.NewCountry, notify.OldPassword}) {
		t.Errorf("got %q", got)
	}
}

// TestNoticeSecret is text or base64, long enough, and only for its owner and group. No error has it.
func TestNoticeSecret(t *testing.T) {
	const octets = "0123456789abcdef01234567"
	for text, want := range map[string]string{
		octets + "\n": octets, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3": octets,
		"too-short": "", "whsec_!!!!" + octets: "", strings.Repeat(octets, 3): "",
	} {
		got, err := Notices{SecretFile: file(testbed.WriteFile(t, text))}.Secret()
		if string(got) != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	path := testbed.WriteFile(t, octets)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Notices{SecretFile: file(path)}).Secret(); err == nil || !strings.Contains(err.Error(), "chmod o= "+path) {
		t.Errorf("a file that all can read: got %v", err)
	}
}
