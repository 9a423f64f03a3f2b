package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"freshet/event"
)

// mark is the file with the last ID that the embedded log has answered with. A log that ends
// before it has lost events: its next ones must not get the IDs of those again, or readers
// who had seen these would pass over the next unawares.
type mark struct {
	mu   sync.Mutex
	file *os.File
	last event.ID
}

// openMark opens the mark in the data folder, making it where it is missing. What cannot be
// read as an ID is none.
func openMark(dir string) (*mark, error) {
	name := filepath.Join(dir, "last-id")
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the last ID: %w", err)
	}
	m := &mark{}
	m.last, _ = event.ParseID(strings.TrimSpace(string(text))) // torn, it is as good as none
	if m.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open the last ID: %w", err)
	}
	return m, nil
}

// set notes an ID if it is later than the one noted. It is not synced: a process that is
// killed leaves it whole, and an older one, after a power cut, only shows less.
func (m *mark) set(id event.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id.Epoch() == m.last.Epoch() && id.Seq() <= m.last.Seq() {
		return
	}
	m.last = id
	// Always the same size, so that it needs no room that a full disk does not have.
	_, _ = m.file.WriteAt(fmt.Appendf(nil, "%-40s\n", id), 0)
}

// lost returns the ID noted, if it is one that the log, of the epoch and up to last, has lost.
func (m *mark) lost(epoch, last uint64) (event.ID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.last.Epoch() == epoch && m.last.Seq() > last
}

func (m *mark) close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}
