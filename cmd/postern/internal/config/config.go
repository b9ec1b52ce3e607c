// Package config reads postern's settings from environment variables and from a
// dotenv file, checks them against each other, and describes them: for `postern
// config`, for the reference and in errors.
//
// It opens no file but the dotenv file and creates none. Whether a certificate or an address can
// be used is for the packages that use it.
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"postern/limiter"
	"postern/proxy"
)

// Prefix begins the name of every environment variable that is a setting.
const Prefix = "POSTERN_"

// Config is what the environment says, read and checked. Its tags are the only
// description of the settings: the parser, the errors, `postern config` and the
// reference are all made from them.
//
//	env         name without the prefix
//	envDefault  value when the variable is unset
//	default     describes the default when it is not a fixed value
//	blank       value of a variable that is set but empty; without it, the default
//	meaning     one sentence for the table
//	common      most sites set it: it is in the first table of the reference
//	live        a new value takes effect at SIGHUP, without a restart
//	secret      the value is never shown
type Config struct {
	Listeners Listeners
	Backend   Backend
	TLS       TLS
	Limits    Limits
	Tarpit    Tarpit
	State     State
	Share     Share
	Incidents Incidents
	Notices   Notices
	Admin     Admin
	Policy    AuthPolicy
	Log       Log
	Timeouts  Timeouts
	EnvFile   file `env:"ENV_FILE" common:"yes" meaning:"dotenv file with further settings, read at start and at SIGHUP; a variable in the real environment has precedence"`

	// MaxDescriptors is how many file descriptors all connections together may
	// have, those to backends included.
	MaxDescriptors int

	// values holds the text of every setting as given or by default, under its
	// name without the prefix.
	values map[string]string
	// overridden names the settings of the dotenv file that the real
	// environment has with another value.
	overridden []string
}

// Listeners says where clients connect and on what terms.
type Listeners struct {
	IMAP           listenAddrs `env:"IMAP_LISTEN" envDefault:":143" blank:"off" common:"yes" meaning:"addresses for IMAP with STARTTLS; :143 and [::]:143 accept IPv4 and IPv6, 0.0.0.0:143 IPv4 only"`
	IMAPS          listenAddrs `env:"IMAPS_LISTEN" envDefault:":993" blank:"off" common:"yes" meaning:"addresses for IMAP inside TLS; likewise"`
	POP3           listenAddrs `env:"POP3_LISTEN" envDefault:":110" blank:"off" common:"yes" meaning:"addresses for POP3 with STLS; likewise"`
	POP3S          listenAddrs `env:"POP3S_LISTEN" envDefault:":995" blank:"off" common:"yes" meaning:"addresses for POP3 inside TLS; likewise"`
	Sieve          listenAddrs `env:"SIEVE_LISTEN" default:":4190 with SIEVE_BACKENDS, else off" blank:"off" common:"yes" meaning:"addresses for ManageSieve with STARTTLS, by which users manage mail filters; likewise"`
	ProxyFrom      networks    `env:"PROXY_FROM" common:"yes" meaning:"networks of load balancers, whose connections must begin with a PROXY header; from elsewhere a header is refused"`
	ForwardedFrom  networks    `env:"FORWARDED_FROM" meaning:"networks of webmail and mail proxies, which may send the address of their client, by x-originating-ip in IMAP's ID or by POP3's XCLIENT; from elsewhere that is ignored"`
	CleartextLogin bool        `env:"CLEARTEXT_LOGIN" envDefault:"false" meaning:"allow passwords without TLS"`
}

// Backend says which mail servers logins are relayed to and how to connect to
// them.
type Backend struct {
	IMAP   hostPorts          `env:"IMAP_BACKENDS" default:"required by IMAP listeners" common:"yes" meaning:"IMAP servers that logins are relayed to"`
	POP3   hostPorts          `env:"POP3_BACKENDS" default:"required by POP3 listeners" common:"yes" meaning:"POP3 servers that logins are relayed to"`
	Sieve  hostPorts          `env:"SIEVE_BACKENDS" default:"required by ManageSieve listeners" common:"yes" meaning:"ManageSieve servers that logins are relayed to"`
	Proxy  proxy.ProxyVersion `env:"BACKEND_PROXY" envDefault:"v2" meaning:"PROXY header sent to the backends; only v2 says whether the client uses TLS"`
	TLS    proxy.BackendTLS   `env:"BACKEND_TLS" envDefault:"off" meaning:"TLS towards the backends"`
	CA     file               `env:"BACKEND_TLS_CA" default:"the system's" meaning:"CA certificates that the backends' certificates are verified with"`
	Name   hostName           `env:"BACKEND_TLS_NAME" default:"the backend's host" meaning:"name that the backends' certificates must have"`
	Logins int                `env:"BACKEND_LOGINS" envDefault:"100" common:"yes" meaning:"logins in flight per backend; known users go first, and a quarter is reserved for them"`
}

