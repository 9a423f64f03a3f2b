package replay

import "fmt"

// topics knows the topic of each event. One publisher publishes them in order, so the sequence
// determines the topic.
type topics struct {
	filled uint64 // the number of events before the readers start
}

// rareEvents is how many of the first events have the topic rare.
const rareEvents = 10

func (t topics) rare(seq uint64) bool {
	every := t.filled / rareEvents
	return seq <= t.filled && seq%every == every/2
}

// topic is one of a hundred, t.0.0 to t.9.9, or rare.
func (t topics) topic(seq uint64) string {
	if t.rare(seq) {
		return "rare"
	}
	return fmt.Sprintf("t.%d.%d", seq%10, seq/10%10)
}

// selection is a pattern and the events that it matches.
type selection struct {
	pattern string
	due     func(seq uint64) bool
}

func (t topics) all() selection {
	return selection{">", func(uint64) bool { return true }}
}

func (t topics) rareTopic() selection {
	return selection{"rare", t.rare}
}

// tenth selects ten of the topics.
func (t topics) tenth(n uint64) selection {
	return selection{fmt.Sprintf("t.%d.*", n), func(seq uint64) bool {
		return seq%10 == n && !t.rare(seq)
	}}
}

// hundredth selects one of the topics.
func (t topics) hundredth(n uint64) selection {
	return selection{fmt.Sprintf("t.%d.%d", n%10, n/10), func(seq uint64) bool {
		return seq%100 == n && !t.rare(seq)
	}}
}
