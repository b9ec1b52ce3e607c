//go:build linux

package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v4"

	"postern/cmd/postern/internal/config"
	"postern/cmd/postern/internal/testbed"
)

// schemaModule has the OpenAPI schemas of Kubernetes, and kubernetesVersion is the one that
// the example is for.
const (
	schemaModule      = "sigs.k8s.io/kubectl-validate@v0.0.4"
	kubernetesVersion = "1.30"
)

// examplePath is the example.
const examplePath = root + "/deploy/kubernetes/postern.yaml"

// readFile returns the text of a file.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// object is an object of Kubernetes.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	all any // the whole object
}

// decode reads parts of an object into v.
func (o object) decode(t *testing.T, v any) {
	t.Helper()
	text, err := json.Marshal(o.all)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// parseObjects reads the objects of a YAML file.
func parseObjects(t *testing.T, text string) (all []object) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		if err := d.Decode(&o.all); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		// The numbers of JSON are what the schemas are about.
		text, err := json.Marshal(o.all)
		if err != nil {
			t.Fatal(err)
		}
		o.all = nil
		if err := errors.Join(json.Unmarshal(text, &o.all), json.Unmarshal(text, &o)); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
}

// readExample reads the objects of the example, by their kinds and names.
func readExample(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for _, o := range parseObjects(t, readFile(t, examplePath)) {
		all[o.Kind+"/"+o.Metadata.Name] = o
	}
	return all
}

// schemaSet has the schemas of Kubernetes, by API version and kind.
type schemaSet struct {
	dir  string
	read map[string]map[string]*openapi3.Schema
}

