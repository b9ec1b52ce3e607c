//go:build linux

// Package container tests what deploys postern in containers: the image, the complete
// Compose example and the Kubernetes example.
package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/cmd/postern/internal/testbed"
)

// root is the directory of the repository.
const root = "../../../.."

// stateDir is the volume of the image.
const stateDir = "/var/lib/postern"

// imageUser is the user of the image.
const imageUser = 65532

// builder runs buildah with a storage of its own.
type builder struct {
	dir string
}

// newBuilder returns a builder whose images end with the test.
func newBuilder(t *testing.T) builder {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil {
		testbed.Missing(t, "buildah")
	}
	if os.Getuid() != 0 {
		testbed.Unable(t, "buildah needs root here")
	}
	b := builder{t.TempDir()}
	t.Cleanup(func() {
		b.run(t, "rm", "--all")
		b.run(t, "rmi", "--all", "--force")
	})
	return b
}

// command is a command of buildah. Processes of containers are in a chroot: that needs
// neither an OCI runtime nor cgroups.
func (b builder) command(args ...string) *exec.Cmd {
	cmd := exec.Command("buildah", append([]string{"--root", b.dir + "/root", "--runroot", b.dir + "/run", "--storage-driver", "vfs"}, args...)...)
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
	return cmd
}

// run runs a command of buildah, which must succeed, and returns what it prints.
func (b builder) run(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := b.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("buildah %s: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}

// goEnv returns a setting of the go command.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// build builds the Dockerfile. Its first image, which is in a registry, is replaced by an
// empty one in which the programs and the Go caches of this machine are mounted.
func (b builder) build(t *testing.T) (image string) {
	t.Helper()
	base := b.run(t, "from", "scratch")
	mount := b.run(t, "mount", base)
	for _, dir := range []string{"usr", "tmp", "goroot", "gomod", "gocache", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(mount, dir)); err != nil {
			t.Fatal(err)
		}
	}
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		testbed.Missing(t, "ca-certificates")
	}
	if err := os.WriteFile(filepath.Join(mount, "etc/ssl/certs/ca-certificates.crt"), certificates, 0o644); err != nil {
		t.Fatal(err)
	}
	b.run(t, "config", "--env", "PATH=/goroot/bin:/usr/bin", "--env", "GOMODCACHE=/gomod", "--env", "GOCACHE=/gocache", "--env", "GOPROXY="+goEnv(t, "GOPROXY"), base)
	b.run(t, "commit", "--quiet", base, "docker.io/library/golang:1.26-bookworm")
	b.run(t, "build", "--quiet", "--pull-never", "--format", "docker", "--layers=false", "--tag", "postern",
		"--volume", "/usr:/usr:ro", "--volume", goEnv(t, "GOROOT")+":/goroot:ro", "--volume", goEnv(t, "GOMODCACHE")+":/gomod", "--volume", goEnv(t, "GOCACHE")+":/gocache", root)
	return "localhost/postern"
}

// imageConfig is what an image says about its containers.
type imageConfig struct {
	User         string
	ExposedPorts map[string]any
	Entrypoint   []string
	Cmd          []string
	Healthcheck  struct{ Test []string }
}

