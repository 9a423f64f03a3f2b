//go:build linux || darwin

package metrics

import "golang.org/x/sys/unix"

// disk returns the bytes that an unprivileged process can still use on the folder's disk, and its size; false if the folder is missing.
func disk(folder string) (free, size uint64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return 0, 0, false
	}
	block := uint64(s.Bsize)
	return s.Bavail * block, s.Blocks * block, true
}
