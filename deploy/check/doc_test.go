// Package check_test checks the files of deploy/ that need more than a proxy: the image, the Compose file and the manifests of Kubernetes. It
// is a module of its own, because schemas need large packages.
package check_test
