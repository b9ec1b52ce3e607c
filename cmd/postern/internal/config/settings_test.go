package config

import (
	"slices"
	"testing"
)

// TestSettingNames keeps settings from being added or renamed by accident: each
// is a promise to operators.
func TestSettingNames(t *testing.T) {
	want := []string{
		"IMAP_LISTEN", "IMAPS_LISTEN", "POP3_LISTEN", "POP3S_LISTEN", "SIEVE_LISTEN", "PROXY_FROM", "FORWARDED_FROM", "CLEARTEXT_LOGIN",
		"IMAP_BACKENDS", "POP3_BACKENDS", "SIEVE_BACKENDS", "BACKEND_PROXY", "BACKEND_TLS", "BACKEND_TLS_CA", "BACKEND_TLS_NAME", "BACKEND_LOGINS",
		"TLS_CERT", "TLS_KEY", "TLS_MIN", "TLS_TICKET_KEYS",
		"LIMIT_CONNECT", "LIMIT_OPEN", "LIMIT_OPEN_PRELOGIN", "LIMIT_SOURCE", "LIMIT_NETWORK", "LIMIT_PAIR", "LIMIT_ACCOUNT",
		"LIMIT_GLOBAL", "KNOWN_SHARE", "REPEAT_TTL", "KNOWN_TTL", "MODE", "EXEMPT", "TABLE_MAX",
		"TRIES", "MAX_CONNECTIONS", "TARPIT_MAX", "TARPIT_SOURCE", "TARPIT_NETWORK", "TARPIT_TOTAL",
		"STATE_DIR", "SHARE_URL", "SHARE_CA", "SHARE_CERT", "SHARE_KEY", "SHARE_PASSWORD_FILE", "KEY_FILE", "GATEWAY", "ALERTMANAGER_URL", "WEBHOOK_URL", "STATUS_DIR", "STATUS_URL", "STATUS_NAME", "STATUS_HOLD", "ASN_FILE", "NOTICE_URL", "NOTICE_SECRET_FILE", "NOTICE_KINDS", "COUNTRY_FILE",
		"ADMIN_LISTEN", "ADMIN_TOKEN_FILE", "ADMIN_READ_TOKEN_FILE", "METRICS_LISTEN", "POLICY_LISTEN", "POLICY_TOKEN_FILE", "LOG_FORMAT", "LOG_LEVEL",
		"LOGIN_TIMEOUT", "HANDSHAKE_TIMEOUT", "IDLE_TIMEOUT", "DRAIN", "UPGRADE_DRAIN", "ENV_FILE",
	}
	var got []string
	for _, s := range settings() {
		got = append(got, s.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSettingsAreComplete(t *testing.T) {
	seen := map[[2]any]string{}
	for _, s := range settings() {
		if s.Meaning == "" {
			t.Errorf("%s has no meaning", s.Name)
		}
		if s.Want() == "" {
			t.Errorf("%s is of a type without a kind: %v", s.Name, s.typ)
		}
		id := [2]any{s.field, s.typ}
		if other, dup := seen[id]; dup {
			t.Errorf("%s and %s cannot be distinguished in an error", s.Name, other)
		}
		seen[id] = s.Name
	}
}

func TestSettingShow(t *testing.T) {
	for name, tt := range map[string]struct {
		setting setting
		value   string
		want    string
	}{
		"open":         {setting{}, "10/10m", "10/10m"},
		"secret":       {setting{Secret: true}, "hunter2", "(hidden)"},
		"empty secret": {setting{Secret: true}, "", ""},
	} {
		if got := tt.setting.Show(tt.value); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"LIMIT_SORUCE":   "LIMIT_SOURCE",
		"IMAPLISTEN":     "IMAP_LISTEN",
		"TLS_CERTS":      "TLS_CERT",
		"METRIC_LISTEN":  "METRICS_LISTEN",
		"REDIS_PASSWORD": "",
		"":               "",
	} {
		if got := nearest(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 2},
		{"kitten", "sitting", 3}, {"flaw", "lawn", 2},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
