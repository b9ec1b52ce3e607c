package handover

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	// linkVariable is the environment variable with the number of the descriptor of the link.
	linkVariable = "HANDOVER_FD"
	// linkDescriptor is that number in a process that Start has started.
	linkDescriptor = 3
)

// notForNext are the environment variables that are not passed to the next process. Those of the service manager contain
// the number of this process or belong to it. Without WATCHDOG_PID, WATCHDOG_USEC applies to the next process as well.
var notForNext = slices.Concat(socketVariables, []string{"WATCHDOG_PID", linkVariable})

// Start starts the program at path, a path that is not searched for, with args, of which the first is its name, and with
// the end theirs of a link ([Pair]), which the caller closes afterwards. Standard input, output and error are those of this
// process. The variables LISTEN_* and WATCHDOG_PID, which the service manager set only for this process, are removed from
// environ.
//
// The new process becomes a child of this process's parent. When systemd is that parent, it can supervise the new
// process: of a main process that is not its child, it does not notice the end. So do not call Wait on what Start
// returns, only Kill and Release; the end of the link is the end of the process. The parent must reap children that
// it has not started, and must not end with this process. systemd does so once it knows the new main process; the init
// program of a container and a shell do not.
//
// The first process of a container has no parent there, and its end would end the container: Start returns an error.
func Start(path string, args, environ []string, theirs *os.File) (*os.Process, error) {
	if os.Getpid() == 1 {
		return nil, fmt.Errorf("start %s: this process is the first of its container, and its end would end the container", path)
	}
	environ = without(environ, notForNext...)
	process, err := os.StartProcess(path, args, &os.ProcAttr{
		Env:   append(environ, linkVariable+"="+strconv.Itoa(linkDescriptor)),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, theirs},
		Sys:   &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT},
	})
	var failed *os.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return process, nil
}

// without returns a copy of environ without the variables names.
func without(environ []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(names, name)
	})
}

// lookup returns the value of a variable of environ, the last if there are several, and whether there is one.
func lookup(environ []string, name string) (string, bool) {
	for _, variable := range slices.Backward(environ) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// FromEnviron returns the link to the process that started this one, and environ without the variable that says so. The
// link is nil if no other process of the gateway started this one. Call it once, before this process starts others.
func FromEnviron(environ []string) (link *Link, rest []string, err error) {
	value, found := lookup(environ, linkVariable)
	rest = without(environ, linkVariable)
	if !found {
		return nil, rest, nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < linkDescriptor {
		return nil, rest, fmt.Errorf("%s: got %q, want the number of a descriptor, at least %d", linkVariable, value, linkDescriptor)
	}
	if err := checkOpen(fd); err != nil {
		return nil, rest, fmt.Errorf("%s: %w", linkVariable, err)
	}
	link, err = FromFile(os.NewFile(uintptr(fd), "link"))
	if err != nil {
		return nil, rest, fmt.Errorf("%s: %w", linkVariable, err)
	}
	return link, rest, nil
}

// checkOpen returns an error if the descriptor fd is not open.
func checkOpen(fd int) error {
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("descriptor %d: got %w, want an open one", fd, err)
	}
	return nil
}
