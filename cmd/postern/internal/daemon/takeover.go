package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
	"postern/limiter"
)

// takeover is a hand-over in the next generation. If the process that hands over ends before it has, this one serves with
// what it has received.
type takeover struct {
	link      *handover.Link
	resources resourcesMessage // zero if the former process ended before it sent them
	lock      *os.File         // of the state directory, nil if there is none

	limiter, incidents, decisions, recent, sharing, firewall []byte // exports, nil if the former process ended before

	saved   savedFiles
	formers []*former // the oldest first, the process that hands over last; none if that has ended
}

// takeResources takes from the former process what this one needs to make its parts with the settings c.
func (in *inherited) takeResources(c *config.Config, b Build, m serviceManager) error {
	t := in.takeover
	if t == nil {
		return nil
	}
	err := send(t.link, msgHello, helloMessage{handoverProtocol, b.Version, os.Getpid()})
	var message handover.Message
	if err == nil {
		message, err = expect(t.link, msgResources, &t.resources)
	}
	switch {
	case isEnd(err):
		t.resources = resourcesMessage{}
		return t.formerEnded(m)
	case err != nil:
		return fmt.Errorf("take over from the former process: %w", err)
	}
	files := message.Files
	if t.resources.Locked && len(files) > 0 {
		t.lock, files = files[0], files[1:]
	}
	if len(files) != len(t.resources.Sockets) {
		return fmt.Errorf("take over from the former process: got %d sockets, want %d", len(files), len(t.resources.Sockets))
	}
	for i, name := range t.resources.Sockets {
		in.sockets = append(in.sockets, handover.Socket{Name: name, File: files[i]})
	}
	if dir := string(c.State.Dir); dir != t.resources.StateDir {
		return config.Errorf("STATE_DIR", "got %q, want %q, which the former process uses: another directory needs a restart", dir, t.resources.StateDir)
	}
	return t.checkKey(c)
}

// checkKey requires that KEY_FILE, if there is one, has the key of the former process: that encodes what it hands over.
func (t *takeover) checkKey(c *config.Config) error {
	if c.Share.KeyFile == "" {
		return nil
	}
	key, err := config.ReadKeyFile(string(c.Share.KeyFile))
	if err != nil {
		return err
	}
	if former, ok := t.key(); ok && former != key {
		return config.Errorf("KEY_FILE", "got another key in %s than the former process uses: another key needs a restart", c.Share.KeyFile)
	}
	return nil
}

// takeState takes what changes all the time. Call it when all that takes long is done.
func (t *takeover) takeState(m serviceManager) error {
	if t.resources.Number == 0 {
		return nil
	}
	err := t.link.Send(msgPrepared, nil)
	if err == nil {
		err = t.receiveState()
	}
	if isEnd(err) {
		return t.formerEnded(m)
	}
	if err != nil {
		return fmt.Errorf("take over from the former process: %w", err)
	}
	return nil
}

// receiveState receives the exports, and the links to former generations.
func (t *takeover) receiveState() error {
	limits, err := expect(t.link, msgLimiter, nil)
	if err != nil {
		return err
	}
	watched, err := expect(t.link, msgIncidents, nil)
	if err != nil {
		return err
	}
	decided, err := expect(t.link, msgDecisions, nil)
	if err != nil {
		return err
	}
	happened, err := expect(t.link, msgRecent, nil)
	if err != nil {
		return err
	}
	shared, err := expect(t.link, msgSharing, nil)
	if err != nil {
		return err
	}
	if len(shared.Payload) > 0 {
		t.sharing = shared.Payload
	}
	var s formersMessage
	m, err := expect(t.link, msgFormers, &s)
	if err != nil {
		return err
	}
	if len(m.Files) != len(s.Formers) {
		closeFiles(m.Files)
		return fmt.Errorf("got %d links, want %d", len(m.Files), len(s.Formers))
	}
	for i, file := range m.Files {
		link, err := handover.FromFile(file)
		if err != nil {
			return err
		}
		f := newFormer(s.Formers[i].Generation, link)
		f.counts, f.ending = s.Formers[i].Counts, s.Formers[i].Ending
		close(f.loginsOver)
		t.formers = append(t.formers, f)
	}
	last := newFormer(t.resources.Former, t.link)
	last.counts = s.Counts
	t.formers = append(t.formers, last)
	t.limiter, t.incidents, t.decisions, t.recent = limits.Payload, watched.Payload, decided.Payload, happened.Payload
	t.saved, t.firewall = s.Saved, s.Firewall
	return nil
}

// takeLock returns the lock of the state directory, which the former process has passed unless it has ended. Without a
// directory it is nil.
func (in *inherited) takeLock(dir stateDir) (lock *os.File, err error) {
	t := in.takeover
	if t != nil && t.lock != nil {
		return t.lock, nil
	}
	lock, err = lockState(dir)
	for end := time.Now().Add(lockTime); t != nil && errors.Is(err, ErrInUse) && time.Now().Before(end); {
		<-time.After(lockTime / 100)
		lock, err = lockState(dir)
	}
	return lock, err
}

// lockTime is how long a process that is ending may hold the lock.
const lockTime = time.Second

// key returns the key of this installation, if the former process has sent it.
func (t *takeover) key() (key limiter.Key, ok bool) {
	if len(t.resources.InstallKey) != len(key) {
		return key, false
	}
	return limiter.Key(t.resources.InstallKey), true
}

// fail sends the former process the reason why this one does not take over.
func (in *inherited) fail(why error) {
	if in.takeover != nil {
		_ = in.takeover.link.Send(msgFailed, []byte(why.Error()))
		in.takeover.link.Close()
	}
}

// takeOver accepts connections in place of the former process. From then on both count together. After an error the former
// process goes on as before.
func (d *Daemon) takeOver(t *takeover) error {
	events := d.policy.limiter.Feed()
	for _, f := range t.formers {
		d.generations.add(f)
	}
	d.serve()
	err := t.complete(d.config.Timeouts.UpgradeDrain)
	if isEnd(err) {
		err = t.formerEnded(d.manager)
	}
	if err != nil {
		events.Close()
		return err
	}
	d.keeper.start()
	if d.keeper.lock != nil {
		if err := recordOwner(d.keeper.lock); err != nil {
			d.log.Warn("cannot write the lock file", slog.String("event", "state"), eventlog.Error(err))
		}
	}
	d.generations.start(events)
	d.generations.endOldest(d.config.Timeouts.Drain)
	return nil
}

// complete sends the former process that this one serves, and waits until the service manager has been notified. Sessions
// of the former process may go on for the time drain.
func (t *takeover) complete(drain time.Duration) error {
	if len(t.formers) == 0 {
		return io.EOF
	}
	if err := send(t.link, msgServing, servingMessage{drain}); err != nil {
		return err
	}
	_, err := expect(t.link, msgCommitted, nil)
	return err
}

// formerEnded is called if the process that hands over has ended before the hand-over was complete. It returns an error if
// there is a service manager: that does not know this process and starts another one.
func (t *takeover) formerEnded(m serviceManager) error {
	if m.present() {
		return errors.New("take over from the former process: it has ended, and the service manager starts another one")
	}
	return nil
}
