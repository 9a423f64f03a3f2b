package natsconn

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// credentials reads the file now, and again for each connection. The option fails with [ErrCredentials].
func credentials(file string) nats.Option {
	return func(o *nats.Options) error {
		if file == "" {
			return nil
		}
		o.UserJWT = func() (string, error) {
			jwt, key, err := readCredentials(file)
			if err == nil {
				key.Wipe()
			}
			return jwt, err
		}
		o.SignatureCB = func(nonce []byte) ([]byte, error) {
			_, key, err := readCredentials(file)
			if err != nil {
				return nil, err
			}
			defer key.Wipe()
			return key.Sign(nonce)
		}
		_, err := o.UserJWT()
		return err
	}
}

// readCredentials returns the JSON web token and the key of a file that nsc writes. The caller wipes the key.
func readCredentials(file string) (string, nkeys.KeyPair, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	defer clear(content)
	jwt, err := nkeys.ParseDecoratedJWT(content)
	if err != nil || strings.Count(jwt, ".") != 2 || strings.ContainsAny(jwt, " \r\n") {
		return "", nil, fmt.Errorf("%w: %s has no user JWT: want a file such as nsc generate creds writes", ErrCredentials, file)
	}
	key, err := nkeys.ParseDecoratedUserNKey(content)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s has no valid user seed: want a file such as nsc generate creds writes", ErrCredentials, file)
	}
	return jwt, key, nil
}
