package incidents

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/limiter/watch"
	"postern/limiter/watch/report"
)

// TestHistoryIsKept for 35 days, in one file a day, whatever some lines look
// like.
func TestHistoryIsKept(t *testing.T) {
	k := keeper{t.TempDir()}
	if err := k.open(); err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 1, 35, 36, 100} {
		when := noon.AddDate(0, 0, -days)
		minute := watch.Minute{Start: when, Opened: 1 + days}
		if err := add(k, day(when), false, past{Minute: &minute}, past{Hour: &watch.Hour{Start: when}}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(k.dir, day(noon)), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("nonsense\n\n{\"minute\":")
	f.Close()
	minute := watch.Minute{Start: noon.Add(time.Minute)}
	if err := add(k, day(noon), false, past{Minute: &minute}); err != nil {
		t.Fatal(err)
	}
	h := report.NewHistory()
	bad, err := k.history(noon, h)
	if err != nil || bad != 2 {
		t.Errorf("%d bad lines, %v", bad, err)
	}
	if got := h.Minutes(noon.AddDate(0, 0, -1), noon.Add(time.Hour)); len(got) != 3 {
		t.Errorf("got %+v", got)
	}
	files, err := os.ReadDir(filepath.Join(k.dir, historyDir))
	if err != nil || len(files) != 3 || files[0].Name() != "2026-02-22.jsonl" {
		t.Errorf("left are %v, %v", files, err)
	}
}

// TestForgetful: without a folder nothing is kept and nothing fails.
func TestForgetful(t *testing.T) {
	var k keeper
	data, err := k.read(toldFile)
	bad, err2 := k.history(noon, report.NewHistory())
	if k.open() != nil || data != nil || err != nil || err2 != nil || bad != 0 || add(k, toldFile, true, 1) != nil || k.replace(toldFile, nil) != nil {
		t.Error("something was kept, or failed")
	}
	k.expire(noon)
}

// TestReplace: a file is there whole, for its owner alone.
func TestReplace(t *testing.T) {
	k := keeper{t.TempDir()}
	for _, text := range []string{"a long text", "short"} {
		if err := k.replace(LearnedFile, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := k.read(LearnedFile); err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(k.dir, LearnedFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(k.dir, "*.new")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
