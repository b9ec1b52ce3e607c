package main

import (
	"time"

	"postern/limiter"
	"postern/proxy"
)

// prefix begins the name of every environment variable that is a setting.
const prefix = "POSTERN_"

// observe is the mode in which nobody is refused or made to wait.
const observe = "observe"

// Config is what the environment says, read and checked. Its tags are the only
// description of the settings: the parser, the errors, `postern config` and
// README's table are all made from them.
//
//	env         name without the prefix
//	envDefault  value when the variable is unset
//	default     how the default is described when it is not a fixed value
//	blank       what a variable set to nothing means; without it, nothing means the default
//	meaning     one sentence for the table
//	live        the new value is in force after SIGHUP, without a restart
//	secret      the value is never shown
type Config struct {
	Doors    DoorSettings
	Backend  BackendSettings
	TLS      TLSSettings
	Limits   LimitSettings
	Tarpit   TarpitSettings
	State    StateSettings
	Watch    WatchSettings
	Admin    AdminSettings
	Log      LogSettings
	Timeouts TimeoutSettings
	EnvFile  file `env:"ENV_FILE" meaning:"dotenv file with further settings, read at start and at SIGHUP; a variable in the real environment wins over it"`

	// values holds the text of every setting as given or by default, under its
	// name without the prefix.
	values map[string]string
	// overridden names the settings of the dotenv file that the real
	// environment wins over.
	overridden []string
	// descriptors is how many all connections may have, those to backends included.
	descriptors int
}

// DoorSettings says where clients come in and on what terms.
type DoorSettings struct {
	IMAP           listenAddrs `env:"IMAP_LISTEN" envDefault:":143" blank:"off" meaning:"where IMAP with STARTTLS is served"`
	IMAPS          listenAddrs `env:"IMAPS_LISTEN" envDefault:":993" blank:"off" meaning:"where IMAP inside TLS is served"`
	POP3           listenAddrs `env:"POP3_LISTEN" envDefault:":110" blank:"off" meaning:"where POP3 with STLS is served"`
	POP3S          listenAddrs `env:"POP3S_LISTEN" envDefault:":995" blank:"off" meaning:"where POP3 inside TLS is served"`
	ProxyFrom      networks    `env:"PROXY_FROM" meaning:"networks whose connections must begin with a PROXY header; everyone else must not send one"`
	CleartextLogin bool        `env:"CLEARTEXT_LOGIN" envDefault:"false" meaning:"allow passwords without TLS"`
}

// BackendSettings says which mail servers stand behind the doors and how to
// speak to them.
type BackendSettings struct {
	IMAP   hostPorts          `env:"IMAP_BACKENDS" default:"required by its doors" meaning:"IMAP servers behind the gate"`
	POP3   hostPorts          `env:"POP3_BACKENDS" default:"required by its doors" meaning:"POP3 servers behind the gate"`
	Proxy  proxy.ProxyVersion `env:"BACKEND_PROXY" envDefault:"v2" meaning:"PROXY header towards the backends; v2 tells them exactly when the client is in TLS"`
	TLS    proxy.BackendTLS   `env:"BACKEND_TLS" envDefault:"off" meaning:"TLS towards the backends"`
	CA     file               `env:"BACKEND_TLS_CA" default:"the system's" meaning:"certificates that may sign the backends' certificates"`
	Name   hostName           `env:"BACKEND_TLS_NAME" default:"the backend's host" meaning:"name the backends' certificates must bear"`
	Logins int                `env:"BACKEND_LOGINS" envDefault:"100" meaning:"logins in flight per backend; the known go first, and a quarter is for them alone"`
}

// TLSSettings says which certificates the gate shows and what it demands of a
// handshake.
type TLSSettings struct {
	Certs      files      `env:"TLS_CERT" default:"required by doors that offer TLS" meaning:"certificate chains, picked by SNI, the first is the default; watched and reloaded"`
	Keys       files      `env:"TLS_KEY" default:"one per certificate" meaning:"private keys, in the order of the certificates"`
	MinVersion tlsVersion `env:"TLS_MIN" envDefault:"1.2" meaning:"oldest TLS version spoken with clients"`
	TicketKeys file       `env:"TLS_TICKET_KEYS" default:"random, kept in memory" meaning:"session ticket keys shared between gateways; watched and reloaded"`
}

