package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ancestorsMax bounds how many processes are asked for SSH_CONNECTION.
const ancestorsMax = 32

// sshClient is the address from which the user has logged in by ssh, empty if they have not.
// sudo removes SSH_CONNECTION from the environment, so those of the processes that started this
// one count too, as far as the user may read them.
func sshClient(environ []string) string {
	if addr := sshConnection(environ); addr != "" {
		return addr
	}
	return sshClientOf("/proc", os.Getppid())
}

// sshConnection is the address of the client in SSH_CONNECTION, empty without one.
func sshConnection(environ []string) string {
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, "SSH_CONNECTION="); ok {
			addr, _, _ := strings.Cut(value, " ")
			return addr
		}
	}
	return ""
}

// sshClientOf is the address for a process and those that started it, by the files in proc.
func sshClientOf(proc string, pid int) string {
	for range ancestorsMax {
		if pid <= 1 {
			break
		}
		dir := filepath.Join(proc, strconv.Itoa(pid))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ")) // one of another user has none to read
		if addr := sshConnection(strings.Split(string(environ), "\x00")); addr != "" {
			return addr
		}
		pid = parentOf(filepath.Join(dir, "stat"))
	}
	return ""
}

// parentOf is the process that started the one with this stat file of proc(5), zero if it is not
// known.
func parentOf(stat string) int {
	text, err := os.ReadFile(stat)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name before may have anything in it
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1]) // zero if it is no number
	return parent
}
