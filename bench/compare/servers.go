package compare

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"

	"freshet/bench/load"
	"freshet/bench/server"
)

// The servers' names in flags and figures.
const (
	minimal       = "minimal"
	freshet       = "freshet"
	freshetStream = "freshet-stream"
	plainGin      = "gin"
	goSSE         = "go-sse"
	r3labs        = "r3labs"
	nchan         = "nchan"
)

func serverNames() []string {
	return []string{minimal, freshet, freshetStream, plainGin, goSSE, r3labs, nchan}
}

// ours reports whether the server is Freshet, which must not lose anything.
func ours(name string) bool { return name == freshet || name == freshetStream }

// instance is a running server.
type instance struct {
	*server.Process
	name    string
	target  load.Target
	counter string // path of a stream of counts, if it has one
}

var rivalReady = regexp.MustCompile(`^ready (\S+)`)

// start starts the server. The flags are for Freshet alone. The caller stops the server.
func (b *bench) start(ctx context.Context, name string, flags ...string) (*instance, error) {
	s := &instance{name: name, target: load.Target{Read: "/event", Publish: "/publish"}}
	var err error
	switch name {
	case freshet, freshetStream:
		flags = append(flags, "--log-level", "warn", "--max-connections-per-address", "0") // rivals do not log requests either
		if name == freshetStream {
			flags = append(flags, "--park", "off")
		}
		if s.Process, err = b.freshet.Start(ctx, flags...); err != nil {
			return nil, err
		}
		s.target = load.Target{
			Read: "/event/" + topic, Publish: "/event/" + topic, Bulk: "/event",
			Header: "Authorization: Bearer " + s.Token + "\r\n",
		}
		s.counter = "/event/counter"
	case nchan:
		s.Process, err = server.StartNchan(ctx, b.Nchan)
	default:
		cmd := exec.CommandContext(ctx, b.self, "serve", name) //nolint:gosec // this program
		cmd.Stderr = os.Stderr
		s.Process, err = server.Start(cmd, rivalReady)
		s.counter = "/counter" // of the minimal server
	}
	if err != nil {
		return nil, err
	}
	s.target.Address = s.Address
	return s, nil
}

// firstID returns the last event ID of a reader that has read only the first event. The server
// answered its publish with the given text.
func (s *instance) firstID(answer []byte) (string, error) {
	if !ours(s.name) {
		return "0", nil // the rivals that have IDs begin with it
	}
	var a struct{ ID string }
	err := json.Unmarshal(answer, &a)
	return a.ID, err
}
