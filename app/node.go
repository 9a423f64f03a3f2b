package app

import (
	"crypto/rand"
	"os"
	"regexp"
	"strings"
)

// notOfNode matches what a machine's name may have, but not the name of a node.
var notOfNode = regexp.MustCompile("[^A-Za-z0-9_-]+")

// nodeName returns the configured name, or else the machine's name with a random ending: two nodes may run on a machine.
func nodeName(configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	machine, err := os.Hostname()
	if err != nil {
		return "", err
	}
	machine = notOfNode.ReplaceAllString(machine, "-")
	return machine[:min(len(machine), 59)] + "-" + strings.ToLower(rand.Text()[:4]), nil
}
