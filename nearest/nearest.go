// Package nearest finds the known word that a misspelt word most likely means, for errors that ask "did you mean …?".
package nearest

import "strings"

// Word returns the known word that is nearest to word, and whether one is near at all: one edit away, or two in a word of six letters
// or more. An edit inserts, deletes or replaces a letter, or swaps two neighbors. Upper and lower case count as equal. If two known
// words are equally near, the first is returned. The word may come from a stranger: the work is bounded by the known words.
func Word(word string, known []string) (string, bool) {
	best, least := "", 3
	for _, candidate := range known {
		most := 1
		if len(candidate) >= 6 {
			most = 2
		}
		if d := distance(word, candidate, most); d <= most && d < least {
			best, least = candidate, d
		}
	}
	return best, best != ""
}

// distance returns the number of edits between two words (the optimal string alignment distance), or more than most.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	// Three rows of the table of distances between a's first i and b's first j bytes.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := 1
			if a[i-1] == b[j-1] {
				replace = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
