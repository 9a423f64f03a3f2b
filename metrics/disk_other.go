//go:build !linux && !darwin

package metrics

// disk is not known here.
func disk(string) (free, size uint64, ok bool) { return 0, 0, false }
