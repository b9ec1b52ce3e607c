package daemon

import (
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/geoip"
	"postern/cmd/postern/internal/notices"
	"postern/cmd/postern/internal/notify"
	"postern/limiter"
	"postern/proxy"
)

// noticesFile is the file of STATE_DIR with what login notices need. It is also how the next
// process gets that at an upgrade.
const noticesFile = "notices"

// openNotices makes what sends notices about logins, nil without NOTICE_URL. A file that
// cannot be read is logged: mail must not depend on it.
func openNotices(c *config.Config, key limiter.Key, log *eventlog.Log) (*notices.Manager, error) {
	n := c.Notices
	if n.URL == "" {
		return nil, nil
	}
	secret, err := n.Secret()
	if err != nil {
		return nil, err
	}
	m := notices.Config{
		Key: NoticesKey(key), URL: n.URL.URL(), Secret: secret, Gateway: string(c.Share.Gateway),
		Kinds: n.NoticeKinds(), Max: c.Limits.TableMax, Log: log.Logger,
	}
	if c.State.Dir != "" {
		m.Path = filepath.Join(string(c.State.Dir), noticesFile)
	}
	if slices.Contains(m.Kinds, notify.NewCountry) {
		m.Countries = openMMDB("COUNTRY_FILE", string(n.CountryFile), log)
	}
	m.Systems = openMMDB("ASN_FILE", string(c.Incidents.ASNFile), log)
	opened, err := notices.New(time.Now(), m)
	if err != nil {
		log.Error("cannot use what was stored for login notices", slog.String("event", "notice"), eventlog.Error(err))
	}
	return opened, nil
}

// NoticesKey derives the key of login notices from that of the installation.
func NoticesKey(k limiter.Key) [32]byte { return sha256.Sum256(append([]byte("notices "), k[:]...)) }

// openMMDB opens the file of a setting, nil if there is none. One that cannot be read now is
// tried again later.
func openMMDB(setting, path string, log *eventlog.Log) *geoip.Database {
	if path == "" {
		return nil
	}
	db, err := geoip.Open(path)
	if err != nil {
		log.Warn("cannot read "+setting+": trying again", slog.String("event", "notice"), eventlog.Error(err))
	}
	return db
}

// passwordsDoubted is the share of right passwords that are denied. From this share on, a
// denial proves nothing about a password: the password database may be at fault.
const passwordsDoubted = 0.06

// notice passes on an attempt that was settled, unless its denial proves nothing.
func (o *outcomes) notice(now time.Time, a proxy.Attempt) {
	if o.notices == nil {
		return
	}
	n := notices.Attempt{
		Addr: a.Client.Addr(), Account: a.Account, Protocol: a.Protocol,
		Accepted: a.Outcome == limiter.Accepted, Denied: a.Outcome == limiter.Denied,
		Usual: a.Verdict.Near, Former: a.Traits.Former,
	}
	if n.Denied && n.Former && o.incidents.State().DeniedShare >= passwordsDoubted {
		return
	}
	o.notices.Attempt(now, n)
}