// LimitSettings says how much a source, a network and everybody together may
// ask for.
type LimitSettings struct {
	Connect        limiter.Rate `env:"LIMIT_CONNECT" envDefault:"60/12s" live:"yes" meaning:"new connections per source"`
	Open           ceiling      `env:"LIMIT_OPEN" envDefault:"200" live:"yes" meaning:"connections a source may have open"`
	OpenPrelogin   ceiling      `env:"LIMIT_OPEN_PRELOGIN" envDefault:"30" live:"yes" meaning:"connections a source may have open before login"`
	Source         limiter.Rate `env:"LIMIT_SOURCE" envDefault:"10/10m" live:"yes" meaning:"denials per source"`
	Network        limiter.Rate `env:"LIMIT_NETWORK" envDefault:"100/10m" live:"yes" meaning:"denials per network, of strangers; delays, never refuses"`
	Pair           limiter.Rate `env:"LIMIT_PAIR" envDefault:"5/10m" live:"yes" meaning:"denials of one source on one account"`
	Account        limiter.Rate `env:"LIMIT_ACCOUNT" envDefault:"10/1h" live:"yes" meaning:"denials of strangers on one account; those who are known never notice"`
	Global         limiter.Rate `env:"LIMIT_GLOBAL" envDefault:"200/1s" live:"yes" meaning:"logins that reach the backends, all clients together"`
	KnownShare     percent      `env:"KNOWN_SHARE" envDefault:"60" live:"yes" meaning:"per cent of LIMIT_GLOBAL that is kept for the known; lent to strangers while it is not needed"`
	Repeat         ttl          `env:"REPEAT_TTL" envDefault:"60s" live:"yes" meaning:"how long the same wrong password from the same source is denied without asking a backend again"`
	Known          ttl          `env:"KNOWN_TTL" envDefault:"720h" live:"yes" meaning:"how long a client is known after a login"`
	Mode           mode         `env:"MODE" envDefault:"enforce" live:"yes" meaning:"observe decides, counts and logs, but lets everybody pass"`
	Exempt         networks     `env:"EXEMPT" live:"yes" meaning:"networks never limited (webmail, monitoring); kept apart from PROXY_FROM"`
	TableMax       int          `env:"TABLE_MAX" envDefault:"500000" live:"yes" meaning:"buckets kept in memory"`
	Tries          int          `env:"TRIES" envDefault:"3" meaning:"denied attempts per connection"`
	MaxConnections int          `env:"MAX_CONNECTIONS" default:"from the fd limit" meaning:"connections of all doors together; each takes one file descriptor, and a second at login"`
}

// TarpitSettings bounds the room where attempts wait out their verdict.
type TarpitSettings struct {
	Max     time.Duration `env:"TARPIT_MAX" envDefault:"10s" meaning:"longest wait of one attempt, at most 15s"`
	Source  int           `env:"TARPIT_SOURCE" envDefault:"10" meaning:"strangers of one source that wait at once; above: refused at once"`
	Network int           `env:"TARPIT_NETWORK" envDefault:"100" meaning:"strangers of one network that wait at once; above: refused at once"`
	Total   int           `env:"TARPIT_TOTAL" envDefault:"10000" meaning:"strangers that wait at once in all; above: refused at once"`
}

// StateSettings says where what has to outlive the process is kept.
type StateSettings struct {
	Dir file `env:"STATE_DIR" default:"none, all is forgotten" meaning:"folder of this gateway's own for what survives a restart: who is known, what the watch has learned, incidents, keys"`
}

// WatchSettings says whom the watch over all logins tells what.
type WatchSettings struct {
	Alertmanager link          `env:"ALERTMANAGER_URL" meaning:"Alertmanager that is told of incidents"`
	Webhooks     links         `env:"WEBHOOK_URL" secret:"yes" meaning:"receivers of Alertmanager's webhooks that are told of incidents directly"`
	StatusDir    file          `env:"STATUS_DIR" meaning:"folder for the public's status page and feed, to be served from another host"`
	StatusURL    link          `env:"STATUS_URL" meaning:"where that folder is served"`
	StatusName   text          `env:"STATUS_NAME" envDefault:"Mail" meaning:"what users call the service"`
	StatusHold   time.Duration `env:"STATUS_HOLD" envDefault:"30s" meaning:"from when an incident is detected until the public is told, unless an operator holds it"`
	ASNFile      file          `env:"ASN_FILE" meaning:"MMDB file with autonomous systems, read when a report is drawn up"`
}

// AdminSettings says where the operator and the monitoring ask.
type AdminSettings struct {
	Listen    httpAddr `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:9143" blank:"off" meaning:"/metrics, /livez, /readyz, and what the commands of postern ask; loopback or a socket is best"`
	TokenFile file     `env:"ADMIN_TOKEN_FILE" default:"admin-token in STATE_DIR, made at the first start" meaning:"file with the token that incidents and reports ask for, where ADMIN_LISTEN is no socket"`
	Metrics   httpAddr `env:"METRICS_LISTEN" meaning:"/metrics alone, for a LAN address"`
}

// LogSettings says how the log on standard error looks and how much it tells.
type LogSettings struct {
	Format logFormat `env:"LOG_FORMAT" envDefault:"json" meaning:"form of the log lines on standard error"`
	Level  logLevel  `env:"LOG_LEVEL" envDefault:"info" live:"yes" meaning:"least level that is logged"`
}

// TimeoutSettings says how long a client may take for each part of its stay.
type TimeoutSettings struct {
	Login     time.Duration `env:"LOGIN_TIMEOUT" envDefault:"60s" meaning:"from accept to login in all, time in the tarpit excluded"`
	Handshake time.Duration `env:"HANDSHAKE_TIMEOUT" envDefault:"10s" meaning:"one TLS handshake, and the wait for a PROXY header"`
	Idle      time.Duration `env:"IDLE_TIMEOUT" envDefault:"35m" meaning:"silence on a connection after login"`
	Drain     time.Duration `env:"DRAIN" envDefault:"5m" meaning:"how long connections may go on after SIGTERM"`
}
