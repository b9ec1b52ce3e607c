package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// tick is the unit in which the kernel reports the CPU time of processes, on
// every architecture of Go.
const tick = time.Second / 100

// tree returns the process pid and its descendants, with the contents of
// /proc/PID/stat. Processes that end meanwhile are left out.
func tree(pid int) ([]procfs.Proc, []procfs.ProcStat, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]int{}
	proc, stat := map[int]procfs.Proc{}, map[int]procfs.ProcStat{}
	for _, p := range all {
		s, err := p.Stat()
		if hasEnded(err) {
			continue
		} else if err != nil {
			return nil, nil, fmt.Errorf("read process %d: %w", p.PID, err)
		}
		proc[p.PID], stat[p.PID] = p, s
		children[s.PPID] = append(children[s.PPID], p.PID)
	}
	if _, found := proc[pid]; !found {
		return nil, nil, fmt.Errorf("process %d has ended", pid)
	}
	var procs []procfs.Proc
	var stats []procfs.ProcStat
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		procs, stats = append(procs, proc[queue[0]]), append(stats, stat[queue[0]])
		queue = append(queue, children[queue[0]]...)
	}
	return procs, stats, nil
}

// hasEnded reports whether err means that a process ended while it was read.
func hasEnded(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// CPUTime returns the CPU time, in user and system mode, of the process pid and
// its descendants, including those that have ended and were waited for. It
// advances in steps of 10 ms a process.
func CPUTime(pid int) (time.Duration, error) {
	_, stats, err := tree(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, s := range stats {
		ticks += int64(s.UTime) + int64(s.STime) + int64(s.CUTime) + int64(s.CSTime)
	}
	return time.Duration(ticks) * tick, nil
}

// Memory returns the proportional set size (PSS) of the process pid and its
// descendants in octets: pages that several processes share are divided among
// them. Only root can read processes of other users.
func Memory(pid int) (int64, error) {
	return sum(pid, func(p procfs.Proc) (int64, error) {
		m, err := p.ProcSMapsRollup()
		return int64(m.Pss), err
	})
}

// Descriptors returns how many file descriptors the process pid and its
// descendants have open.
func Descriptors(pid int) (int64, error) {
	return sum(pid, func(p procfs.Proc) (int64, error) {
		n, err := p.FileDescriptorsLen()
		return int64(n), err
	})
}

// sum adds up a figure of all processes in the tree of pid.
func sum(pid int, figure func(procfs.Proc) (int64, error)) (total int64, err error) {
	procs, _, err := tree(pid)
	if err != nil {
		return 0, err
	}
	for _, p := range procs {
		n, err := figure(p)
		if hasEnded(err) {
			continue
		} else if err != nil {
			return 0, fmt.Errorf("read process %d: %w", p.PID, err)
		}
		total += n
	}
	return total, nil
}
