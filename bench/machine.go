//go:build linux

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures were measured on.
type machine struct {
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	Memory uint64  `json:"memory_bytes"`
	Load   float64 `json:"load"`     // average of the minute before, of others' work
	Fsync  float64 `json:"fsync_us"` // median time to append a block to a file and have it on disk
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
	m.Fsync, err = fsync(dir)
	return m, err
}

func fsync(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it is removed with the folder
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
