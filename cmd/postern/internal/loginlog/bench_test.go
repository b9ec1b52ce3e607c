package loginlog

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkReader reads lines of each form, of which half are about logins. The figures are of one core.
func BenchmarkReader(b *testing.B) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	message := func(i int) string {
		switch i % 4 {
		case 0:
			return fmt.Sprintf("imap-login: Login: user=<user%d@example.org>, method=PLAIN, rip=192.0.2.%d, lip=198.51.100.7, mpid=%d, TLS, session=<qdcdmUJhBrl%d>", i%5000, i%250, i, i)
		case 1:
			return fmt.Sprintf("imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<user%d@example.org>, method=PLAIN, rip=203.0.113.%d, lip=198.51.100.7, TLS, session=<qdcdmUJhBrl%d>", i%5000, i%250, i)
		}
		return fmt.Sprintf("imap(user%d@example.org)<%d><qdcdmUJhBrl%d>: Disconnected: Logged out in=8 out=468 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0", i%5000, i, i)
	}
	for name, line := range map[string]func(t time.Time, i int) string{
		"syslog": func(t time.Time, i int) string { return t.Format(time.Stamp) + " host dovecot: " + message(i) },
		"iso": func(t time.Time, i int) string {
			return t.Format(time.RFC3339Nano) + " host dovecot[12]: " + message(i)
		},
		"journald": func(t time.Time, i int) string {
			return fmt.Sprintf(`{"__CURSOR":"s=d7;i=1;b=5","__REALTIME_TIMESTAMP":"%d","__MONOTONIC_TIMESTAMP":"1","_BOOT_ID":"8","PRIORITY":"6","_UID":"0","_GID":"0","_HOSTNAME":"host","SYSLOG_IDENTIFIER":"dovecot","_COMM":"log","_EXE":"/usr/lib/dovecot/log","MESSAGE":%q}`, t.UnixMicro(), message(i))
		},
	} {
		b.Run(name, func(b *testing.B) {
			const lines = 200_000
			var log bytes.Buffer
			for i := range lines {
				log.WriteString(line(begin.Add(time.Duration(i)*10*time.Millisecond), i) + "\n")
			}
			path := filepath.Join(b.TempDir(), "log")
			if err := os.WriteFile(path, log.Bytes(), 0o600); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r, err := Open([]string{path}, Options{Now: begin.Add(24 * time.Hour)})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for ; ; n++ {
					if _, err := r.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
				if n != lines/2 {
					b.Fatalf("got %d events, want %d: %+v", n, lines/2, r.Stats())
				}
				r.Close()
			}
			b.ReportMetric(float64(lines*b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
