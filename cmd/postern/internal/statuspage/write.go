package statuspage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"postern/cmd/postern/internal/atomicfile"
)

// Write writes all files of p into dir, which it makes if need be. Each file is
// replaced as a whole: a reader sees the old one or the new one. Files that
// would stay the same are left alone.
func (p Page) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	for _, f := range []struct {
		name string
		make func() ([]byte, error)
	}{{"summary.json", p.summary}, {"incidents.json", p.history}, {"feed.atom", p.feed}, {"index.html", p.html}} {
		text, err := f.make()
		if err == nil {
			err = replace(filepath.Join(dir, f.name), text)
		}
		if err != nil {
			return fmt.Errorf("write the status: %s: %w", f.name, err)
		}
	}
	return nil
}

// replace puts text in the place of the file at path. Whoever may enter the
// folder may read it.
func replace(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return atomicfile.Write(path, text, 0o644)
}
