// Package page serves the page on which operators see a gateway and act on it. It has the
// static files only, embedded in the program. What the page shows and does comes from the
// admin API, which also decides who may.
//
// Files in static/vendor are from npm; `make page` renews them.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// Prefix is the path under which the files are. The page itself is at /.
const Prefix = "/page/"

// index is the file that is served at /.
const index = "index.html"

//go:embed static
var embedded embed.FS

// Policy is the Content-Security-Policy of the page, and of all other answers to a browser.
// It permits only files of this server, and nothing inline. uPlot sets styles of elements
// by CSSOM, which style-src does not restrict.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// headers are sent with each file. Browsers ask for each file again, so that an upgraded
// gateway does not meet a page of the former version.
var headers = map[string]string{
	"Content-Security-Policy":      Policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-cache",
}

// types are the media types by extension. Those of the system may be missing or wrong.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one static file.
type file struct {
	content   []byte
	mediaType string
	tag       string // ETag
}

// Handler serves the page at / and its files under Prefix. It answers 404 to other paths.
func Handler() http.Handler {
	files := load()
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", files[index])
	mux.HandleFunc("GET "+Prefix+"{name...}", func(w http.ResponseWriter, r *http.Request) {
		if f, ok := files[r.PathValue("name")]; ok {
			f.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
	return mux
}

// load reads the embedded files, by their paths below static.
func load() map[string]*file {
	files := map[string]*file{}
	static, err := fs.Sub(embedded, "static")
	if err == nil {
		err = fs.WalkDir(static, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := fs.ReadFile(static, name)
			files[name] = newFile(name, content)
			return err
		})
	}
	if err != nil {
		panic("read an embedded file: " + err.Error()) // cannot happen: they are in memory
	}
	return files
}

// newFile prepares a file.
func newFile(name string, content []byte) *file {
	sum := sha256.Sum256(content)
	mediaType := types[path.Ext(name)]
	if mediaType == "" {
		mediaType = "text/plain; charset=utf-8"
	}
	return &file{content, mediaType, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// ServeHTTP serves the file.
func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range headers {
		h.Set(name, value)
	}
	h.Set("Content-Type", f.mediaType)
	h.Set("ETag", f.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
