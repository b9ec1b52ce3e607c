package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/monitor"
	"postern/limiter"
)

const (
	// upgradeTime is how long the next generation may take until it serves.
	upgradeTime = 30 * time.Second
	// loginsWait is how long an upgrade waits until no client of the former process is before login.
	loginsWait = time.Minute
)

// program is what an upgrade starts: the program as it is on disk then.
type program struct {
	path    string   // absolute
	args    []string // its name first
	environ []string // of this process, which the settings are read from
}

// newProgram returns the program that this process was started as, by args. The path is empty if there is none.
func newProgram(args, environ []string) (p program) {
	if len(args) == 0 {
		return p
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		p.path = path
	}
	p.args, p.environ = args, environ
	return p
}

// isNew reports whether the program on disk is another file than the one that runs.
func (p program) isNew() bool {
	running, err := os.Stat("/proc/self/exe")
	if err != nil || p.path == "" {
		return false
	}
	onDisk, err := os.Stat(p.path)
	return err == nil && !os.SameFile(running, onDisk)
}

// A handedOver is the result of an upgrade: this process accepts no connections any more.
type handedOver struct {
	next   monitor.Generation
	link   *handover.Link
	events *limiter.Feed  // for next
	drain  time.Duration  // how long sessions may go on
	signal syscall.Signal // for next, because it came when this process was the main one; zero if there was none
}

// errBusy is the error for an upgrade that cannot begin now.
var errBusy = errors.New("an upgrade or the shutdown is under way")

// askUpgrade does what SIGUSR2 does, and returns the result.
func (d *Daemon) askUpgrade() (monitor.Generation, error) { return ask(d, d.upgrades) }

// upgrade starts the next generation and hands over to it. It returns that generation once it serves. After an error this
// process goes on as before.
func (d *Daemon) upgrade() (monitor.Generation, error) {
	if !d.phase.CompareAndSwap(serving, upgrading) {
		d.log.Warn("upgrade refused", slog.String("event", "upgrade"), eventlog.Error(errBusy))
		return monitor.Generation{}, errBusy
	}
	d.manager.notify(notifyReloading())
	d.log.Info("upgrade begins", slog.String("event", "upgrade"), slog.String("program", d.program.path))
	h, err := d.handOver()
	d.metrics.Upgraded(err)
	if err != nil {
		d.log.Error("upgrade failed: this process goes on", slog.String("event", "upgrade"), eventlog.Error(err))
		d.manager.notify(notifyReady)
		d.phase.CompareAndSwap(upgrading, serving)
		return monitor.Generation{}, err
	}
	d.log.Info("upgrade complete: sessions of this process may go on", slog.String("event", "upgrade"),
		slog.Int("generation", h.next.Number), slog.Int("process", h.next.PID), slog.String("version", h.next.Version), slog.String("drain", h.drain.String()))
	d.admin.StopAccepting() // who asked for the upgrade meets the next process from now on
	d.handedOver <- h
	return h.next, nil
}

