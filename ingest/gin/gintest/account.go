package gintest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// Account is a user of the service.
type Account struct {
	User     string
	Password string
	Stations []string // IAGA codes, in capitals; "*" stands for all
}

func (a *Account) may(station string) bool {
	return slices.Contains(a.Stations, station) || slices.Contains(a.Stations, "*")
}

// Check returns what is wrong with the accounts, as New does.
func (c *Config) Check() error {
	seen := map[string]bool{}
	for _, a := range c.Accounts {
		switch {
		case a.User == "" || strings.ContainsAny(a.User, " :\"\\\t\r\n"):
			return fmt.Errorf("gintest: account %q: want a name without blanks, colons and quotes", a.User)
		case a.Password == "":
			return fmt.Errorf("gintest: account %q has no password", a.User)
		case len(a.Stations) == 0:
			return fmt.Errorf("gintest: account %q has no stations", a.User)
		case seen[a.User]:
			return fmt.Errorf("gintest: account %q is there twice", a.User)
		}
		seen[a.User] = true
	}
	return nil
}

// Scheme is a way to authenticate.
type Scheme uint8

const (
	Basic        Scheme = iota // RFC 7617
	DigestMD5                  // RFC 7616, of which replayed requests are not told
	DigestSHA256               // the same
)

func (s Scheme) algorithm() string { return [...]string{"", "MD5", "SHA-256"}[s] }

const realm = "GINFileUpload"

// authenticate returns the account whose credentials a request has. stale says that
// they are right, but too old.
func (s *Server) authenticate(r *http.Request) (a *Account, stale bool) {
	if user, password, ok := r.BasicAuth(); ok && slices.Contains(s.config.Schemes, Basic) {
		if a = s.account(user); a != nil && equal(password, a.Password) {
			return a, false
		}
		return nil, false
	}
	c, err := digest.ParseCredentials(r.Header.Get("Authorization"))
	if err != nil || c.Realm != realm || c.URI != r.RequestURI || c.QOP != "auth" || !s.offers(c.Algorithm) {
		return nil, false
	}
	if a = s.account(c.Username); a == nil {
		return nil, false
	}
	challenge := digest.Challenge{Realm: realm, Nonce: c.Nonce, Algorithm: c.Algorithm, QOP: []string{"auth"}}
	want, err := digest.Digest(&challenge, digest.Options{
		Method: r.Method, URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce, Username: a.User, Password: a.Password,
	})
	if err != nil || !equal(want.Response, c.Response) {
		return nil, false
	}
	if !s.nonces.fresh(c.Nonce) {
		return nil, true
	}
	return a, false
}

func (s *Server) account(user string) *Account {
	i := slices.IndexFunc(s.config.Accounts, func(a Account) bool { return a.User == user })
	if i < 0 {
		return nil
	}
	return &s.config.Accounts[i]
}

func (s *Server) offers(algorithm string) bool {
	return algorithm != "" && slices.ContainsFunc(s.config.Schemes, func(o Scheme) bool { return o.algorithm() == algorithm })
}

// challenge asks for credentials.
func (s *Server) challenge(w http.ResponseWriter, stale bool) {
	for _, scheme := range s.config.Schemes {
		text := fmt.Sprintf("Basic realm=%q", realm)
		if scheme != Basic {
			c := digest.Challenge{Realm: realm, Nonce: s.nonces.next(), Algorithm: scheme.algorithm(), QOP: []string{"auth"}, Stale: stale}
			text = c.String()
		}
		w.Header().Add("WWW-Authenticate", text)
	}
	http.Error(w, "user and password are wanted", http.StatusUnauthorized)
}

func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// nonces are questions that hold for a while and need no memory: a time, and its MAC
// under a key of this process.
type nonces struct{ key []byte }

const nonceAge = 5 * time.Minute

func newNonces() nonces {
	key := make([]byte, 32)
	rand.Read(key)
	return nonces{key}
}

func (n nonces) next() string { return n.at(time.Now()) }

func (n nonces) at(t time.Time) string {
	second := strconv.FormatInt(t.Unix(), 16)
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(second))
	return second + "-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

func (n nonces) fresh(nonce string) bool {
	second, _, _ := strings.Cut(nonce, "-")
	unix, err := strconv.ParseInt(second, 16, 64)
	t := time.Unix(unix, 0)
	return err == nil && hmac.Equal([]byte(nonce), []byte(n.at(t))) && time.Since(t) < nonceAge
}
