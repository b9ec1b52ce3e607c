package eventlog

// Event describes one kind of line, for the reference of the log.
type Event struct{ Name, Meaning string }

// Events lists every value of the field event.
func Events() []Event {
	return []Event{
		{"start", "postern listens: version, listeners, backends"},
		{"login", "a login attempt was accepted, denied, refused or cut short"},
		{"connection", "a connection ended"},
		{"backend", "a backend went down, and why, or came up"},
		{"certificates", "new certificates are in use, or cannot be read"},
		{"settings", "a setting is valid but may have an effect that surprises"},
		{"state", "a file of `POSTERN_STATE_DIR` could not be read and was renamed, or could not be written; the clock and the last snapshot of the known users disagree, or a former snapshot was kept"},
		{"reload", "which settings changed, which need an upgrade or a restart, or why none changed"},
		{"upgrade", "the next process was started and serves, or failed, and why; a former process has ended"},
		{"listener", "a listening socket was closed, because the settings no longer have its address"},
		{"left_out", "how many lines about one source, rule and action were left out in the last minute, after the first"},
		{"log_dropped", "how many lines were dropped in the last seconds and have no line `left_out`"},
		{"systemd", "the service manager could not be notified, or does not keep a descriptor"},
		{"incident", "an incident changed; a warning when people are alerted about it"},
		{"admin", "a request of an operator that changes something, their name and role, and why it was refused"},
		{"decision", "a decision of an operator was made or has ended, or connections were closed for it"},
		{"firewall", "sources were listed for firewalls or removed from the list within the last minute: how many, and how many are listed"},
		{"share", "this gateway counts together with others or alone; a command of the engine failed, or what was read from it cannot be used"},
		{"watch", "an alert or the status page could not be delivered, or can be again; what the detector learned could not be stored; limits for strangers were tightened"},
		{"notice", "login notices could not be delivered or stored, or a file for them could not be read, or that works again"},
		{"policy", "a request to `POLICY_LISTEN` was refused, a login there has no client address, or Dovecot asks and reports no outcomes"},
		{"stop", "postern shuts down, or has shut down"},
	}
}

// Field describes one field of the lines about clients, for the reference of
// the log. ECS is its name in the Elastic Common Schema, if that has one.
type Field struct{ Name, Lines, ECS, Meaning string }

// Fields lists every field of the lines login, connection and left_out, in an order
// for readers.
func Fields() []Field {
	const (
		all        = "all"
		login      = "login"
		connection = "connection"
		both       = "login, connection"
		left       = "left_out"
		three      = both + ", " + left
	)
	return []Field{
		{"ts", all, "@timestamp", "time of the line"},
		{"level", all, "log.level", "`DEBUG`, `INFO`, `WARN` (a backend failed) or `ERROR` (postern failed)"},
		{"msg", all, "message", "text for people"},
		{"event", all, "event.action", "kind of line"},
		{"listener", three, "observer.ingress.interface.name", "`imap`, `imaps`, `pop3`, `pop3s` or `sieve`; `policy` for a login that Dovecot asked about (left_out: empty unless it is that)"},
		{"rip", three, "source.ip", "the client's address (left_out: that of the first line), from the PROXY header, or as its forwarder named it, where that is accepted"},
		{"rport", both, "source.port", "the client's port"},
		{"forwarder_session", both, "", "how the forwarder names the session in its own log, escaped"},
		{"backend", both, "destination.address", "login: the backend that was asked; connection: the backend it was relayed to, empty without a login"},
		{"action", three, "", "`pass`, `tarpit`, `repeat`, `reject` or `shed`; of a connection, the strictest it met"},
		{"rule", three, "rule.name", "what decided: `none`, `blocked`, `connect`, `open`, `open_prelogin`, `repeat`, `source`, `network`, `pair`, `account`, `global`, `spray`, `prefix`, `tarpit`, `backend`, `max_connections`, `handshakes`"},
		{"result", both, "event.outcome", "login: `accepted`, `denied`, `repeat`, `refused`, `abandoned`, `void`; connection: why it ended, see below"},
		{"client", login + ", " + left, "", "`known` or `stranger`"},
		{"why", both, "", "if a rule made the client wait or refused it, or the connection was closed for another or after too many tries: what was full just after, and the settings that this depends on; also if a backend closed the connection after the PROXY header"},
		{"enforced", three, "", "whether the verdict was enforced, or only observed"},
		{"forwarder", three, "", "address of the webmail or proxy in `POSTERN_FORWARDED_FROM` that has named the client, empty if the client itself connected"},
		{"lines", left, "", "how many were left out"},
		{"from", left, "event.start", "time of the first of them"},
		{"to", left, "event.end", "time of the last of them"},
		{"dur_ms", both, "event.duration", "login: from the request to its answer; connection: from accept to close"},
		{"wait_ms", login, "", "part of `dur_ms` spent in the tarpit"},
		{"bytes_in", connection, "source.bytes", "relayed from the client after login"},
		{"bytes_out", connection, "destination.bytes", "relayed to the client after login"},
		{"session", both, "event.id", "the same in all lines of one connection"},
		{"lip", connection, "destination.ip", "address the client connected to"},
		{"lport", connection, "destination.port", "port the client connected to"},
		{"step", connection, "", "step in which it ended: `accept`, `proxy_header`, `connect`, `tls`, `dialogue`, `verdict`, `tarpit`, `dial`, `replay`, `relay`"},
		{"tls", connection, "tls.version", "version, empty in clear text"},
		{"cipher", connection, "tls.cipher", "cipher suite"},
		{"resumed", connection, "tls.resumed", "whether the client resumed a TLS session"},
		{"ja4", both, "", "JA4 fingerprint of the client's TLS, empty in clear text. It names the TLS library and its settings, not the program, and any client can imitate any other. It is that of a full handshake also if the client resumed a session"},
		{"attempts", connection, "", "login attempts that were settled"},
		{"method", login, "", "`LOGIN`, `USER` or a SASL mechanism"},
		{"error", both, "error.message", "what failed, empty if nothing did"},
		{"account", both, "user.name", "as the client sent it, escaped; of a connection, the one that was accepted"},
	}
}