// handOver starts the next process and hands over to it, or ends it.
func (d *Daemon) handOver() (*handedOver, error) {
	if d.program.path == "" {
		return nil, errors.New("there is no program to start")
	}
	if err := d.awaitLogins(); err != nil {
		return nil, err
	}
	link, theirs, err := handover.Pair()
	if err != nil {
		return nil, err
	}
	next, err := handover.Start(d.program.path, d.program.args, d.program.environ, theirs)
	theirs.Close()
	if err != nil {
		link.Close()
		return nil, err
	}
	defer func() { _ = next.Release() }()
	_ = link.SetDeadline(time.Now().Add(upgradeTime)) // fails only on a closed link
	stop := context.AfterFunc(d.shutdown, func() { _ = link.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	h, err := d.handOverTo(link, next.Pid)
	if err != nil {
		_ = next.Kill() // before it sees the end of the link, and serves
		link.Close()
		return nil, d.whyFailed(err)
	}
	_ = link.SetDeadline(time.Time{})
	return h, nil
}

// awaitLogins waits until no client of a former generation is before login. Attempts there and here count together, and
// those in a third process would not.
func (d *Daemon) awaitLogins() error {
	ctx, cancel := context.WithTimeout(d.shutdown, loginsWait)
	defer cancel()
	return d.generations.awaitLogins(ctx)
}

// whyFailed explains an error of the link.
func (d *Daemon) whyFailed(err error) error {
	switch {
	case d.shutdown.Err() != nil:
		return errors.New("shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process did not serve within %v, and was ended", upgradeTime)
	case isEnd(err):
		return errors.New("the new process ended before it served; the log may say why")
	}
	return err
}

// handOverTo is the dialogue with the next generation; messages.go lists its messages.
func (d *Daemon) handOverTo(link *handover.Link, pid int) (*handedOver, error) {
	var hi helloMessage
	if _, err := expect(link, msgHello, &hi); err != nil {
		return nil, err
	}
	if hi.Protocol != handoverProtocol || hi.PID != pid {
		return nil, fmt.Errorf("got hand-over protocol %d of process %d, want %d of %d: this upgrade needs a restart", hi.Protocol, hi.PID, handoverProtocol, pid)
	}
	next := monitor.Generation{Number: d.generations.own.Number + 1, PID: pid, Version: hi.Version, Since: time.Now()}
	if err := d.sendResources(link, next.Number); err != nil {
		return nil, err
	}
	if _, err := expect(link, msgPrepared, nil); err != nil {
		return nil, err
	}
	d.keeper.pause()
	d.generations.pause()
	events, drain, err := d.handOverState(link, pid)
	if err != nil {
		if events != nil {
			events.Close()
		}
		d.generations.resume()
		d.keeper.resume()
		return nil, err
	}
	return &handedOver{next: next, link: link, events: events, drain: drain}, nil
}

// handOverState passes on what changes all the time, to the process pid. When it returns without an error, that accepts
// connections as the main process, and this one still does.
func (d *Daemon) handOverState(link *handover.Link, pid int) (events *limiter.Feed, drain time.Duration, err error) {
	watched, err := d.incidents.Export(time.Now())
	if err != nil {
		return nil, 0, err
	}
	limits, events := d.policy.limiter.Export(time.Now())
	if err := link.Send(msgLimiter, limits); err != nil {
		return events, 0, err
	}
	if err := link.Send(msgIncidents, watched); err != nil {
		return events, 0, err
	}
	decided, err := d.deciding.store.Export()
	if err != nil {
		return events, 0, err
	}
	if err := link.Send(msgDecisions, decided); err != nil {
		return events, 0, err
	}
	if err := link.Send(msgRecent, d.recent.Export()); err != nil {
		return events, 0, err
	}
	shared, err := d.keeper.exportSharing(time.Now())
	if err != nil {
		return events, 0, err
	}
	if err := link.Send(msgSharing, shared); err != nil {
		return events, 0, err
	}
	listed, err := d.firewall.export()
	if err != nil {
		return events, 0, err
	}
	formers, files, err := d.generations.links()
	defer closeFiles(files)
	if err != nil {
		return events, 0, err
	}
	if err := send(link, msgFormers, formersMessage{d.server.Counts(), formers, d.keeper.known.saved(), listed}, files...); err != nil {
		return events, 0, err
	}
	var s servingMessage
	if _, err := expect(link, msgServing, &s); err != nil {
		return events, 0, err
	}
	return events, s.Drain, d.commit(link, pid)
}

// commit makes the next process the main one. If it has ended already, this one goes on, unless a service manager starts
// another one.
func (d *Daemon) commit(link *handover.Link, pid int) error {
	d.manager.setMain(pid)
	err := link.Send(msgCommitted, nil)
	if d.manager.present() {
		return nil
	}
	return err
}

// sendResources sends what the next generation needs to make its parts.
func (d *Daemon) sendResources(link *handover.Link, number int) (err error) {
	g := resourcesMessage{Number: number, Former: d.generations.own, StateDir: string(d.config.State.Dir), InstallKey: d.keeper.key[:], Locked: d.keeper.lock != nil}
	if t := d.keeper.tickets; t != nil {
		g.TicketKeys = t.content()
	}
	passed, err := d.sockets()
	defer passed.closeAll()
	if err != nil {
		return err
	}
	var files []*os.File
	if d.keeper.lock != nil {
		files = append(files, d.keeper.lock)
	}
	for _, s := range passed {
		g.Sockets, files = append(g.Sockets, s.Name), append(files, s.File)
	}
	return send(link, msgResources, g, files...)
}
