package config

import (
	"strings"
	"testing"

	"postern/cmd/postern/internal/testbed"
)

func TestPolicyListen(t *testing.T) {
	for name, tc := range map[string]struct {
		settings []string
		want     string // in the error; empty for none
		warns    bool
	}{
		"off":                 {nil, "", false},
		"loopback":            {[]string{"POSTERN_POLICY_LISTEN=127.0.0.1:9144"}, "", false},
		"socket":              {[]string{"POSTERN_POLICY_LISTEN=unix:/run/postern/policy"}, "", false},
		"network, no token":   {[]string{"POSTERN_POLICY_LISTEN=192.0.2.10:9144"}, "POSTERN_POLICY_TOKEN_FILE", false},
		"all, no token":       {[]string{"POSTERN_POLICY_LISTEN=:9144"}, "POSTERN_POLICY_TOKEN_FILE", false},
		"network":             {[]string{"POSTERN_POLICY_LISTEN=192.0.2.10:9144", "POSTERN_POLICY_TOKEN_FILE=/x"}, "", true},
		"token alone":         {[]string{"POSTERN_POLICY_TOKEN_FILE=/x"}, "POSTERN_POLICY_TOKEN_FILE", false},
		"address of admin":    {[]string{"POSTERN_POLICY_LISTEN=127.0.0.1:9143"}, "POSTERN_POLICY_LISTEN", false},
		"address of metrics":  {[]string{"POSTERN_POLICY_LISTEN=127.0.0.1:9", "POSTERN_METRICS_LISTEN=127.0.0.1:9"}, "POSTERN_POLICY_LISTEN", false},
		"not an HTTP address": {[]string{"POSTERN_POLICY_LISTEN=9144"}, "POSTERN_POLICY_LISTEN", false},
	} {
		c, err := Load(testbed.Environ(tc.settings...))
		if got := err == nil; got != (tc.want == "") || err != nil && !strings.HasPrefix(err.Error(), tc.want+": got ") {
			t.Errorf("%s: got %v, want an error about %q", name, err, tc.want)
		}
		if got := err == nil && strings.Contains(strings.Join(c.Warnings(), "\n"), "POSTERN_POLICY_LISTEN"); got != tc.warns {
			t.Errorf("%s: warns is %v, want %v", name, got, tc.warns)
		}
	}
}
