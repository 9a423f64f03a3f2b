package eventlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"freshet/event"
)

// lastAckedID is the file with the last ID that the embedded log acknowledged. A log that ends
// before it has lost events. If new events got the IDs of the lost ones, readers that have
// seen those would skip the new ones unnoticed. A nil lastAckedID records nothing.
type lastAckedID struct {
	mu   sync.Mutex
	file *os.File
	id   event.ID
}

// openLastAcked opens the file in the data folder, creating it if missing. Content that is
// not an ID counts as none.
func openLastAcked(dir string) (*lastAckedID, error) {
	file, err := os.OpenFile(filepath.Join(dir, "last-id"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the last acknowledged ID: %w", err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read the last acknowledged ID: %w", errors.Join(err, file.Close()))
	}
	id, _ := event.ParseID(strings.TrimSpace(string(text)))
	return &lastAckedID{file: file, id: id}, nil
}

// record writes an ID that is later than the recorded one. It does not sync: a killed process
// leaves the file whole, and after a power cut an older ID only detects less.
func (a *lastAckedID) record(id event.ID) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if id.Epoch() == a.id.Epoch() && id.Seq() <= a.id.Seq() {
		return
	}
	a.id = id
	// The size is constant, so that writing works on a full disk.
	_, _ = a.file.WriteAt(fmt.Appendf(nil, "%-40s\n", id), 0)
}

// isBeyond returns the recorded ID, and whether it is of this epoch and later than last.
func (a *lastAckedID) isBeyond(epoch, last uint64) (event.ID, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id, a.id.Epoch() == epoch && a.id.Seq() > last
}

func (a *lastAckedID) close() error {
	if a == nil {
		return nil
	}
	if err := a.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
