//go:build full

package main_test

const full = true
