package main

import "fmt"

// books says which topic each event of the log has: the one publisher publishes them in
// the order of their sequences, so the sequence tells the topic.
type books struct {
	filled uint64 // how many events the log begins with
}

// rareEvents is how many of the first events have the topic rare.
const rareEvents = 10

func (b books) rare(seq uint64) bool {
	every := b.filled / rareEvents
	return seq <= b.filled && seq%every == every/2
}

// topic is one of a hundred, t.0.0 to t.9.9, or rare.
func (b books) topic(seq uint64) string {
	if b.rare(seq) {
		return "rare"
	}
	return fmt.Sprintf("t.%d.%d", seq%10, seq/10%10)
}

// selection is a pattern and what it selects.
type selection struct {
	pattern string
	due     func(seq uint64) bool
}

func (b books) all() selection {
	return selection{">", func(uint64) bool { return true }}
}

func (b books) rareTopic() selection {
	return selection{"rare", b.rare}
}

// tenth selects ten of the topics.
func (b books) tenth(n uint64) selection {
	return selection{fmt.Sprintf("t.%d.*", n), func(seq uint64) bool {
		return seq%10 == n && !b.rare(seq)
	}}
}

// hundredth selects one of the topics.
func (b books) hundredth(n uint64) selection {
	return selection{fmt.Sprintf("t.%d.%d", n%10, n/10), func(seq uint64) bool {
		return seq%100 == n && !b.rare(seq)
	}}
}
