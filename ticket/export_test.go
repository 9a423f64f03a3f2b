package ticket

// Len is the number of revocations in memory.
func (t *Tickets) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.revoked)
}
