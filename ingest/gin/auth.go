package gin

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/icholy/digest"
)

// auth is how the server wants requests to be signed (RFC 7617, RFC 7616).
type auth struct {
	known  bool // an answer has been seen
	basic  bool
	digest *digest.Challenge // goes before basic
	count  int               // of uses of the challenge
}

// learn reads the question for credentials in an answer, if there is one.
func (h *auth) learn(a answer) {
	*h = auth{known: true}
	if a.status != http.StatusUnauthorized {
		return
	}
	if challenge, err := digest.FindChallenge(a.header); err == nil {
		h.digest = challenge
		return
	}
	for _, challenge := range a.header.Values("WWW-Authenticate") {
		scheme, _, _ := strings.Cut(challenge, " ")
		h.basic = h.basic || strings.EqualFold(scheme, "Basic")
	}
}

// sign adds the credentials to a request, if they have been asked for.
func (h *auth) sign(req *http.Request, user, password string) error {
	if h.basic {
		req.SetBasicAuth(user, password)
	}
	if h.digest == nil {
		return nil
	}
	h.count++
	credentials, err := digest.Digest(h.digest, digest.Options{
		Method: req.Method, URI: req.URL.RequestURI(), GetBody: req.GetBody,
		Count: h.count, Username: user, Password: password,
	})
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	req.Header.Set("Authorization", credentials.String())
	return nil
}

// passwordError says that there is no password to sign with.
type passwordError struct{ err error }

func (e *passwordError) Error() string { return "there is no password: " + e.err.Error() }
func (e *passwordError) Unwrap() error { return e.err }
