package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestSSHClient is in the environment, or in that of the shell from which sudo was started.
func TestSSHClient(t *testing.T) {
	proc := t.TempDir()
	for pid, p := range map[int]struct {
		name, environ string
		parent        int
	}{
		50: {"sudo", "TERM=xterm\x00SUDO_USER=anna\x00", 40},
		40: {"bash) S 30 (", "TERM=xterm\x00SSH_CONNECTION=203.0.113.7 50000 192.0.2.1 22\x00", 30},
		30: {"sshd", "", 1},
		70: {"loop", "TERM=xterm\x00", 70},
		80: {"cron", "TERM=xterm\x00", 1},
	} {
		dir := filepath.Join(proc, fmt.Sprint(pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"environ": p.environ, "stat": fmt.Sprintf("%d (%s) S %d %d 0", pid, p.name, p.parent, pid)} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for pid, want := range map[int]string{50: "203.0.113.7", 40: "203.0.113.7", 30: "", 70: "", 80: "", 99: "", 0: ""} {
		if got := sshClientOf(proc, pid); got != want {
			t.Errorf("process %d: got %q, want %q", pid, got, want)
		}
	}
	if got := sshClient([]string{"TERM=xterm", "SSH_CONNECTION=2001:db8::1 50000 2001:db8::2 22"}); got != "2001:db8::1" {
		t.Errorf("got %q, want the one of the environment", got)
	}
}
