package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/handover"
	"postern/cmd/postern/internal/monitor"
)

// inherited is what a process has got when it was started: from the generation that hands over to it, or from the service
// manager. The zero value is that of a process that starts with nothing.
type inherited struct {
	environ  []string // of this process, without the variables about what it has got
	sockets  sockets
	takeover *takeover // nil unless another process hands over to this one
	formers  []*former // of a process that has crashed, from the service manager
}

// inherit returns what this process has got.
func inherit(environ []string) (in inherited, err error) {
	link, rest, err := handover.FromEnviron(environ)
	if err != nil {
		return in, err
	}
	if link != nil {
		return inherited{environ: rest, takeover: &takeover{link: link}}, nil
	}
	passed, rest, err := handover.Sockets(rest)
	in.environ = rest
	for _, s := range passed {
		number, isLink := formerNumber(s.Name)
		if !isLink {
			in.sockets = append(in.sockets, s)
			continue
		}
		link, err := handover.FromFile(s.File)
		if err != nil {
			return in, fmt.Errorf("use the descriptor %q of the service manager: %w", s.Name, err)
		}
		f := newFormer(monitor.Generation{Number: number}, link)
		close(f.loginsOver)
		in.formers = append(in.formers, f)
	}
	return in, err
}

// linkName is the name of a link to a former generation, in the descriptor store of the service manager.
func linkName(number int) string { return linkPrefix + strconv.Itoa(number) }

const linkPrefix = "former generation "

// formerNumber is the number of the generation in a name that linkName returned.
func formerNumber(name string) (number int, ok bool) {
	text, ok := strings.CutPrefix(name, linkPrefix)
	if !ok {
		return 0, false
	}
	number, err := strconv.Atoi(text)
	return number, err == nil
}

// generation describes this process.
func (in *inherited) generation(b Build) monitor.Generation {
	g := monitor.Generation{Number: 1, PID: os.Getpid(), Version: b.Version, Since: time.Now()}
	if in.takeover != nil {
		g.Number = max(g.Number, in.takeover.resources.Number)
	}
	return g
}

// storeDescriptors stores in the service manager what a crash must not close: the listening sockets that this process has
// bound, and the links to former generations.
func (d *Daemon) storeDescriptors() {
	if !d.manager.present() {
		return
	}
	all, err := d.sockets()
	defer all.closeAll()
	for _, name := range d.unused { // only now: the service manager ignores any process but the main one
		d.manager.remove(name)
	}
	for _, s := range all {
		if isUnix(s.Name) { // the one in the store may be another one, without a file
			d.manager.remove(s.Name)
		}
		if isBound(s.Name) {
			d.manager.store(s.Name, s.File)
		}
	}
	formers, links, linksErr := d.generations.links()
	defer closeFiles(links)
	for i, f := range links {
		d.manager.store(linkName(formers[i].Number), f)
	}
	if err := errors.Join(err, linksErr); err != nil {
		d.log.Warn("cannot store descriptors in the service manager", slog.String("event", "systemd"), eventlog.Error(err))
	}
}
