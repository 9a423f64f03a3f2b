package app

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine is longer than the data of any event (--max-body), so a longer line is refused without being kept in memory.
const maxLine = 32 << 20

// line is a line of the input, without its end. Its number counts from 1.
type line struct {
	number int
	text   string
	err    error // it is too long, and text is empty
}

// readLines sends the lines of the input that are not empty, and closes out at its end. It sends at once what has arrived.
func readLines(in io.Reader, out chan<- []line) error {
	defer close(out)
	r := bufio.NewReaderSize(in, 64<<10)
	var lines []line
	for number := 1; ; number++ {
		l, err := readLine(r)
		if l.number = number; l.text != "" || l.err != nil {
			lines = append(lines, l)
		}
		waiting, _ := r.Peek(r.Buffered())
		if len(lines) > 0 && (err != nil || bytes.IndexByte(waiting, '\n') < 0) {
			out <- lines
			lines = nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("line %d: standard input cannot be read: %w", number, err)
		}
	}
}

// readLine returns the next line. The error is for the input, also together with its last line.
func readLine(r *bufio.Reader) (l line, err error) {
	var text []byte
	for {
		piece, errPiece := r.ReadSlice('\n')
		if len(text)+len(piece) > maxLine {
			l.err, text = fmt.Errorf("the line is longer than %d MiB", maxLine>>20), nil
		}
		if l.err == nil {
			text = append(text, piece...)
		}
		if !errors.Is(errPiece, bufio.ErrBufferFull) {
			text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\r'})
			l.text = string(text)
			return l, errPiece
		}
	}
}

func sizeOf(lines []line) (size int) {
	for _, l := range lines {
		size += len(l.text) + 32 // and a share of the JSON around it
	}
	return size
}
