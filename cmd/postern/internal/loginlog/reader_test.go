package loginlog

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// syslogLine is a login of account at t.
func syslogLine(t time.Time, account string) string {
	return t.In(oslo).Format(time.Stamp) + " mail dovecot: imap-login: Login: user=<" + account + ">, method=PLAIN, rip=192.0.2.7, lip=198.51.100.2, mpid=1, session=<s>\n"
}

// write puts text into a new file that was last changed at t.
func write(t *testing.T, name, text string, at time.Time) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll returns all events of files.
func readAll(t *testing.T, stdin string, files ...string) ([]Event, Stats) {
	t.Helper()
	r, err := Open(files, Options{Stdin: strings.NewReader(stdin), Location: oslo, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []Event
	for {
		e, err := r.Next()
		if err == io.EOF {
			return all, r.Stats()
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// accounts returns the accounts of events, in their order.
func accounts(all []Event) string {
	var names []string
	for _, e := range all {
		names = append(names, e.Account)
	}
	return strings.Join(names, " ")
}

// TestYears: times without a year are those of the last year before the end of the file, across New Year as well.
func TestYears(t *testing.T) {
	at := func(s string) time.Time {
		t.Helper()
		parsed, err := time.ParseInLocation(time.DateTime, s, oslo)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for name, tc := range map[string]struct {
		changed string // when the file was
		times   []string
	}{
		"this year":               {"2026-11-27 12:00:00", []string{"2026-11-01 00:00:00", "2026-11-27 11:59:59"}},
		"last year":               {"2026-02-01 12:00:00", []string{"2025-12-01 00:00:00", "2025-12-31 23:59:59", "2026-01-01 00:00:01", "2026-01-31 10:00:00"}},
		"out of order":            {"2026-02-01 12:00:00", []string{"2025-12-31 23:59:58", "2026-01-01 00:00:00", "2025-12-31 23:59:59", "2026-01-01 00:00:01", "2026-01-02 00:00:00"}},
		"of a year ago":           {"2025-11-27 12:00:00", []string{"2024-12-01 00:00:00", "2025-05-01 00:00:00", "2025-11-27 11:00:00"}},
		"leap day":                {"2024-03-01 12:00:00", []string{"2024-02-28 00:00:00", "2024-02-29 00:00:00", "2024-03-01 00:00:00"}},
		"written a little later":  {"2026-11-27 12:00:00", []string{"2026-11-27 12:00:03"}},
		"changed after the clock": {"2030-01-01 12:00:00", []string{"2026-10-01 00:00:00", "2026-11-01 00:00:00"}},
	} {
		var text strings.Builder
		for _, s := range tc.times {
			text.WriteString(syslogLine(at(s), "a"))
		}
		path := write(t, "log", text.String(), at(tc.changed))
		s, err := openSource(path, &Options{Location: oslo, Now: now}, &(&Reader{}).read)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for _, want := range tc.times {
			e, err := s.read()
			if err != nil || !e.At.Equal(at(want)) {
				t.Errorf("%s: got %v, %v, want %s", name, e.At.In(oslo), err, want)
			}
		}
	}
}

// TestISOTimes agrees with package time.
func TestISOTimes(t *testing.T) {
	c := &clock{location: oslo}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		want := time.Unix(random.Int64N(4e9), random.Int64N(1e9)).In(time.FixedZone("", random.IntN(36)*1800-9*3600))
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
			text := want.Format(layout)
			if got, rest, ok := c.iso([]byte(text + " x")); !ok || !got.Equal(want) || string(rest) != " x" {
				t.Fatalf("%s: got %v, %q, %v", text, got, rest, ok)
			}
		}
	}
}

// TestMergesByTime: the events of several files, plain and compressed, and of standard input come by time, whatever the
// sequence of the files and however lines within a file are shuffled.
func TestMergesByTime(t *testing.T) {
	var logs [4]strings.Builder // of four days, of which the last two overlap
	begin := now.Add(-96 * time.Hour).Truncate(time.Second)
	random := rand.New(rand.NewPCG(1, 2))
	const each = 2000
	for file := range logs {
		var lines []string
		for i := range each {
			at := begin.Add(time.Duration(min(file, 2)*each+i) * 30 * time.Second)
			lines = append(lines, syslogLine(at, fmt.Sprintf("user%d-%d", file, i)))
		}
		for i := range lines { // out of order by up to 20 lines
			j := min(i+random.IntN(20), each-1)
			lines[i], lines[j] = lines[j], lines[i]
		}
		logs[file].WriteString(strings.Join(lines, ""))
	}
	var zipped, packed bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, logs[0].String())
	z.Close()
	p, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(p, logs[1].String())
	p.Close()
	all, stats := readAll(t, logs[3].String(),
		write(t, "log", logs[2].String(), now), Stdin, write(t, "log.1", packed.String(), now), write(t, "log.2", zipped.String(), now))
	if len(all) != 4*each || stats.Lines != 4*each || stats.Logins != 4*each || stats.Obscure != 0 {
		t.Fatalf("got %d events, %+v", len(all), stats)
	}
	for i := range all[1:] {
		if all[i+1].At.Before(all[i].At) {
			t.Fatalf("event %d at %v is after one at %v", i+1, all[i+1].At, all[i].At)
		}
	}
}

// TestOpensFilesOneAfterTheOther: of a hundred files that do not overlap, few are open at any time.
func TestOpensFilesOneAfterTheOther(t *testing.T) {
	var files []string
	for i := range 100 {
		at := now.Add(time.Duration(i-100) * 3 * time.Hour)
		files = append(files, write(t, fmt.Sprint("log", i), syslogLine(at, fmt.Sprint("a", i))+syslogLine(at.Add(30*time.Minute), fmt.Sprint("b", i)), now))
	}
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	r, err := Open(files, Options{Location: oslo, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := 0; ; n++ {
		if len(r.open) > 2 {
			t.Fatalf("%d files are open", len(r.open))
		}
		if _, err := r.Next(); err == io.EOF {
			if n != 200 {
				t.Errorf("got %d events, want 200", n)
			}
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if read, total := r.Progress(); read != total || total == 0 {
		t.Errorf("read %d of %d octets", read, total)
	}
}

// TestJournalExport reads entries of journalctl -o export, of which some have binary fields.
func TestJournalExport(t *testing.T) {
	entry := func(at time.Time, identifier, message, more string) string {
		return fmt.Sprintf("__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=%d\n_COMM=log\n%sSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n\n", at.UnixMicro(), more, identifier, message)
	}
	binaryField := func(name, content string) string {
		return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(content)))) + content + "\n"
	}
	of := func(account string) string { return strings.Replace(loginMessage, "anna@example.org", account, 1) }
	text := entry(noon, "dovecot", of("a"), "") +
		entry(noon.Add(1), "sshd", of("b"), "") +
		entry(noon.Add(2*time.Second), "dovecot", of("c"), binaryField("X", "\n\nMESSAGE="+of("x")+"\n\n")) +
		entry(noon.Add(3*time.Second), "dovecot", of("d"), binaryField("MESSAGE", of("x")+"\n")) +
		entry(noon.Add(4*time.Second), "dovecot", of("e"), "MESSAGE="+of("x")+"\n") +
		entry(noon.Add(5*time.Second), "dovecot", of("f"), "Y="+strings.Repeat("y", 3*lineMax)+"\n") +
		strings.TrimSuffix(entry(noon.Add(6*time.Second), "dovecot", of("g"), ""), "\n")
	all, stats := readAll(t, text, Stdin)
	if got, want := accounts(all), "a c g"; got != want || stats.Obscure != 3 {
		t.Errorf("got %q, want %q; %+v", got, want, stats)
	}
	if _, stats := readAll(t, text[:len(text)/2]+"Z\n\x05", Stdin+""); stats.Lines == 0 {
		t.Errorf("got %+v", stats)
	}
}

// TestLongLines count as not understood, and the lines around them are read.
func TestLongLines(t *testing.T) {
	text := syslogLine(noon, "a") + strings.Repeat("x", 200<<10) + "\n" + syslogLine(noon, "b") +
		strings.Replace(syslogLine(noon, "c"), "session=", "x="+strings.Repeat("y", lineMax)+", session=", 1) + syslogLine(noon, "d") + strings.Repeat("z", lineMax+1)
	all, stats := readAll(t, text, Stdin)
	if got := accounts(all); got != "a b d" || stats.Lines != 6 || stats.Obscure != 3 {
		t.Errorf("got %q, %+v", got, stats)
	}
	if len(stats.Examples) != 2 || stats.Examples[0].Line != 2 || stats.Examples[1].Line != 4 || len(stats.Examples[0].Text) > exampleMax {
		t.Errorf("got the examples %+v", stats.Examples)
	}
}

// TestErrors name the file, and the line if there is one.
func TestErrors(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	for i := range 1000 {
		io.WriteString(w, syslogLine(noon, fmt.Sprint("user", i*7919)))
	}
	w.Close()
	cut := write(t, "cut.gz", z.String()[:z.Len()/2], now)
	r, err := Open([]string{cut}, Options{Location: oslo, Now: now})
	for err == nil {
		_, err = r.Next()
	}
	if err == io.EOF || !strings.HasPrefix(err.Error(), cut+":") || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("a cut file: got %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := Open([]string{missing}, Options{Now: now}); err == nil || err.Error() != missing+": no such file or directory" {
		t.Errorf("a missing file: got %v", err)
	}
	if _, err := Open([]string{t.TempDir()}, Options{Now: now}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := Open([]string{cut, cut}, Options{Now: now}); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("a file given twice: got %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(cut, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open([]string{cut, link}, Options{Now: now}); err == nil || !strings.Contains(err.Error(), "given twice, also as "+cut) {
		t.Errorf("a file given under two names: got %v", err)
	}
	if all, stats := readAll(t, "", Stdin, write(t, "empty", "", now)); len(all) != 0 || stats.Lines != 0 {
		t.Errorf("empty files: got %v, %+v", all, stats)
	}
}
