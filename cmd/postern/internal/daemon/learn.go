package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postern/cmd/postern/internal/admin"
	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/incidents"
	"postern/limiter"
	"postern/limiter/watch"
)

// InstallKey returns the key of the installation with these settings. If there is none yet, it creates it, for which the
// gateway must not run.
func InstallKey(c *config.Config, log *eventlog.Log) (key limiter.Key, err error) {
	if c.State.Dir == "" {
		return key, config.Errorf("STATE_DIR", "got off, want a directory: there is no place for what is learned")
	}
	if c.Share.KeyFile != "" {
		return config.ReadKeyFile(string(c.Share.KeyFile))
	}
	dir := stateDir(c.State.Dir)
	err = asOwner(dir, func() error {
		if kept, err := dir.readKey(); err == nil && kept != nil {
			key = *kept
			return nil
		}
		lock, err := lockState(dir)
		if err != nil {
			return err
		}
		defer lock.Close()
		key, err = installKey(c, log)
		return err
	})
	return key, err
}

// Learn merges what was learned into the state directory of a gateway that does not run. If one runs, the error is
// ErrInUse, and nothing has changed.
func Learn(c *config.Config, log *eventlog.Log, now time.Time, learned admin.Learned) (admin.Knowledge, error) {
	var k admin.Knowledge
	dir := stateDir(c.State.Dir)
	err := asOwner(dir, func() error {
		lock, err := lockState(dir)
		if err != nil {
			return err
		}
		defer lock.Close()
		known, err := learnKnown(c, dir, log, now, learned.Known, &k)
		if err != nil {
			return err
		}
		snapshot, err := learnWatch(c, log, now, learned.Watch, &k)
		if err != nil {
			return err
		}
		if err := known.replace(now, known.limiter.Snapshot(now)); err != nil {
			return err
		}
		sub := stateDir(incidentsDir(c))
		if err := sub.create(); err != nil {
			return err
		}
		return sub.write(incidents.SnapshotFile, snapshot)
	})
	return k, err
}

// learnKnown merges a snapshot of a limiter with that of the state directory, and says in k what is known then.
func learnKnown(c *config.Config, dir stateDir, log *eventlog.Log, now time.Time, snapshot []byte, k *admin.Knowledge) (*knownStore, error) {
	key, err := installKey(c, log)
	if err != nil {
		return nil, err
	}
	l, err := limiter.New(c.Limits.Policy(c.Tarpit.Max), key)
	if err != nil {
		return nil, fmt.Errorf("make the limiter: %w", err)
	}
	s := &knownStore{dir: dir, limiter: l, log: log}
	s.restore(now)
	if err := l.Merge(now, snapshot); err != nil {
		return nil, err
	}
	*k = knowledge(l, now, k.Week)
	return s, nil
}

// knowledge says what a gateway with this limiter knows at the time now.
func knowledge(l *limiter.Limiter, now time.Time, week float64) admin.Knowledge {
	stats := l.Stats(now)
	return admin.Knowledge{Accounts: stats.Known, Reserve: stats.Learned, Week: week}
}

// learnWatch merges a snapshot of a watch with that of the state directory, and returns the result. It says in k what is
// learned then.
func learnWatch(c *config.Config, log *eventlog.Log, now time.Time, snapshot []byte, k *admin.Knowledge) ([]byte, error) {
	w := watch.New(watch.Config{Location: time.Local})
	former, err := stateDir(incidentsDir(c)).read(incidents.SnapshotFile, knownMax)
	if err != nil {
		return nil, err
	}
	if former != nil {
		if err := w.Restore(now, former); err != nil { // as at the start of a gateway
			log.Error("detector snapshot unusable: learning from the logs alone", slog.String("event", "state"), eventlog.Error(err))
		}
	}
	if err := w.Merge(now, snapshot); err != nil {
		return nil, err
	}
	k.Week = w.Learned(now)
	return w.Snapshot(now), nil
}

// learn merges what was learned from logs with what the gateway knows, and saves it. On error nothing has changed.
func (d *Daemon) learn(now time.Time, learned admin.Learned) (k admin.Knowledge, err error) {
	if err := watch.New(watch.Config{}).Restore(now, learned.Watch); err != nil { // before the other half is merged
		return k, err
	}
	if err := d.policy.limiter.Merge(now, learned.Known); err != nil {
		return k, err
	}
	if k.Week, err = d.incidents.Merge(now, learned.Watch); err != nil {
		return k, err
	}
	d.keeper.known.save(now)
	if s := d.keeper.sharing; s != nil {
		s.PublishKnown()
	}
	k = knowledge(d.policy.limiter, now, k.Week)
	d.log.Info("learned from logs", slog.String("event", "admin"), slog.Int("accounts", k.Accounts), slog.Bool("reserve", k.Reserve), slog.Float64("week", k.Week))
	return k, nil
}

// asOwner calls do with the rights of the user who owns dir, if this process runs as root and dir belongs to another user.
// So the files that do makes belong to that user, who runs the gateway, and links in the directory lead nowhere that they
// may not write themselves. Nothing else of this process should open files meanwhile.
func asOwner(dir stateDir, do func() error) (err error) {
	info, err := os.Stat(string(dir))
	if err != nil || os.Geteuid() != 0 {
		return do()
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return do()
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return fmt.Errorf("read the groups of this process: %w", err)
	}
	gid := os.Getegid()
	defer func() {
		err = errors.Join(err, syscall.Setreuid(-1, 0), syscall.Setregid(-1, gid), syscall.Setgroups(groups))
	}()
	if err := syscall.Setgroups([]int{int(owner.Gid)}); err != nil {
		return fmt.Errorf("become the owner of %s: %w", filepath.Clean(string(dir)), err)
	}
	if err := errors.Join(syscall.Setregid(-1, int(owner.Gid)), syscall.Setreuid(-1, int(owner.Uid))); err != nil {
		return fmt.Errorf("become the owner of %s: %w", filepath.Clean(string(dir)), err)
	}
	return do()
}
