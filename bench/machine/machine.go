// Package machine reads from /proc what processes use, CPU time, memory and file
// descriptors of a whole process tree, and how busy the machine is. It changes
// nothing and works on Linux only.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Info describes the machine on which figures were measured.
type Info struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	System string `json:"system"` // distribution and kernel
	Go     string `json:"go"`
}

// Describe describes this machine. What cannot be read is empty.
func Describe() Info {
	info := Info{Cores: runtime.NumCPU(), Go: runtime.Version(), System: system()}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return info
	}
	if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
		info.CPU = strings.Join(strings.Fields(cpus[0].ModelName), " ")
	}
	if m, err := fs.Meminfo(); err == nil && m.MemTotalBytes != nil {
		info.Memory = fmt.Sprintf("%d GB", (*m.MemTotalBytes+1<<29)>>30)
	}
	return info
}

// system returns the distribution and the kernel.
func system() string {
	name := "Linux"
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(release)) {
			if value, found := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); found {
				name = strings.Trim(value, `"`)
			}
		}
	}
	var u syscall.Utsname
	if syscall.Uname(&u) != nil {
		return name
	}
	var kernel strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		kernel.WriteByte(byte(c))
	}
	return name + ", kernel " + kernel.String()
}

// LoadMeter measures which part of the machine other programs use: all but this
// process and its descendants.
type LoadMeter struct {
	at        time.Time
	busy, own time.Duration
}

// NewLoadMeter returns a meter that measures from now on.
func NewLoadMeter() (LoadMeter, error) {
	busy, err := busyTime()
	if err != nil {
		return LoadMeter{}, err
	}
	own, err := CPUTime(os.Getpid())
	return LoadMeter{at: time.Now(), busy: busy, own: own}, err
}

// Others returns the part of the machine, from 0 to 1, that other programs used
// since m was made. It includes interrupts for our own traffic, a few per cent.
func (m LoadMeter) Others() (float64, error) {
	now, err := NewLoadMeter()
	if err != nil {
		return 0, err
	}
	whole := float64(now.at.Sub(m.at)) * float64(runtime.NumCPU())
	if whole <= 0 {
		return 0, nil
	}
	others := float64(now.busy-m.busy) - float64(now.own-m.own)
	return min(max(others/whole, 0), 1), nil
}

// busyTime returns the CPU time that all cores together have been busy since
// the machine started. Time that the hypervisor gave to other machines counts.
func busyTime() (time.Duration, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	s, err := fs.Stat()
	if err != nil {
		return 0, err
	}
	c := s.CPUTotal // guest time is part of user time
	seconds := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	return time.Duration(seconds * float64(time.Second)), nil
}
