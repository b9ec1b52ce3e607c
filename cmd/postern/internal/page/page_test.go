package page

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

// get asks h for a path.
func get(h http.Handler, method, path, tag string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestServesFiles(t *testing.T) {
	h := Handler()
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/page/app.js": "text/javascript; charset=utf-8", "/page/app.css": "text/css; charset=utf-8",
		"/page/icon.svg": "image/svg+xml", "/page/vendor/uplot/uPlot.esm.js": "text/javascript; charset=utf-8", "/page/vendor/uplot/LICENSE": "text/plain; charset=utf-8",
	} {
		w := get(h, "GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != want || w.Body.Len() == 0 {
			t.Errorf("%s: got %d, %s, %d octets", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		for name, value := range headers {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%s: got %s: %q, want %q", path, name, got, value)
			}
		}
		if again := get(h, "GET", path, w.Header().Get("ETag")); again.Code != 304 {
			t.Errorf("%s: got %d for the same ETag, want 304", path, again.Code)
		}
	}
	for request, want := range map[[2]string]int{
		{"GET", "/index.html"}: 404, {"GET", "/page/"}: 404, {"GET", "/page/nothing"}: 404, {"GET", "/page/vendor"}: 404, {"GET", "/elsewhere"}: 404,
		{"POST", "/"}: 405, {"PUT", "/page/app.js"}: 405, {"HEAD", "/"}: 200,
	} {
		if w := get(h, request[0], request[1], ""); w.Code != want {
			t.Errorf("%v: got %d, want %d", request, w.Code, want)
		}
	}
}

// TestNothingInline: the policy forbids scripts, styles and handlers within the page, and
// nothing makes HTML of a text.
func TestNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|\son[a-z]+\s*=\s*["']|\sstyle\s*=|javascript:|<script(?:[^>]*[^>]src=)?>|https?://`)
	html := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|srcdoc|DOMParser|https?://`)
	err := fs.WalkDir(embedded, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, "/vendor/") {
			return err
		}
		text, err := fs.ReadFile(embedded, name)
		if err != nil {
			return err
		}
		forbidden := html
		if strings.HasSuffix(name, ".html") {
			forbidden = inline
		}
		if found := forbidden.Find(text); found != nil && !strings.HasSuffix(name, ".svg") {
			t.Errorf("%s has %q", name, found)
		}
		if lines := strings.Count(string(text), "\n"); lines > 400 {
			t.Errorf("%s has %d lines, want at most 400", name, lines)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestVendoredVersions: the files from npm are those that package.json and its lock name.
func TestVendoredVersions(t *testing.T) {
	read := func(name string, v any) {
		t.Helper()
		text, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(text, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var wanted struct{ Dependencies, DevDependencies map[string]string }
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	read("package.json", &wanted)
	read("package-lock.json", &lock)
	for name, file := range map[string]string{"uplot": "static/vendor/uplot/uPlot.esm.js", "axe-core": "testdata/axe-core/axe.min.js"} {
		version := wanted.Dependencies[name] + wanted.DevDependencies[name]
		if locked := lock.Packages["node_modules/"+name]; locked.Version != version || locked.Integrity == "" {
			t.Errorf("%s: got %q in package.json and %+v in its lock", name, version, locked)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text[:300]), "v"+version) {
			t.Errorf("%s is not version %s (%v): run `make page`", file, version, err)
		}
	}
}
