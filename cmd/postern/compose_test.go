package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"
	"go.yaml.in/yaml/v4"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/testbed"
)

// composeFile is what the examples use of the Compose file format.
type composeFile struct {
	Gateway  any `yaml:"x-gateway"` // merged where it is used
	Services map[string]composeService
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet netip.Prefix }
		}
	}
	Volumes map[string]any
}

type composeService struct {
	Image       string
	Build       map[string]string
	Command     []string
	User        string
	NetworkMode string   `yaml:"network_mode"`
	CapAdd      []string `yaml:"cap_add"`
	EnvFile     []string `yaml:"env_file"`
	Environment map[string]string
	Networks    map[string]struct {
		Address netip.Addr `yaml:"ipv4_address"`
	}
	Ports     []string
	Volumes   []string
	Profiles  []string
	StopAfter string `yaml:"stop_grace_period"`
	Restart   string
}

// readCompose reads an example. Unknown keys are errors.
func readCompose(t *testing.T, dir string) (f composeFile) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestComposeExamples: each file can be read, what it mounts exists, and the gateways in it have valid settings.
func TestComposeExamples(t *testing.T) {
	for _, name := range []string{"vrrp", "balancer", "full"} {
		t.Run(name, func(t *testing.T) {
			dir := "../../deploy/compose/" + name
			f := readCompose(t, dir)
			gateways, engines := 0, 0
			for service, s := range f.Services {
				f.checkVolumes(t, dir, service, s)
				switch s.Image {
				case "postern":
					gateways++
					checkComposeSettings(t, dir, service, s)
				case "valkey/valkey:8-bookworm":
					engines++
				}
			}
			if gateways == 0 || engines != 1 {
				t.Errorf("got %d gateways and %d engines", gateways, engines)
			}
		})
	}
}

// checkVolumes checks what a service mounts: named volumes are declared and not shared, and files of the repository exist.
func (f composeFile) checkVolumes(t *testing.T, dir, service string, s composeService) {
	t.Helper()
	for _, volume := range s.Volumes {
		source, _, _ := strings.Cut(volume, ":")
		_, declared := f.Volumes[source]
		users := 0
		for _, other := range f.Services {
			if slices.Contains(other.Volumes, volume) {
				users++
			}
		}
		switch {
		case strings.HasPrefix(source, "./secrets") || filepath.IsAbs(source): // made by the operator
		case strings.HasPrefix(source, "."):
			if _, err := os.Stat(filepath.Join(dir, source)); err != nil {
				t.Errorf("%s: %v", service, err)
			}
		case !declared || users != 1:
			t.Errorf("%s: the volume %s is declared %v and used by %d services", service, source, declared, users)
		}
	}
}

// checkComposeSettings reads the settings of a gateway as it does, with files of a test in place of its own.
func checkComposeSettings(t *testing.T, dir, service string, s composeService) {
	t.Helper()
	settings := map[string]string{}
	for _, file := range s.EnvFile {
		read, err := godotenv.Read(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range read {
			settings[name] = value
		}
	}
	files := composeSecrets(t)
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+strings.ReplaceAll(value, "/etc/postern/", files+"/"))
	}
	for name, value := range s.Environment {
		if !strings.Contains(value, "${") {
			environ = append(environ, name+"="+value)
		}
	}
	if _, err := config.Load(append(environ, prefix+"STATE_DIR="+t.TempDir())); err != nil {
		t.Errorf("%s: %v", service, err)
	}
	for _, name := range []string{"SHARE_URL", "KEY_FILE", "SHARE_PASSWORD_FILE", "TLS_TICKET_KEYS"} {
		if settings[prefix+name] == "" {
			t.Errorf("%s: %s is not set", service, name)
		}
	}
	if _, named := s.Environment[prefix+"GATEWAY"]; !named || s.StopAfter != "330s" {
		t.Errorf("%s: it has no name, or too little time to stop: %s", service, s.StopAfter)
	}
}

