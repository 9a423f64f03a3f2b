package handlers

import (
	"net/netip"
	"sync"

	"github.com/gin-gonic/gin"
)

// addressOf is what a client is counted by: its IPv4 address, or the /64 of its IPv6
// address, as that is the least that one customer has. It is what the router holds for the
// client's address, which depends on the proxies that it trusts. Clients without one, such
// as those of a Unix socket, are all one: the zero Prefix.
func addressOf(c *gin.Context) netip.Prefix {
	address, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if address = address.Unmap(); address.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(address, bits).Masked()
}

// addresses counts what each client address has open, and refuses one more than most. It
// holds those that have something open and no others. It is safe for concurrent use.
type addresses struct {
	most int // 0: no limit, and nothing is counted

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func newAddresses(most int) *addresses {
	return &addresses{most: most, open: map[netip.Prefix]int{}}
}

// enter says whether the address may open one more. Each that entered leaves.
func (a *addresses) enter(address netip.Prefix) bool {
	if a.most == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[address] >= a.most {
		return false
	}
	a.open[address]++
	return true
}

func (a *addresses) leave(address netip.Prefix) {
	if a.most == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[address]--; a.open[address] == 0 {
		delete(a.open, address)
	}
}
