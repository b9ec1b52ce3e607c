package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// Info describes the machine that figures come from.
type Info struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	System string `json:"system"` // distribution and kernel
	Go     string `json:"go"`
}

// Describe reads what this machine is. What cannot be read stays empty.
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

// system names the distribution and the kernel.
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