// composeSecrets makes the files that an operator makes, and returns their directory.
func composeSecrets(t *testing.T) string {
	t.Helper()
	site, dir := testbed.NewSite(t), t.TempDir()
	read := func(name string) string {
		for _, setting := range site.Environ {
			if path, found := strings.CutPrefix(setting, prefix+name+"="); found {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
		}
		t.Fatalf("no setting %s", name)
		return ""
	}
	key := strings.Repeat("A", 43) + "=\n" // 32 octets in Base64
	for name, text := range map[string]string{
		"fullchain.pem": read("TLS_CERT"), "privkey.pem": read("TLS_KEY"), "engine-ca.pem": read("TLS_CERT"), "engine-cert.pem": read("TLS_CERT"), "engine-key.pem": read("TLS_KEY"),
		"install-key": strings.Repeat("0a", 32) + "\n", "ticket-keys": key, "engine-password": "secret\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestComposeAddresses: the balancer sends to the gateways, and these trust nothing but the balancer.
func TestComposeAddresses(t *testing.T) {
	dir := "../../deploy/compose/balancer"
	f := readCompose(t, dir)
	subnet := f.Networks["mail"].IPAM.Config[0].Subnet
	var gateways []string
	for service, s := range f.Services {
		if address := s.Networks["mail"].Address; address.IsValid() && !subnet.Contains(address) {
			t.Errorf("%s: %v is not in %v", service, address, subnet)
		}
		if s.Image == "postern" {
			gateways = append(gateways, s.Networks["mail"].Address.String())
		}
	}
	slices.Sort(gateways)
	balancer, err := os.ReadFile(filepath.Join(dir, "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{110, 143, 993, 995} {
		var targets []string
		for _, m := range regexp.MustCompile(fmt.Sprintf(`server \S+ ([0-9.]+):%d\n`, port)).FindAllStringSubmatch(string(balancer), -1) {
			targets = append(targets, m[1])
		}
		if !slices.Equal(targets, gateways) {
			t.Errorf("port %d: the balancer sends to %q, want %q", port, targets, gateways)
		}
	}
	settings, err := godotenv.Read(filepath.Join(dir, "postern.env"))
	if want := subnet.Masked().Addr().Next().String() + "/32"; err != nil || settings[prefix+"PROXY_FROM"] != want {
		t.Errorf("got PROXY_FROM %q, %v, want %q, the host", settings[prefix+"PROXY_FROM"], err, want)
	}
}

// TestComposeFull: only the gateway can be reached from outside, at the mail ports. The backend trusts its PROXY headers, and
// Prometheus reads its metrics.
func TestComposeFull(t *testing.T) {
	dir := "../../deploy/compose/full"
	f := readCompose(t, dir)
	subnet := f.Networks["mail"].IPAM.Config[0].Subnet
	for service, s := range f.Services {
		if address := s.Networks["mail"].Address; s.NetworkMode != "host" && !subnet.Contains(address) {
			t.Errorf("%s: %v is not in %v", service, address, subnet)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", service, port)
			}
		}
		if s.NetworkMode == "host" && s.Image != "postern" {
			t.Errorf("%s has the network of the host", service)
		}
	}
	settings, err := godotenv.Read(filepath.Join(dir, "postern.env"))
	if err != nil {
		t.Fatal(err)
	}
	host := subnet.Masked().Addr().Next().String()
	for file, want := range map[string]string{
		"dovecot.conf":               "haproxy_trusted_networks = " + host + "/32",
		"prometheus.yml":             `["` + settings[prefix+"METRICS_LISTEN"] + `"]`,
		"grafana-datasource.yml":     "http://prometheus:9090",
		"postern.env":                "METRICS_LISTEN=" + host + ":",
		"../../grafana/provider.yml": "path: /var/lib/grafana/dashboards",
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s: want %s", file, want)
		}
	}
	for _, protocol := range []string{"IMAP", "POP3"} {
		if got, want := settings[prefix+protocol+"_BACKENDS"], f.Services["dovecot"].Networks["mail"].Address.String(); !strings.HasPrefix(got, want+":") {
			t.Errorf("got the backend %s, want Dovecot at %s", got, want)
		}
	}
}
