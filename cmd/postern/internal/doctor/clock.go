package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postern/cmd/postern/internal/config"
)

// clockMax is how much two clocks may differ. A Date header has whole seconds and may have
// been on the way for some.
const clockMax = 10 * time.Second

// checkClock asks the kernel whether a time service keeps the clock right. The detector
// compares times of the week, and certificates, tickets and decisions end by the clock.
func (e *examination) checkClock(context.Context) []Finding {
	const check = "clock"
	synchronised := e.synchronised
	if synchronised == nil {
		synchronised = kernelSynchronised
	}
	switch right, err := synchronised(); {
	case err != nil:
		return []Finding{ok(check, "%s; whether a time service sets it cannot be read here (%v)", time.Now().Format(time.RFC3339), err)}
	case !right:
		return []Finding{warning(check, "no time service keeps it right, says the kernel", "install and start chrony or systemd-timesyncd (`timedatectl`), in a virtual machine or container on its host")}
	}
	return []Finding{ok(check, "synchronised")}
}

// compareClock compares the clock with that of a server, by its answer.
func compareClock(host string, a answer) []Finding {
	if a.date.IsZero() {
		return nil
	}
	difference := a.got.Sub(a.date).Round(time.Second)
	if difference.Abs() > clockMax {
		side := "ahead of"
		if difference < 0 {
			side = "behind"
		}
		return []Finding{warning("clock", fmt.Sprintf("%v %s that of %s", difference.Abs(), side, host), "set the clock that is wrong, and see that chrony or systemd-timesyncd runs on both machines")}
	}
	return []Finding{ok("clock", "agrees with %s", host)}
}

// pageOldMax is how old the status page may be. postern writes it every minute, and a copy
// for another host may take as long again.
const pageOldMax = 5 * time.Minute

// summaryFile is the file of the status page that has its time.
const summaryFile = "summary.json"

// checkStatusPage checks that the status page is written, and where users read it.
func (e *examination) checkStatusPage(ctx context.Context) (found []Finding) {
	dir, address := string(e.config.Incidents.StatusDir), e.config.Incidents.StatusURL.URL()
	if dir != "" {
		found = append(found, e.checkStatusDir("status page "+dir, dir))
	}
	if address == nil {
		return found
	}
	check := "status page " + address.String()
	a, err := get(ctx, address.JoinPath(summaryFile).String())
	if err != nil {
		return append(found, failure(check, err.Error(), "copy "+config.Prefix+"STATUS_DIR to the host that serves it, or correct "+config.Prefix+"STATUS_URL"))
	}
	found = append(found, e.checkAge(check, a.body, "see why the copy of "+config.Prefix+"STATUS_DIR to the host that serves it is not up to date, such as the rsync job"))
	return append(found, compareClock(address.Host, a)...)
}

// checkStatusDir checks that postern can write the status page and does.
func (e *examination) checkStatusDir(check, dir string) Finding {
	if err := syscall.Access(dir, accessWrite); err != nil {
		return failure(check, fmt.Sprintf("cannot be written: %v", err), "create the directory for the user of postern; with systemd, ReadWritePaths= must name it; or correct "+config.Prefix+"STATUS_DIR")
	}
	text, err := os.ReadFile(filepath.Join(dir, summaryFile))
	switch {
	case err != nil && e.running == nil:
		return ok(check, "writable; postern does not run")
	case err != nil:
		return failure(check, "the running postern has not written it: "+err.Error(), "see its log for lines with event=watch, and that the directory belongs to its user")
	}
	return e.checkAge(check, text, "see the log of postern for lines with event=watch, and that the directory belongs to its user")
}

// checkAge checks when the status page was written that has this summary.
func (e *examination) checkAge(check string, summary []byte, remedy string) Finding {
	var s struct {
		Page struct {
			Updated time.Time `json:"updated_at"`
		} `json:"page"`
	}
	if err := json.Unmarshal(summary, &s); err != nil || s.Page.Updated.IsZero() {
		return failure(check, summaryFile+" is not that of a status page of postern", remedy)
	}
	age := max(0, time.Since(s.Page.Updated)).Round(time.Second)
	if age > pageOldMax {
		if e.running == nil {
			remedy = "start postern"
		}
		return failure(check, fmt.Sprintf("was last written %v ago", age), remedy)
	}
	return ok(check, "written %v ago", age)
}
