// Package machine reads from /proc what processes cost: CPU time, memory and
// descriptors of a whole tree of processes, and how busy the machine was. It
// reads and changes nothing, and works on Linux alone.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// tick is the unit in which the kernel reports CPU time to every process, on
// every architecture Go runs on.
const tick = time.Second / 100

// tree returns the process pid and everything that descends from it, with what
// /proc/PID/stat says of each. Processes that end meanwhile are left out.
func tree(pid int) ([]procfs.Proc, []procfs.ProcStat, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]int{}
	proc, stat := map[int]procfs.Proc{}, map[int]procfs.ProcStat{}
	for _, p := range all {
		s, err := p.Stat()
		if gone(err) {
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

// gone reports whether err says that a process has ended while it was read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// Spent returns the CPU time, in user and system mode, that the process pid and
// its descendants have used, including those that have ended and were waited
// for. It advances in steps of 10 ms per process.
func Spent(pid int) (time.Duration, error) {
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
// them. Another user's processes can be read by root alone.
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

// sum adds up a figure of every process in pid's tree.
func sum(pid int, figure func(procfs.Proc) (int64, error)) (total int64, err error) {
	procs, _, err := tree(pid)
	if err != nil {
		return 0, err
	}
	for _, p := range procs {
		n, err := figure(p)
		if gone(err) {
			continue
		} else if err != nil {
			return 0, fmt.Errorf("read process %d: %w", p.PID, err)
		}
		total += n
	}
	return total, nil
}

// Busy returns the CPU time that all cores together have been busy since the
// machine started. Time that a hypervisor gave to others counts as busy.
func Busy() (time.Duration, error) {
	s, err := stat()
	if err != nil {
		return 0, err
	}
	c := s.CPUTotal // guest time is part of user time
	seconds := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return time.Duration(seconds * float64(time.Second)), nil
}

// stat reads /proc/stat.
func stat() (procfs.Stat, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return procfs.Stat{}, err
	}
	return fs.Stat()
}