// TLS says which certificates clients are shown and what a handshake must have.
type TLS struct {
	Certs      files      `env:"TLS_CERT" default:"required by listeners that offer TLS" common:"yes" meaning:"certificate chains, selected by SNI; the first is the default; reloaded when a file changes"`
	Keys       files      `env:"TLS_KEY" default:"one per certificate" common:"yes" meaning:"private keys, in the order of the certificates"`
	MinVersion tlsVersion `env:"TLS_MIN" envDefault:"1.2" meaning:"oldest TLS version accepted from clients"`
	TicketKeys file       `env:"TLS_TICKET_KEYS" default:"random, kept in STATE_DIR if there is one, replaced daily" meaning:"session ticket keys shared between gateways; reloaded when the file changes"`
}

// Limits says how much a source, a network and all clients together may ask
// for.
type Limits struct {
	Connect        limiter.Rate `env:"LIMIT_CONNECT" envDefault:"60/12s" live:"yes" meaning:"new connections per source"`
	Open           ceiling      `env:"LIMIT_OPEN" envDefault:"200" live:"yes" meaning:"open connections per source"`
	OpenPrelogin   ceiling      `env:"LIMIT_OPEN_PRELOGIN" envDefault:"30" live:"yes" meaning:"open connections per source before login"`
	Source         limiter.Rate `env:"LIMIT_SOURCE" envDefault:"10/10m" live:"yes" meaning:"denied logins per source"`
	Network        limiter.Rate `env:"LIMIT_NETWORK" envDefault:"100/10m" live:"yes" meaning:"denied logins of strangers per network; delays, never refuses"`
	Pair           limiter.Rate `env:"LIMIT_PAIR" envDefault:"5/10m" live:"yes" meaning:"denied logins per source and account"`
	Account        limiter.Rate `env:"LIMIT_ACCOUNT" envDefault:"10/1h" live:"yes" meaning:"denied logins of strangers per account; does not affect known users"`
	Global         limiter.Rate `env:"LIMIT_GLOBAL" envDefault:"200/1s" live:"yes" common:"yes" meaning:"logins that reach the backends, all clients together"`
	KnownShare     percent      `env:"KNOWN_SHARE" envDefault:"60" live:"yes" meaning:"per cent of LIMIT_GLOBAL reserved for known users; strangers may use it while they do not"`
	Repeat         ttl          `env:"REPEAT_TTL" envDefault:"60s" live:"yes" meaning:"how long the same wrong password from the same source is denied without asking a backend again"`
	Known          ttl          `env:"KNOWN_TTL" envDefault:"720h" live:"yes" meaning:"how long a client is known after a login"`
	Mode           mode         `env:"MODE" envDefault:"enforce" live:"yes" common:"yes" meaning:"observe decides, counts and logs, but neither delays nor refuses"`
	Exempt         networks     `env:"EXEMPT" live:"yes" common:"yes" meaning:"networks without limits per source (monitoring, webmail that is not in FORWARDED_FROM); separate from PROXY_FROM"`
	TableMax       int          `env:"TABLE_MAX" envDefault:"500000" live:"yes" meaning:"buckets kept in memory"`
	Tries          int          `env:"TRIES" envDefault:"3" meaning:"denied logins per connection"`
	MaxConnections int          `env:"MAX_CONNECTIONS" default:"from the fd limit" meaning:"connections of all listeners together; each takes one file descriptor, and a second one from login on"`
}

// Tarpit bounds the delays of login attempts.
type Tarpit struct {
	Max     time.Duration `env:"TARPIT_MAX" envDefault:"10s" meaning:"longest delay of one attempt, at most 15s"`
	Source  int           `env:"TARPIT_SOURCE" envDefault:"10" meaning:"delayed attempts of strangers per source; more are refused at once"`
	Network int           `env:"TARPIT_NETWORK" envDefault:"100" meaning:"delayed attempts of strangers per network; more are refused at once"`
	Total   int           `env:"TARPIT_TOTAL" envDefault:"10000" meaning:"delayed attempts of strangers in all; more are refused at once"`
}

