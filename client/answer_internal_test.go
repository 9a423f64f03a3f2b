package client

import (
	"strings"
	"testing"
)

// A request continues after piece 2, and the server then says that it has the pieces up to 5: the numbers of the others stay.
func TestPiecesThatAreStoredAlready(t *testing.T) {
	a := &Answer{stored: 5, unstored: []string{`"six"`, `"seven"`}, ended: true}
	var sent strings.Builder
	if err := a.write(t.Context(), &sent, 2); err != nil {
		t.Fatal(err)
	}
	if want := `""` + "\n" + `""` + "\n" + `""` + "\n" + `"six"` + "\n" + `"seven"` + "\n"; sent.String() != want {
		t.Errorf("sent %q, want %q", sent.String(), want)
	}
	sent.Reset()
	if err := a.write(t.Context(), &sent, 6); err != nil || sent.String() != `"seven"`+"\n" {
		t.Errorf("sent %q, %v", sent.String(), err)
	}
}