// newSchemaSet takes the schemas from the module cache, or from a module proxy.
func newSchemaSet(t *testing.T) schemaSet {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", schemaModule)
	cmd.Dir = t.TempDir() // a module of its own: nothing is added to ours
	out, err := cmd.Output()
	if err != nil {
		testbed.Missing(t, schemaModule)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return schemaSet{filepath.Join(module.Dir, "pkg/openapiclient/builtins", kubernetesVersion), map[string]map[string]*openapi3.Schema{}}
}

// of returns the schema of an object.
func (s schemaSet) of(t *testing.T, o object) *openapi3.Schema {
	t.Helper()
	if s.read[o.APIVersion] == nil {
		s.read[o.APIVersion] = s.load(t, o.APIVersion)
	}
	found := s.read[o.APIVersion][o.Kind]
	if found == nil {
		t.Fatalf("no schema of %s %s", o.APIVersion, o.Kind)
	}
	return found
}

// load reads the schemas of one API version, by kind. No object may have a field that its
// schema does not name.
func (s schemaSet) load(t *testing.T, apiVersion string) map[string]*openapi3.Schema {
	t.Helper()
	folder := "apis"
	if !strings.Contains(apiVersion, "/") {
		folder = "api"
	}
	text, err := os.ReadFile(filepath.Join(s.dir, folder, apiVersion+".json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]*openapi3.Schema{}
	closed := false
	for _, ref := range doc.Components.Schemas {
		if len(ref.Value.Properties) > 0 {
			ref.Value.AdditionalProperties.Has = &closed
		}
		if is, _ := ref.Value.Extensions["x-kubernetes-group-version-kind"].([]any); len(is) == 1 { // schemas of several are not those of objects
			kind, _ := is[0].(map[string]any)
			if name := strings.TrimPrefix(fmt.Sprintf("%s/%s", kind["group"], kind["version"]), "/"); name == apiVersion {
				kinds[fmt.Sprint(kind["kind"])] = ref.Value
			}
		}
	}
	return kinds
}

// TestKubernetesSchema: each object of the example is as the schemas of Kubernetes say,
// without unknown fields. The check finds mistakes, at any depth.
func TestKubernetesSchema(t *testing.T) {
	set := newSchemaSet(t)
	all := readExample(t)
	for name, o := range all {
		if err := set.of(t, o).VisitJSON(o.all, openapi3.MultiErrors()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, wanted := range []string{"ConfigMap/postern", "Service/postern", "StatefulSet/postern", "PodDisruptionBudget/postern", "NetworkPolicy/postern"} {
		if _, found := all[wanted]; !found {
			t.Errorf("%s is missing", wanted)
		}
	}
	for _, tt := range []struct{ from, to string }{
		{"externalTrafficPolicy:", "externalTrafficPolcy:"},
		{"maxUnavailable:", "maxUnavailble:"},
		{"periodSeconds: 10", "periodSeconds: ten"},
		{"readOnlyRootFilesystem:", "readOnlyRootFileSystem:"},
		{"sleep: {seconds: 10}", "sleep: {second: 10}"},
		{"- {port: metrics}", "- {ports: metrics}"},
		{"replicas: 2", "replicas: [2]"},
	} {
		changed := strings.Replace(readFile(t, examplePath), tt.from, tt.to, 1)
		failed := 0
		for _, o := range parseObjects(t, changed) {
			if set.of(t, o).VisitJSON(o.all) != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("with %s: %d objects are wrong, want 1", tt.to, failed)
		}
	}
}

// pods is what the test needs of the StatefulSet.
type pods struct {
	Spec struct {
		Selector    selector
		ServiceName string
		Template    struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				EnableServiceLinks            bool
				TerminationGracePeriodSeconds int
				Containers                    []struct {
					Ports []struct {
						Name          string
						ContainerPort int
					}
					VolumeMounts []struct{ Name, MountPath string }
					Lifecycle    struct {
						PreStop struct{ Sleep struct{ Seconds int } }
					}
				}
			}
		}
	}
}

type selector struct{ MatchLabels map[string]string }

// TestKubernetesExample: the settings are valid, the services and the budget select the pods,
// each port is one of a listener, and a pod has more time to end than postern takes.
func TestKubernetesExample(t *testing.T) {
	all := readExample(t)
	var set pods
	all["StatefulSet/postern"].decode(t, &set)
	labels, pod := set.Spec.Template.Metadata.Labels, set.Spec.Template.Spec
	same := func(name string, selected map[string]string) {
		t.Helper()
		if fmt.Sprint(selected) != fmt.Sprint(labels) || len(labels) == 0 {
			t.Errorf("%s selects %v, want the pods %v", name, selected, labels)
		}
	}
	same("StatefulSet/postern", set.Spec.Selector.MatchLabels)
	for _, name := range []string{"Service/postern", "Service/" + set.Spec.ServiceName} {
		var service struct {
			Spec struct{ Selector map[string]string }
		}
		all[name].decode(t, &service)
		same(name, service.Spec.Selector)
	}
	var budget struct{ Spec struct{ Selector selector } }
	all["PodDisruptionBudget/postern"].decode(t, &budget)
	same("PodDisruptionBudget/postern", budget.Spec.Selector.MatchLabels)

	var settings struct{ Data map[string]string }
	all["ConfigMap/postern"].decode(t, &settings)
	if err := checkSettings(t, settings.Data); err != nil {
		t.Error(err)
	}
	for _, port := range pod.Containers[0].Ports {
		if got, want := settings.Data[config.Prefix+strings.ToUpper(port.Name)+"_LISTEN"], fmt.Sprint(":", port.ContainerPort); got != want {
			t.Errorf("port %s is %s, and the listener is at %q", port.Name, want, got)
		}
	}
	drain := 5 * time.Minute // the default
	if left := time.Duration(pod.TerminationGracePeriodSeconds-pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second; left <= drain {
		t.Errorf("a pod has %v to end, want more than %v", left, drain)
	}
	if pod.EnableServiceLinks {
		t.Error("enableServiceLinks sets variables that are not settings")
	}
}

// checkSettings reads the settings of the example, with files of the test in place of
// secrets.
func checkSettings(t *testing.T, settings map[string]string) error {
	site, dir := testbed.NewSite(t), t.TempDir()
	files := map[string]string{"ticket-keys": strings.Repeat("A", 43) + "=\n", "install-key": strings.Repeat("0a", 32) + "\n", "engine-password": "secret\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environ := []string{config.Prefix + "STATE_DIR=" + dir}
	replace := strings.NewReplacer("/etc/postern/tls/tls.crt", site.CertFile, "/etc/postern/tls/tls.key", site.KeyFile, "/etc/postern/keys", dir)
	for name, value := range settings {
		environ = append(environ, name+"="+replace.Replace(value))
	}
	_, err := config.Load(environ)
	return err
}
