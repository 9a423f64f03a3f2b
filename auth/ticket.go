package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"freshet/event"
)

// Ticket is what a ticket stands for: some of a token's rights, for pages of one origin.
type Ticket struct {
	ID      string         // names it to its owner; nobody redeems it by that
	Subject string         // the token's
	Topics  event.Patterns // that it reads
	Origin  string         // of the pages that redeem it
	Expires time.Time      // with the token; zero: never
}

// May is nil if the ticket reads all that the pattern selects.
func (t Ticket) May(p event.Pattern) error {
	if slices.ContainsFunc(t.Topics, func(own event.Pattern) bool { return own.Covers(p) }) {
		return nil
	}
	return fmt.Errorf("%w: the ticket does not read %s", ErrForbidden, p)
}

// Caller is whoever has redeemed the ticket.
func (t Ticket) Caller() Caller {
	return Caller{&identity{subject: t.Subject, read: widest(t.Topics), expires: t.Expires}}
}

// How long tickets live.
const (
	// ticketIdle is how long a ticket lives after it was last in use.
	ticketIdle = time.Minute
	// ticketSecret is the bytes of a ticket, and ticketID those of its hash that are its ID.
	ticketSecret = 32
	ticketID     = 16
	// maxRecord is how large a stored ticket may be.
	maxRecord = 4 << 10
)

// errTicket is for all tickets that are not redeemed, so that it helps nobody who guesses.
var errTicket = fmt.Errorf("%w: the ticket is not valid here: it is unknown or revoked, its token has expired, or it was not in use for a minute; get a new one with POST /ticket",
	ErrUnauthenticated)

// errForeignTicket is for who has the ticket, and no guesser.
var errForeignTicket = fmt.Errorf("%w: the ticket is for pages of another origin; get one for this page's origin with POST /ticket", ErrForbidden)

// newSecret makes a ticket as its owner holds it.
func newSecret() string {
	random := make([]byte, ticketSecret)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(random)
}

// idOf is the part of the secret's hash that names it. The store has only this: who reads it redeems nothing.
func idOf(secret string) (id string, ok bool) {
	if len(secret) != base64.RawURLEncoding.EncodedLen(ticketSecret) {
		return "", false
	}
	hash := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(hash[:ticketID]), true
}

func wellFormedID(id string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(raw) == ticketID
}

// Origin is what a request tells of the page that sent it.
type Origin struct {
	Header string // the header Origin, which browsers send with what crosses origins
	Site   string // the header Sec-Fetch-Site, which the newer ones send where they trust the connection
	Host   string // that the request was sent to
}

// is says whether the page is of the ticket's origin. A browser sends no Origin when a page gets from its own origin. It says
// then that it is the same-origin; an older one says nothing, and that the origin is this host has to do.
func (o Origin) is(origin string) bool {
	if o.Header != "" {
		return o.Header == origin || o.Header == "null" && o.Site == "same-origin"
	}
	if o.Site != "" {
		return o.Site == "same-origin"
	}
	return origin == "http://"+o.Host || origin == "https://"+o.Host
}

// ParseOrigin returns the origin as browsers send it: lower case, without the default port.
func ParseOrigin(text string) (string, error) {
	bad := &event.InvalidError{Field: "origin", Reason: `must be that of the page, as scheme://host[:port], such as "https://app.example"`}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || len(text) > 300 || (u.Path != "" && u.Path != "/") ||
		u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "" {
		return "", bad
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	for _, c := range host + scheme {
		if c <= ' ' || c > '~' {
			return "", bad
		}
	}
	switch port := u.Port(); {
	case scheme == "http" && port == "80", scheme == "https" && port == "443", port == "":
		host = strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
	}
	return scheme + "://" + host, nil
}

// record is a ticket as it is stored.
type record struct {
	Subject string   `json:"subject,omitempty"`
	Topics  []string `json:"topics"`
	Origin  string   `json:"origin"`
	Expires int64    `json:"expires,omitempty"` // milliseconds of Unix time, as all times here
	Used    int64    `json:"used"`              // when it was last in use, as far as is known, or made
	Nodes   []string `json:"nodes,omitempty"`   // that have it in use, as long as they have a lease
}

func (r record) expires() time.Time {
	if r.Expires == 0 {
		return time.Time{}
	}
	return time.UnixMilli(r.Expires)
}

func (r record) ticket(id string) (Ticket, error) {
	t := Ticket{ID: id, Subject: r.Subject, Origin: r.Origin, Expires: r.expires()}
	for _, text := range r.Topics {
		p, err := event.ParsePattern(text)
		if err != nil {
			return Ticket{}, err
		}
		t.Topics = append(t.Topics, p)
	}
	return t, nil
}

// keep is how long the store keeps the record. That is only to let go of what is dead for long; one in use is written
// again in time.
func (r record) keep(now time.Time, fresh bool) time.Duration {
	keep := 10 * time.Minute
	switch {
	case len(r.Nodes) > 0:
		keep = leaseKept
	case fresh:
		keep = 2 * ticketIdle
	}
	if r.Expires != 0 {
		keep = min(keep, r.expires().Sub(now)+ticketIdle)
	}
	return keep
}

func (r record) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err == nil && len(text) > maxRecord {
		err = &event.InvalidError{Field: "topics", Reason: "are too many for a ticket; name fewer, or patterns like orders.*"}
	}
	return text, err
}

func decodeRecord(value []byte) (record, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, errors.New("auth: a stored ticket is malformed")
	}
	return r, nil
}
