package daemon

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/decisions"
	"postern/cmd/postern/internal/engine"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/cmd/postern/internal/monitor"
	"postern/cmd/postern/internal/sharing"
	"postern/limiter/share"
)

// This file connects limiter, incidents and decisions with the other gateways of the site.
// The documentation of package sharing follows a denial from one gateway to another.

// gatewaysFile is the file of STATE_DIR with how many gateways there were.
const gatewaysFile = "gateways.json"

// shareSettings are the settings of the fields of an engine.Config.
var shareSettings = map[string]string{"URL": "SHARE_URL", "CA": "SHARE_CA", "Cert": "SHARE_CERT", "Key": "SHARE_KEY", "PasswordFile": "SHARE_PASSWORD_FILE"}

// openSharing sets d.keeper.sharing and d.keeper.engine, if SHARE_URL is set. former is what the former process of this gateway
// has exported, nil if there was none. The keeper runs the one and closes the other.
func (d *Daemon) openSharing(version string, former []byte) error {
	c := d.config.Share.Engine()
	if c.URL == "" {
		return nil
	}
	client, err := engine.Open(c)
	if wrong, ok := errors.AsType[*engine.ConfigError](err); ok {
		return config.Errorf(shareSettings[wrong.Field], "%w", err)
	} else if err != nil {
		return err
	}
	path := ""
	if dir := d.config.State.Dir; dir != "" {
		path = filepath.Join(string(dir), gatewaysFile)
	}
	now := time.Now()
	s, err := sharing.New(now, sharing.Config{
		Gateway: c.Name, Version: version, Engine: client, Keys: share.NewKeys(d.keeper.key), Limiter: d.policy.limiter, Log: d.log,
		Handlers: d.sharedHandlers(), Snapshots: d.sharedSnapshots(), Lead: d.incidents.Lead, Alone: d.incidents.SetAlone, Path: path,
	}, former)
	if err != nil {
		client.Close()
		return err
	}
	d.keeper.sharing, d.keeper.engine = s, client
	d.deciding.share(now, c.Name, s.Clock, d.shareDecision)
	return nil
}

// shareDecision publishes a decision to the other gateways.
func (d *Daemon) shareDecision(c decisions.Change) {
	data, err := json.Marshal(c)
	if err != nil {
		d.log.Error("cannot share a decision", slog.String("event", "decision"), eventlog.Error(err))
		return
	}
	d.keeper.sharing.Publish(time.Now(), share.RecordDecision, data)
}

// shareIncident publishes a record of the detector or the incidents to the other gateways.
func (d *Daemon) shareIncident(kind share.RecordType, data []byte) {
	if s := d.keeper.sharing; s != nil {
		s.Publish(time.Now(), kind, data)
	}
}

// sharedHandlers handle the records of other gateways.
func (d *Daemon) sharedHandlers() map[share.RecordType]func(time.Time, []byte) error {
	all := map[share.RecordType]func(time.Time, []byte) error{
		share.RecordDecision: func(_ time.Time, data []byte) error {
			change, err := decisions.ParseChange(data)
			if err == nil {
				d.deciding.receive(change)
			}
			return err
		},
	}
	for _, kind := range incidents.RecordTypes() {
		all[kind] = func(t time.Time, data []byte) error { return d.incidents.Receive(t, kind, data) }
	}
	return all
}

// sharedSnapshots are what a gateway that joins reads beside what its limiter needs.
func (d *Daemon) sharedSnapshots() []sharing.Snapshot {
	learned := false
	return []sharing.Snapshot{
		{
			Kind: share.SnapshotDecisions, Every: 10 * time.Minute,
			Make: func(t time.Time) ([]byte, error) {
				d.deciding.applyReceived(t)
				return d.deciding.store.ExportShared(t)
			},
			Merge: func(t time.Time, _ time.Duration, data []byte) error {
				d.deciding.merge(t, data)
				return nil
			},
			Absent: func(t time.Time) { d.deciding.merge(t, nil) },
		},
		{
			Kind: share.SnapshotIncidents, Every: time.Minute,
			Make:  func(time.Time) ([]byte, error) { return d.incidents.ExportShared(), nil },
			Merge: func(t time.Time, _ time.Duration, data []byte) error { return d.incidents.MergeShared(t, data) },
		},
		{
			Kind: share.SnapshotWatch, Every: 10 * time.Minute,
			Make: func(t time.Time) ([]byte, error) { return d.incidents.Snapshot(t), nil },
			Merge: func(t time.Time, _ time.Duration, data []byte) error {
				if learned {
					return nil
				}
				learned = true // from then on this gateway learns from what all gateways see
				_, err := d.incidents.Merge(t, data)
				return err
			},
		},
	}
}

// sharingStatus is how this gateway counts together with others at time t; nil if SHARE_URL is not set.
func (d *Daemon) sharingStatus(t time.Time) *monitor.Sharing {
	if d.keeper.sharing == nil {
		return nil
	}
	return d.keeper.sharing.Status(t)
}
