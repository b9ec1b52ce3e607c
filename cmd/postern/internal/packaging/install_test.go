//go:build linux

package packaging

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// testInstallation does what README says, and then an upgrade with an open session, and
// a purge.
func testInstallation(t *testing.T, deb string) {
	m := newMachine(t)
	site := testbed.NewSite(t)
	m.copy(t, deb, "/tmp/first.deb")
	m.copy(t, nextVersion(t, deb), "/tmp/next.deb")

	out := m.run(t, "apt-get", "install", "-y", "--no-install-recommends", "/tmp/first.deb")
	if !strings.Contains(out, "postern is not started: edit /etc/postern/postern.env") {
		t.Errorf("got no word about the settings:\n%s", out)
	}
	configure(t, m, site)
	if code, out := m.try(t, "postern", "doctor"); code > 1 || !strings.Contains(out, "postern does not run, or not with these settings") {
		t.Errorf("before the start, exit code %d, want no failure, and a warning that postern does not run:\n%s", code, out)
	}
	log := serve(t, m)
	if code, out := m.try(t, "postern", "doctor"); code > 1 {
		t.Errorf("postern doctor: exit code %d\n%s", code, out)
	}
	session := dial(t, site)
	session.Login()
	before := mainProcess(t, m)
	out = m.run(t, "apt-get", "install", "-y", "/tmp/next.deb")
	if after := mainProcess(t, m); after == before || !strings.Contains(out, "accepts connections") {
		t.Errorf("process %d accepts connections before and %d after the upgrade\n%s", before, after, out)
	}
	session.Say("b NOOP", "b OK")
	other := dial(t, site)
	other.Login()
	if text, err := os.ReadFile(m.path("/etc/postern/postern.env")); err != nil || !strings.Contains(string(text), "\nPOSTERN_EXEMPT=198.51.100.7\n") {
		t.Errorf("the settings after the upgrade: %v\n%s", err, text)
	}

	checkPlugins(t, m)
	session.Close()
	other.Close()
	m.run(t, "sh", "-c", "kill -TERM "+strconv.Itoa(mainProcess(t, m)))
	log.Await(t, "shutdown complete")
	m.run(t, "rm", "/etc/postern/fullchain.pem", "/etc/postern/privkey.pem")
	m.run(t, "apt-get", "purge", "-y", "postern")
	if left := m.run(t, "find", "/etc", "/usr", "/lib/systemd", "/var", "/run", "-xdev", "(", "-name", "*postern*", "-o", "-user", "postern", ")", "-print"); left != "" {
		t.Errorf("after the purge there are still\n%s", left)
	}
}

// configure edits the three lines and installs a certificate.
func configure(t *testing.T, m *machine, site *testbed.Site) {
	t.Helper()
	values := map[string]string{"POSTERN_EXEMPT": "198.51.100.7"}
	for _, setting := range site.Environ {
		if name, value, _ := strings.Cut(setting, "="); strings.HasSuffix(name, "_BACKENDS") {
			values[name] = value
		}
	}
	edit(t, m.path("/etc/postern/postern.env"), values)
	m.copy(t, site.CertFile, "/tmp/fullchain.pem")
	m.copy(t, site.KeyFile, "/tmp/privkey.pem")
	m.run(t, "install", "-g", "postern", "-m", "640", "/tmp/fullchain.pem", "/tmp/privkey.pem", "/etc/postern/")
}

// serve runs postern as REFERENCE.md says for a machine without systemd.
func serve(t *testing.T, m *machine) *testbed.Log {
	t.Helper()
	log := testbed.NewLog()
	cmd := m.command(t.Context(), "setpriv", "--reuid=postern", "--regid=postern", "--init-groups",
		"--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service", "postern", "serve")
	cmd.Env = append(cmd.Env, "POSTERN_LOG_FORMAT=text", "POSTERN_ENV_FILE=/etc/postern/postern.env")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second // the process after an upgrade has the same output, and ends with the machine
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of postern:\n%s", log)
		}
	})
	log.Await(t, "event=start")
	return log
}

// dial connects for longer than the installation of a package takes on a busy machine.
func dial(t *testing.T, site *testbed.Site) *testbed.Client {
	t.Helper()
	c, err := tls.Dial("tcp", "127.0.0.1:993", site.Certificate.Client())
	if err != nil {
		t.Fatal(err)
	}
	client := testbed.NewClient(t, c)
	c.SetDeadline(time.Now().Add(10 * testbed.Patience))
	client.Until("* OK")
	return client
}

// mainProcess returns the number of the process that accepts connections.
func mainProcess(t *testing.T, m *machine) int {
	t.Helper()
	var status struct{ Generations []struct{ PID int } }
	if err := json.Unmarshal([]byte(m.run(t, "postern", "status", "-json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Generations) == 0 {
		t.Fatal("postern status lists no process")
	}
	return status.Generations[0].PID
}

// checkPlugins runs the plugins of monitoring programs by their links.
func checkPlugins(t *testing.T, m *machine) {
	t.Helper()
	if code, out := m.try(t, "/usr/lib/nagios/plugins/check_postern"); code > 1 || !strings.Contains(out, "POSTERN") {
		t.Errorf("check_postern: exit code %d\n%s", code, out)
	}
	if out := m.run(t, "/usr/share/munin/plugins/postern_", "config"); !strings.Contains(out, "graph_title") {
		t.Errorf("postern_ config: %s", out)
	}
}
