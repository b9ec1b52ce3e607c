// Package notices finds facts about logins that a provider may want to tell its users or
// its help desk, and sends them to a webhook: a login from a network that is attacking,
// the first one from a country or an operator, and an old password that a program still
// tries.
//
// The path of a login only updates tables in memory, under short locks; lookups of
// addresses are in memory as well. A queue of bounded length holds the notices until Run
// has delivered them. Run also saves the tables and the queue, so that a restart or an
// upgrade loses neither.
//
// The package decides nothing about a login, and stores no password: what it knows of one
// is whether the limiter has seen it accepted before. The format of the messages is in
// package notify.
//
// In reading order: notices.go has what others call, places.go the countries and operators
// of accounts, networks.go the attacking networks, oldpasswords.go the old passwords,
// queue.go what is to be delivered, run.go delivery, state.go the file.
package notices

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/cmd/postern/internal/notify"
	"postern/limiter"
)

// Config configures a Manager.
type Config struct {
	Path    string   // of the state file; if empty, nothing is kept after a restart
	Key     [32]byte // secret of this installation, for the names of accounts in the tables
	URL     *url.URL // of the webhook
	Secret  []byte   // that signs requests; none if empty
	Gateway string   // name of this gateway in messages
	Kinds   []notify.NoticeKind
	Max     int // accounts in the tables
	Log     *slog.Logger

	Countries *geoip.Database // nil without a file
	Systems   *geoip.Database // likewise
}

// An Attempt is one login that was settled, as far as it matters here.
type Attempt struct {
	Addr     netip.Addr // of the client
	Account  string     // as the client sent it
	Protocol string
	Accepted bool
	Denied   bool // as a wrong password, by a backend or by the gateway
	Usual    bool // the account was accepted from the device, source or network within KNOWN_TTL
	Former   bool // the password was accepted before, but is not the latest one
}

// A Manager finds notices and delivers them. Its methods are safe for concurrent use.
type Manager struct {
	config   Config
	networks networks
	shards   [shardCount]shard
	queue    queue

	working    sync.Mutex // held by Run and Flush; guards what follows
	backoff    time.Duration
	next       time.Time       // no delivery before
	refreshed  time.Time       // when the MMDB files were last checked
	saved      time.Time       // when the state file was last written
	handedOver int             // how many notices of the queue the state file had when Run returned
	failures   map[string]bool // operations that fail now
}

// shardCount is the number of parts of the tables. Each has a lock of its own, so that
// saving delays a login by little.
const shardCount = 64

// A shard has the accounts whose keys end in the same bits.
type shard struct {
	mu       sync.Mutex
	accounts map[accountKey]account
	old      map[oldKey]oldPassword
}

// accountsMax bounds the accounts in the tables, whatever Config.Max says: they take about
// 100 MB, and 75 MB in the state file.
const accountsMax = 1 << 20

// accountKey stands for an account: a part of a keyed digest of its name in lower case.
type accountKey uint64

// New returns a Manager with what the state file holds. If the file cannot be used, it
// begins anew and the error says why.
func New(t time.Time, c Config) (*Manager, error) {
	c.Max = min(c.Max, accountsMax)
	m := &Manager{config: c, queue: newQueue(), saved: t, refreshed: t, failures: map[string]bool{}}
	m.networks.init()
	for i := range m.shards {
		m.shards[i] = shard{accounts: map[accountKey]account{}, old: map[oldKey]oldPassword{}}
	}
	return m, m.load()
}

// Attempt takes an attempt that was settled at time t. It does not block.
func (m *Manager) Attempt(t time.Time, a Attempt) {
	if !a.Accepted && !a.Denied || !isName(a.Account) || !a.Addr.IsValid() {
		return
	}
	a.Addr = a.Addr.Unmap().WithZone("")
	key := m.keyOf(a.Account)
	switch {
	case a.Accepted:
		m.accepted(t, key, a)
	case a.Former:
		m.oldPassword(t, key, a)
	case !a.Usual:
		m.denied(t, key, a)
	}
}

// nameMax bounds the names of accounts in notices, in octets.
const nameMax = 256

// isName reports whether an account may be in a notice. A name with control characters, or
// with characters that cannot be seen, could pass for another one.
func isName(account string) bool {
	return account != "" && len(account) <= nameMax && utf8.ValidString(account) && eventlog.OneLine(account) == account
}

// keyOf returns the key of an account.
func (m *Manager) keyOf(name string) accountKey {
	return accountKey(m.digest("account", strings.ToLower(name)))
}

// digest returns 64 bits of a keyed digest of text, for one purpose.
func (m *Manager) digest(purpose, text string) uint64 {
	mac := hmac.New(sha256.New, m.config.Key[:])
	mac.Write([]byte(purpose + "\x00" + text))
	var sum [sha256.Size]byte
	return binary.LittleEndian.Uint64(mac.Sum(sum[:0]))
}

// shard returns the part of the tables with an account.
func (m *Manager) shard(key accountKey) *shard { return &m.shards[key%shardCount] }

// wants reports whether notices of a kind are to be sent.
func (m *Manager) wants(kind notify.NoticeKind) bool { return slices.Contains(m.config.Kinds, kind) }

// newNotice returns a notice with what all kinds have.
func (m *Manager) newNotice(t time.Time, kind notify.NoticeKind, a Attempt) notify.Notice {
	n := notify.Notice{
		ID: newID(), Time: t.UTC().Truncate(time.Second), Kind: kind, Account: a.Account, Protocol: a.Protocol,
		Source: a.Addr, Network: limiter.Network(a.Addr), UsualPlace: a.Usual, Country: m.config.Countries.Country(a.Addr),
	}
	if number, name := m.config.Systems.System(a.Addr); number != 0 {
		n.Operator = &notify.Operator{Number: number, Name: name}
	}
	return n
}

// newID returns a random ID.
func newID() string {
	var id [12]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