// State says where what must survive a restart is stored.
type State struct {
	Dir directory `env:"STATE_DIR" default:"$STATE_DIRECTORY (systemd), else $XDG_STATE_HOME/postern, else /var/lib/postern or ~/.local/state/postern, whichever can be written" blank:"off" common:"yes" meaning:"directory, one per gateway, for what survives a restart: known users, what the detector learned, incidents, keys"`
}

// Share says over which engine gateways share what they learn.
type Share struct {
	URL          engineURL   `env:"SHARE_URL" common:"yes" meaning:"Valkey or Redis server over which gateways share what they learn; no login waits for it; without TLS only on loopback or in a network where others cannot listen"`
	EngineCA     file        `env:"SHARE_CA" default:"the system's" meaning:"CA certificates that the certificate of that server is verified with; read for each connection, like the other files about it"`
	Cert         file        `env:"SHARE_CERT" meaning:"certificate of this gateway for that server"`
	Key          file        `env:"SHARE_KEY" meaning:"private key of that certificate"`
	PasswordFile file        `env:"SHARE_PASSWORD_FILE" common:"yes" meaning:"file with the password of the user in SHARE_URL"`
	KeyFile      file        `env:"KEY_FILE" default:"install-key in STATE_DIR; required with SHARE_URL" common:"yes" meaning:"file with the install key, 32 octets or 64 hex digits, under which everything learned is kept; the same at all gateways that share; only owner and group may read it; postern key makes one"`
	Gateway      gatewayName `env:"GATEWAY" default:"the host name" meaning:"name of this gateway among those that share"`
}

// Incidents says who is alerted about incidents and where the status page goes.
type Incidents struct {
	Alertmanager link          `env:"ALERTMANAGER_URL" common:"yes" meaning:"Alertmanager that receives alerts about incidents"`
	Webhooks     links         `env:"WEBHOOK_URL" secret:"yes" common:"yes" meaning:"receivers of Alertmanager webhooks that get the alerts directly"`
	StatusDir    file          `env:"STATUS_DIR" common:"yes" meaning:"directory for the public status page and feed, to be served from another host"`
	StatusURL    link          `env:"STATUS_URL" common:"yes" meaning:"URL where that directory is served"`
	StatusName   text          `env:"STATUS_NAME" envDefault:"Mail" common:"yes" meaning:"name of the service on the status page"`
	StatusHold   time.Duration `env:"STATUS_HOLD" envDefault:"30s" meaning:"delay from the detection of an incident to its publication, unless an operator holds it"`
	ASNFile      file          `env:"ASN_FILE" meaning:"MMDB file with autonomous systems, for reports and login notices; read again when it changes"`
}

// Notices says what is sent about the logins of single accounts, and where it goes.
type Notices struct {
	URL         link        `env:"NOTICE_URL" secret:"yes" meaning:"webhook that receives notices about logins of single accounts, for their users or a help desk; nothing is sent without it"`
	SecretFile  file        `env:"NOTICE_SECRET_FILE" meaning:"file with the key that these requests are signed with, as the Standard Webhooks specification says"`
	Kinds       noticeKinds `env:"NOTICE_KINDS" default:"all" meaning:"which notices are sent; new_country needs COUNTRY_FILE, and new_operator ASN_FILE"`
	CountryFile file        `env:"COUNTRY_FILE" meaning:"MMDB file with countries, for login notices; read again when it changes"`
}

// Admin says where operators and monitoring connect.
type Admin struct {
	Listen        httpAddr `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:9143" blank:"off" common:"yes" meaning:"address of the admin API, which the commands of postern use, and of the page: /, /metrics, /livez, /readyz, /v1; use loopback or a socket"`
	TokenFile     file     `env:"ADMIN_TOKEN_FILE" default:"admin-token in STATE_DIR, created at the first start" meaning:"file with the token of operators, for the page and the commands; not needed where ADMIN_LISTEN is a socket"`
	ReadTokenFile file     `env:"ADMIN_READ_TOKEN_FILE" meaning:"file with a token that shows everything and changes nothing"`
	Metrics       httpAddr `env:"METRICS_LISTEN" common:"yes" meaning:"address that serves /metrics only, for a LAN"`
}

