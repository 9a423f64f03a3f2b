//go:build !full

package main_test

// full makes TestRelease build all platforms, and twice without a common cache, which takes minutes.
const full = false
