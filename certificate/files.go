// Package certificate provides the server's certificate, from files that may change or from an
// authority by ACME (RFC 8555).
//
//   - The server uses the TLS configuration of [Files] or [ACME], and calls its Run.
//   - A handshake never waits for a file. Run checks the files, and the last valid pair is served.
//   - A failed renewal is logged, and the server continues with the certificate it has.
package certificate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

const (
	checkInterval = 5 * time.Second
	maxFileSize   = 1 << 20 // larger than any certificate chain
)

// Files is a certificate and its key in two PEM files. It compares their content, so any way to
// replace them works: overwriting, renaming, or a symbolic link to their folder, as in Kubernetes.
type Files struct {
	cert, key string
	logger    *slog.Logger
	pair      atomic.Pointer[tls.Certificate]

	// Checksums of the files' content: the served one, an invalid one that Check has seen once,
	// and the invalid one that it has logged.
	served, suspect, rejected [sha256.Size]byte
}

// OpenFiles reads the two files. An error names the file and the problem.
func OpenFiles(cert, key string, logger *slog.Logger) (*Files, error) {
	f := &Files{cert: cert, key: key, logger: logger}
	pair, sum, err := f.read()
	if err != nil {
		return nil, err
	}
	f.served = sum
	f.pair.Store(pair)
	f.logPair("certificate", pair)
	return f, nil
}

// TLS returns a new configuration, for one server.
func (f *Files) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair.Load(), nil },
	}
}

// Names returns the host names of the certificate; there may be none.
func (f *Files) Names() []string { return f.pair.Load().Leaf.DNSNames }

// Expires returns when the certificate expires.
func (f *Files) Expires() time.Time { return f.pair.Load().Leaf.NotAfter }

// Run checks the files every few seconds until ctx is done.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.Check()
		}
	}
}

// Check reads the files and serves a new valid pair. It logs an invalid pair only when it sees
// that again, because the first time the files may be half written. Run calls Check; it is
// not safe for concurrent use.
func (f *Files) Check() {
	pair, sum, err := f.read()
	switch {
	case sum == f.served:
		f.suspect, f.rejected = sum, sum
	case err == nil:
		f.served, f.suspect, f.rejected = sum, sum, sum
		f.pair.Store(pair)
		f.logPair("certificate renewed", pair)
	case sum != f.suspect:
		f.suspect = sum
	case sum != f.rejected:
		f.rejected = sum
		f.logger.Warn("the new certificate is invalid; the server continues with the previous one", "error", err)
	}
}

// read returns the pair and a checksum of the files' content, or of the error.
func (f *Files) read() (*tls.Certificate, [sha256.Size]byte, error) {
	cert, errCert := readFile(f.cert)
	key, errKey := readFile(f.key)
	if err := cmp.Or(errCert, errKey); err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	sum := sha256.Sum256(bytes.Join([][]byte{cert, key}, []byte{0}))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, sum, fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	return &pair, sum, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if len(text) > maxFileSize {
		return nil, fmt.Errorf("%s is too large to be a certificate or key", name)
	}
	return text, err
}

// logPair logs which certificate is served now, as a warning if it is expired or not yet valid.
func (f *Files) logPair(text string, pair *tls.Certificate) {
	log := f.logger.Info
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		log, text = f.logger.Warn, text+", which is expired or not yet valid"
	}
	log(text, "file", f.cert, "names", fmt.Sprint(pair.Leaf.DNSNames, pair.Leaf.IPAddresses), "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
}