// AuthPolicy says where Dovecot asks about logins that do not come through postern.
type AuthPolicy struct {
	PolicyListen httpAddr `env:"POLICY_LISTEN" meaning:"address for Dovecot's auth_policy_server_url, so that logins at submission and other services that ask Dovecot for a password meet the same limits; loopback or a network where others cannot listen"`
	PolicyToken  file     `env:"POLICY_TOKEN_FILE" default:"required unless POLICY_LISTEN is loopback or a socket" meaning:"file with the token that Dovecot sends in auth_policy_server_api_header"`
}

// Log says how the log on standard error looks and how much it holds.
type Log struct {
	Format logFormat `env:"LOG_FORMAT" envDefault:"json" meaning:"format of the log on standard error"`
	Level  logLevel  `env:"LOG_LEVEL" envDefault:"info" live:"yes" meaning:"lowest level that is logged"`
}

// Timeouts says how long each part of a connection may take.
type Timeouts struct {
	Login        time.Duration `env:"LOGIN_TIMEOUT" envDefault:"60s" meaning:"from accept to login, time in the tarpit excluded"`
	Handshake    time.Duration `env:"HANDSHAKE_TIMEOUT" envDefault:"10s" meaning:"one TLS handshake, or the wait for a PROXY header"`
	Idle         time.Duration `env:"IDLE_TIMEOUT" envDefault:"35m" meaning:"idle connection after login"`
	Drain        time.Duration `env:"DRAIN" envDefault:"5m" meaning:"how long sessions may continue after SIGTERM; in its last four fifths idle ones are closed one by one"`
	UpgradeDrain time.Duration `env:"UPGRADE_DRAIN" envDefault:"12h" meaning:"how long sessions may continue in the former process after an upgrade; in the last 5 minutes idle ones are closed one by one"`
}

// Policy is what the limits ask of the limiter. No attempt waits for longer
// than TARPIT_MAX, which is waitMax.
func (l Limits) Policy(waitMax time.Duration) limiter.Policy {
	return limiter.Policy{
		Connect: l.Connect, Open: int(l.Open), OpenPrelogin: int(l.OpenPrelogin),
		Source: l.Source, Network: l.Network, Pair: l.Pair, Account: l.Account,
		Global: l.Global, KnownShare: int(l.KnownShare), RepeatTTL: time.Duration(l.Repeat), KnownTTL: time.Duration(l.Known),
		WaitMax: waitMax, Exempt: l.Exempt, TableMax: l.TableMax,
	}
}

// Observe reports whether verdicts are only observed.
func (l Limits) Observe() bool { return l.Mode == observe }

// IsExempt reports whether addr is in an EXEMPT network.
func (l Limits) IsExempt(addr netip.Addr) bool {
	for _, n := range l.Exempt {
		if n.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// Hooks are the URLs of WEBHOOK_URL.
func (i Incidents) Hooks() (urls []*url.URL) {
	for _, l := range i.Webhooks {
		urls = append(urls, link(l).URL())
	}
	return urls
}

// TokenFile is the path of the admin token, empty if none is needed or there is
// no place for one. create says that postern makes the file if it does not
// exist.
func (c *Config) TokenFile() (path string, create bool) {
	switch {
	case c.Admin.Listen.IsSocket():
		return "", false
	case c.Admin.TokenFile != "":
		return string(c.Admin.TokenFile), false
	case c.State.Dir == "":
		return "", false
	}
	return filepath.Join(string(c.State.Dir), "admin-token"), true
}

// ReadTokenFile is the path of the read-only token, empty if there is none or no token
// is needed.
func (c *Config) ReadTokenFile() string {
	if c.Admin.Listen.IsSocket() {
		return ""
	}
	return string(c.Admin.ReadTokenFile)
}

// SlogLevel is LOG_LEVEL as package slog has it.
func (l Log) SlogLevel() slog.Level { return slog.Level(l.Level) }

// IsSocket reports whether a is the path of a Unix socket.
func (a httpAddr) IsSocket() bool { return strings.HasPrefix(string(a), "unix:") }

// URL is l parsed, nil if it is empty.
func (l link) URL() *url.URL {
	if l == "" {
		return nil
	}
	u, err := url.Parse(string(l))
	if err != nil {
		panic(err) // checkLink has parsed it before
	}
	return u
}
