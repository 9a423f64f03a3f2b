package compare

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes where the figures were measured.
type machine struct {
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	Memory uint64  `json:"memory_bytes"`
	Load   float64 `json:"load"`     // load average of the minute before
	Fsync  float64 `json:"fsync_us"` // median time to append a block to a file and sync it
}

func describe(dir string) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	if version, _, found := strings.Cut(m.Kernel, "-"); found {
		m.Kernel = version
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, err
	}
	m.Load = float64(info.Loads[0]) / (1 << unix.SI_LOAD_SHIFT)
	m.Memory = info.Totalram * uint64(info.Unit)
	var err error
	m.Fsync, err = measureFsync(dir)
	return m, err
}

func measureFsync(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // the file is removed with the folder
	var times []float64
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(make([]byte, 256)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times = append(times, micros(time.Since(begin)))
	}
	return median(times), nil
}