// config returns the configuration of an image.
func (b builder) config(t *testing.T, image string) imageConfig {
	t.Helper()
	var about struct {
		Docker struct {
			Config imageConfig `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(b.run(t, "inspect", "--type", "image", image)), &about); err != nil {
		t.Fatal(err)
	}
	return about.Docker.Config
}

// TestImage builds the image and runs a container of it: it serves mail as an ordinary user,
// is healthy, keeps its state in the volume and writes nowhere else, and ends at SIGTERM.
func TestImage(t *testing.T) {
	b := newBuilder(t)
	image := b.build(t)
	config := b.config(t, image)
	if config.User != "65532:65532" {
		t.Errorf("got the user %q, want 65532:65532", config.User)
	}
	for _, port := range []string{"110/tcp", "143/tcp", "993/tcp", "995/tcp"} {
		if _, exposed := config.ExposedPorts[port]; !exposed {
			t.Errorf("port %s is not exposed", port)
		}
	}
	if want := []string{"CMD", "/postern", "health"}; !slices.Equal(config.Healthcheck.Test, want) {
		t.Errorf("got the health check %q, want %q", config.Healthcheck.Test, want)
	}

	c := b.newContainer(t, image)
	c.checkVersion(t)
	before := c.files(t)
	c.start(t, slices.Concat(config.Entrypoint, config.Cmd))
	client := testbed.DialTLS(t, c.listener(t, "imaps"), c.site.Certificate.Client())
	client.Login()
	b.run(t, c.arguments(config.Healthcheck.Test[1:])...)
	client.Say("b LOGOUT", "b OK")
	c.stop(t)

	after := c.files(t)
	for path, owner := range after {
		if _, existed := before[path]; existed {
			continue
		}
		if path != "/etc/postern" && (!strings.HasPrefix(path, stateDir+"/") || owner != imageUser) { // the first is where secrets are mounted
			t.Errorf("user %d has written %s", owner, path)
		}
	}
	if _, written := after[stateDir+"/install-key"]; !written {
		t.Errorf("no state was written to %s", stateDir)
	}
}

// runningContainer is a container of the image, in the network of the test.
type runningContainer struct {
	builder
	name    string
	site    *testbed.Site
	secrets string // directory of the certificate
	log     *testbed.Log
	main    *exec.Cmd
	ended   chan error
}

// newContainer makes a container.
func (b builder) newContainer(t *testing.T, image string) *runningContainer {
	t.Helper()
	c := &runningContainer{builder: b, name: b.run(t, "from", "--pull-never", image), site: testbed.NewSite(t), secrets: t.TempDir(), log: testbed.NewLog(), ended: make(chan error, 1)}
	for name, file := range map[string]string{"postern.crt": c.site.CertFile, "postern.key": c.site.KeyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(c.secrets, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, imageUser, imageUser); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// arguments are those of buildah for a command in the container, with the settings of a
// gateway.
func (c *runningContainer) arguments(command []string) []string {
	args := []string{"run", "--network", "host", "--volume", c.secrets + ":/etc/postern:ro"}
	for _, setting := range append(slices.Clone(c.site.Environ), "POSTERN_TLS_CERT=/etc/postern/postern.crt", "POSTERN_TLS_KEY=/etc/postern/postern.key",
		"POSTERN_ADMIN_LISTEN=unix:"+stateDir+"/admin", "POSTERN_STATE_DIR="+stateDir, "POSTERN_DRAIN=1ms") {
		args = append(args, "--env", setting)
	}
	return append(append(args, c.name, "--"), command...)
}

// checkVersion fails the test unless the program says of which commit it is.
func (c *runningContainer) checkVersion(t *testing.T) {
	t.Helper()
	commit, err := exec.Command("git", "-C", root, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		t.Logf("no commit: %v", err)
		return
	}
	if version := c.run(t, "run", c.name, "--", "/postern", "version"); !strings.Contains(version, strings.TrimSpace(string(commit))) {
		t.Errorf("version: got %q, want the commit %s", version, commit)
	}
}

// start runs the main program of the container until stop, or the end of the test.
func (c *runningContainer) start(t *testing.T, command []string) {
	t.Helper()
	c.main = c.command(c.arguments(command)...)
	c.main.Stdout, c.main.Stderr = c.log, c.log
	c.main.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.main.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.main.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-c.main.Process.Pid, syscall.SIGKILL) })
	c.log.Await(t, "event=start")
}

// listener returns the address of a listener.
func (c *runningContainer) listener(t *testing.T, name string) string {
	t.Helper()
	line := c.log.Await(t, "event=start")
	m := regexp.MustCompile(`\b` + name + ` (127\.0\.0\.1:\d+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("no address of %s in %s", name, line)
	}
	return m[1]
}

// stop sends SIGTERM to postern alone and waits until the container has ended.
func (c *runningContainer) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(c.process(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("end of the container: %v\n%s", err, c.log)
		}
	case <-time.After(testbed.Patience):
		t.Fatalf("the container still runs\n%s", c.log)
	}
}

// process returns the ID of the process of postern, which locks its state directory. It
// must be that of an ordinary user without capabilities.
func (c *runningContainer) process(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.run(t, "mount", c.name), stateDir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Name:\tpostern\n", "Uid:\t65532\t65532\t65532\t65532\n", "CapEff:\t0000000000000000\n"} {
		if !strings.Contains(string(status), line) {
			t.Fatalf("process %d: want %q in\n%s", pid, line, status)
		}
	}
	return pid
}

// files returns the owners of all files in the container.
func (c *runningContainer) files(t *testing.T) map[string]uint32 {
	t.Helper()
	mount := c.run(t, "mount", c.name)
	owners := map[string]uint32{}
	err := filepath.WalkDir(mount, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		owners[strings.TrimPrefix(path, mount)] = info.Sys().(*syscall.Stat_t).Uid
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return owners
}
