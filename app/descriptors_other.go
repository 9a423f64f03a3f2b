//go:build !unix

package app

// descriptorLimit is 0: here the number of open files is not limited.
func descriptorLimit() int { return 0 }
