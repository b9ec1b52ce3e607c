package incidents

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/report"
)

// TestHistoryIsKept for 35 days, in one file per day; unreadable lines are
// skipped.
func TestHistoryIsKept(t *testing.T) {
	s := store{t.TempDir()}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 1, 35, 36, 100} {
		when := noon.AddDate(0, 0, -days)
		minute := watch.Minute{Start: when, Opened: 1 + days}
		if err := appendLines(s, historyFile(when), false, historyLine{Minute: &minute}, historyLine{Hour: &watch.Hour{Start: when}}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(s.dir, historyFile(noon)), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("nonsense\n\n{\"minute\":")
	f.Close()
	minute := watch.Minute{Start: noon.Add(time.Minute)}
	if err := appendLines(s, historyFile(noon), false, historyLine{Minute: &minute}); err != nil {
		t.Fatal(err)
	}
	h := report.NewHistory()
	skipped, err := s.loadHistory(noon, h)
	if err != nil || skipped != 2 {
		t.Errorf("%d lines skipped, %v", skipped, err)
	}
	if got := h.Minutes(noon.AddDate(0, 0, -1), noon.Add(time.Hour)); len(got) != 3 {
		t.Errorf("got %+v", got)
	}
	files, err := os.ReadDir(filepath.Join(s.dir, historyDir))
	if err != nil || len(files) != 3 || files[0].Name() != "2026-02-22.jsonl" {
		t.Errorf("remaining files %v, %v", files, err)
	}
}

// TestStoreWithoutDir: without a directory nothing is stored and nothing fails.
func TestStoreWithoutDir(t *testing.T) {
	var s store
	data, err := s.read(notificationsFile)
	skipped, err2 := s.loadHistory(noon, report.NewHistory())
	if s.open() != nil || data != nil || err != nil || err2 != nil || skipped != 0 || appendLines(s, notificationsFile, true, 1) != nil || s.replace(notificationsFile, nil) != nil {
		t.Error("something was stored, or failed")
	}
	s.deleteExpired(noon)
}

// TestReplace: the content is complete, and only the owner may read it.
func TestReplace(t *testing.T) {
	s := store{t.TempDir()}
	for _, text := range []string{"a long text", "short"} {
		if err := s.replace(SnapshotFile, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.read(SnapshotFile); err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, SnapshotFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.new")); len(left) > 0 {
		t.Errorf("files left: %q", left)
	}
}
