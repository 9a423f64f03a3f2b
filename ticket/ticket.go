package ticket

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"freshet/auth"
	"freshet/event"

	"github.com/golang-jwt/jwt/v5"
)

// How long a ticket lives if its request does not say, and at most.
const (
	DefaultLifetime = time.Hour
	MaxLifetime     = 24 * time.Hour
)

const (
	maxBytes = 4 << 10 // a ticket travels in a URL
	audience = "freshet-ticket"
	keyBytes = 32
	idRandom = 12 // bytes of an ID that are random; as many more are the tag
)

// Ticket describes a ticket to its owner. It does not contain the signed token.
type Ticket struct {
	ID      string
	Subject string         // of the caller who created it
	Topics  event.Patterns // the topics that it may read
	Publish event.Patterns // the topics that it may publish to
	Origin  string         // of the pages that may use it
	Expires time.Time
}

// claims is the payload of a ticket.
type claims struct {
	jwt.RegisteredClaims
	Topics   []string `json:"topics"`
	Publish  []string `json:"publish,omitempty"`
	Origin   string   `json:"origin"`
	Revision uint64   `json:"rev"` // of the Store, when the ticket was issued
}

// keys sign and verify tickets, and tag their IDs.
type keys struct {
	signing, tagging []byte
	parser           *jwt.Parser
}

// deriveKeys returns nil if the shared key is malformed.
func deriveKeys(shared []byte) *keys {
	signing, errSigning := hkdf.Key(sha256.New, shared, nil, "freshet ticket signature", keyBytes)
	tagging, errTagging := hkdf.Key(sha256.New, shared, nil, "freshet ticket ID", keyBytes)
	if errSigning != nil || errTagging != nil || len(shared) != keyBytes {
		return nil
	}
	return &keys{signing, tagging, jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithAudience(audience), jwt.WithExpirationRequired())}
}

func (k *keys) sign(t Ticket, revision uint64) (string, error) {
	c := claims{Origin: t.Origin, Revision: revision, RegisteredClaims: jwt.RegisteredClaims{
		ID: t.ID, Subject: t.Subject, Audience: jwt.ClaimStrings{audience},
		IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(t.Expires),
	}}
	c.Topics, c.Publish = t.Topics.Strings(), t.Publish.Strings()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(k.signing)
	if err == nil && len(token) > maxBytes {
		err = &event.InvalidError{Field: "topics", Reason: fmt.Sprintf(
			"need a ticket of %d bytes, and %d is the most for a URL; name fewer topics, or use patterns like orders.*", len(token), maxBytes)}
	}
	return token, err
}

// verify returns the caller that the ticket stands for, and the origin that it is bound to.
func (k *keys) verify(token string) (caller auth.Caller, origin string, err error) {
	var c claims
	if _, err := k.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return k.signing, nil }); err != nil {
		return auth.Caller{}, "", errInvalid // the library's reason would help only a forger
	}
	topics, err := event.ParsePatterns(c.Topics)
	publish, errPublish := event.ParsePatterns(c.Publish)
	if err != nil || errPublish != nil {
		return auth.Caller{}, "", errInvalid // issued by a version with other rules
	}
	return auth.TicketCaller(c.Subject, topics, publish, c.ExpiresAt.Time, auth.Ticket{ID: c.ID, Revision: c.Revision}), c.Origin, nil
}

// newID returns an ID for a ticket of the subject.
func (k *keys) newID(subject string) string {
	random := make([]byte, idRandom)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(append(random, k.tag(random, subject)...))
}

func (k *keys) tag(random []byte, subject string) []byte {
	mac := hmac.New(sha256.New, k.tagging)
	mac.Write(random)
	mac.Write([]byte(subject))
	return mac.Sum(nil)[:idRandom]
}

// decodeID returns nil if the text is no ID.
func decodeID(id string) []byte {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != 2*idRandom {
		return nil
	}
	return raw
}

// owns reports whether the decoded ID was issued to the subject.
func (k *keys) owns(subject string, id []byte) bool {
	return hmac.Equal(k.tag(id[:idRandom], subject), id[idRandom:])
}
