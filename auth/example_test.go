package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"regexp"
	"time"

	"freshet/auth"

	"github.com/golang-jwt/jwt/v5"
)

var isID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// tokenFor returns a token that reads the topics of a logged-in user for ten minutes.
func tokenFor(userID, secret string) (string, error) {
	if !isID.MatchString(userID) { // "*" would match the topics of all users
		return "", errors.New("not an ID")
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": userID, "exp": time.Now().Add(10 * time.Minute).Unix(),
		"freshet": map[string]any{"subscribe": []string{"user." + userID + ".>"}},
	}).SignedString([]byte(secret))
}

// A backend signs a token for one user, and a server with the same secret accepts it.
func Example() {
	const secret = "a secret of at least 32 bytes, ideally random"
	keys, err := auth.New(auth.Config{JWTSecret: secret})
	if err != nil {
		log.Print(err)
		return
	}
	for _, id := range []string{"17", "*"} {
		token, err := tokenFor(id, secret)
		if err != nil {
			fmt.Printf("%q: %v\n", id, err)
			continue
		}
		caller, err := keys.Authenticate(context.Background(), token)
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Printf("%q reads %v, publishing: %v\n", id, caller.Readable(), caller.MayPublish("user.17.news"))
	}
	// Output:
	// "17" reads [user.17.>], publishing: not allowed: the token does not allow publishing
	// "*": not an ID
}
