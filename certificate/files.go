// Package certificate has the server's certificate, from files that change or from an
// authority by ACME (RFC 8555).
//
// Whoever has the source hands its TLS configuration to a server, which asks it at each
// handshake, and runs it. A handshake never waits for a file: files are looked at
// in between, and what they held last that was whole is what is served. What goes wrong
// with a renewal is logged once, and changes nothing for those who are being served.
package certificate

import (
	"bytes"
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

// lookEvery is how long a certificate that was renewed waits to be served.
const lookEvery = 5 * time.Second

// maxFile is more than any chain of certificates takes.
const maxFile = 1 << 20

// Files is a certificate and its key in two PEM files.
//
// They are compared by what they hold, so it does not matter how they are replaced: written
// over, renamed into place, or by a symbolic link above them, as Kubernetes does it.
type Files struct {
	cert, key string
	logger    *slog.Logger
	pair      atomic.Pointer[tls.Certificate]

	// Of what the files held, for Check: what is served, what was broken at the last look,
	// and what was complained about.
	served, doubtful, refused [sha256.Size]byte
}

// OpenFiles reads the two files. The error says what is wrong with which.
func OpenFiles(cert, key string, logger *slog.Logger) (*Files, error) {
	f := &Files{cert: cert, key: key, logger: logger}
	pair, sum, err := f.read()
	if err != nil {
		return nil, err
	}
	f.served = sum
	f.pair.Store(pair)
	f.tell("certificate", pair)
	return f, nil
}

// TLS is for one server; each call makes another.
func (f *Files) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair.Load(), nil },
	}
}

// Names are the names that the certificate is for; there may be none.
func (f *Files) Names() []string { return f.pair.Load().Leaf.DNSNames }

// Run looks at the files every few seconds until ctx is done.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
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

// Check serves what the files hold, if that is another pair than before and is whole. One
// that is not is complained about at the second look, as at the first it may be half
// written. Run calls it; it is not for several goroutines at once.
func (f *Files) Check() {
	pair, sum, err := f.read()
	switch {
	case sum == f.served:
		f.doubtful, f.refused = sum, sum
	case err == nil:
		f.served, f.doubtful, f.refused = sum, sum, sum
		f.pair.Store(pair)
		f.tell("certificate renewed", pair)
	case sum != f.doubtful:
		f.doubtful = sum
	case sum != f.refused:
		f.refused = sum
		f.logger.Warn("the new certificate is not used, the one before it still is", "error", err)
	}
}

// read returns the pair and a sum of what the files hold, or of what is wrong with them.
func (f *Files) read() (*tls.Certificate, [sha256.Size]byte, error) {
	cert, err := readFile(f.cert)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	key, err := readFile(f.key)
	if err != nil {
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
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is too large to be a certificate or key", name)
	}
	return text, err
}

// tell logs which certificate is served from now on, as a warning if no browser takes it.
func (f *Files) tell(text string, pair *tls.Certificate) {
	log := f.logger.Info
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		log, text = f.logger.Warn, text+", out of its time"
	}
	log(text, "file", f.cert, "names", fmt.Sprint(pair.Leaf.DNSNames, pair.Leaf.IPAddresses), "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
}
