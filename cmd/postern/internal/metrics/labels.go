package metrics

import (
	"postern/limiter"
	"postern/proxy"
)

// The values of labels. Those of action, result and client are what the
// functions of package eventlog return.
var (
	listeners   = []string{"imap", "imaps", "pop3", "pop3s"}
	actions     = []string{"pass", "tarpit", "repeat", "reject", "shed"}
	results     = []string{"accepted", "denied", "repeat", "refused", "void"}
	clients     = []string{"known", "stranger"}
	userResults = []string{"good", "slow", "limited", "fault", "denied"}

	// hindrances are the actions that a known user notices. A repeat is not one
	// of them: its password was wrong.
	hindrances = []string{"tarpit", "reject", "shed"}

	// Of handshakes; a failed one has the version "none".
	tlsVersions      = []string{"TLS 1.2", "TLS 1.3"}
	handshakeResults = []string{"full", "resumed"}
)

// rules are the values of the label rule.
func rules() (names []string) {
	for _, r := range limiter.Rules() {
		names = append(names, string(r))
	}
	return names
}

// ends are the values of the label end.
func ends() (names []string) {
	for _, e := range proxy.Ends() {
		names = append(names, e.String())
	}
	return names
}
