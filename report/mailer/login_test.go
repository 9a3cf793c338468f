package mailer_test

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer"
)

type mechanisms = map[string]func(check func(user, password string) error) sasl.Server

// Of the mechanisms that a server offers the strongest is used; a wrong
// password is refused by each and stays out of the error.
func TestSMTP_LogsInWithTheStrongestMechanism(t *testing.T) {
	t.Parallel()
	serverTLS, trusting := certified(t)
	for _, row := range []struct {
		rule string
		mechanisms
		want string
	}{
		{"PLAIN alone", mechanisms{"PLAIN": plainLogin}, "PLAIN"},
		{"LOGIN alone", mechanisms{"LOGIN": loginLogin}, "LOGIN"},
		{"SCRAM-SHA-256 alone", mechanisms{"SCRAM-SHA-256": scramLogin}, "SCRAM-SHA-256"},
		{"PLAIN before LOGIN", mechanisms{"LOGIN": loginLogin, "PLAIN": plainLogin}, "PLAIN"},
		{"SCRAM-SHA-256 before all", mechanisms{"LOGIN": loginLogin, "PLAIN": plainLogin, "SCRAM-SHA-256": scramLogin}, "SCRAM-SHA-256"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := (&server{tls: serverTLS, login: true, mechanisms: row.mechanisms}).start(t)
			client := mailer.SMTP{Addr: s.addr, TLS: trusting, Username: "supim", Password: password("secret")}
			require.NoError(t, client.Send(t.Context(), numbered(t, 1)))
			require.Len(t, s.messages(), 1)
			require.Equal(t, row.want, s.mechanism)

			client.Password = password("hunter2")
			err := client.Send(t.Context(), numbered(t, 2))
			require.Equal(t, "login", sendError(t, err).Step)
			require.Equal(t, 535, sendError(t, err).Code)
			require.NotContains(t, err.Error(), "hunter2")
			require.Len(t, s.messages(), 1)
		})
	}
}

// With SCRAM-SHA-256 the server proves that it knows the password, too; a wrong
// proof ends the login, and nothing is sent.
func TestSMTP_RefusesAServerWithAWrongProof(t *testing.T) {
	t.Parallel()
	serverTLS, trusting := certified(t)
	s := (&server{tls: serverTLS, login: true, mechanisms: mechanisms{
		"SCRAM-SHA-256": func(func(user, password string) error) sasl.Server { return &scramServer{impostor: true} },
	}}).start(t)
	client := mailer.SMTP{Addr: s.addr, TLS: trusting, Username: "supim", Password: password("secret")}
	require.Equal(t, "login", sendError(t, client.Send(t.Context(), numbered(t, 1))).Step)
	require.Empty(t, s.messages())
}

func plainLogin(check func(user, password string) error) sasl.Server {
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) })
}

// loginLogin is the server of LOGIN (draft-murchison-sasl-login).
func loginLogin(check func(user, password string) error) sasl.Server {
	return &loginServer{check: check}
}

type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// scramLogin is the server of SCRAM-SHA-256 (RFC 5802, 3 and RFC 7677) for
// supim and its password.
func scramLogin(func(user, password string) error) sasl.Server { return new(scramServer) }

type scramServer struct {
	impostor bool // it takes every proof, and has none of its own
	step     int
	first    string // client-first-message-bare, a comma, server-first-message
	nonce    string
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	const salt, iterations = "W22ZaJ0SNY7soEsUEjb6gQ==", 4096
	if s.step == 0 && response == nil {
		return nil, false, nil // for a client that waits to be asked
	}
	s.step++
	message := string(response)
	switch s.step {
	case 1:
		bare, ok := strings.CutPrefix(message, "n,,")
		user, nonce, _ := strings.Cut(bare, ",r=")
		if !ok || user != "n=supim" {
			return nil, true, smtp.ErrAuthFailed
		}
		s.nonce = nonce + "of the server"
		first := "r=" + s.nonce + ",s=" + salt + ",i=4096"
		s.first = bare + "," + first
		return []byte(first), false, nil
	case 2:
		bare, proof, _ := strings.Cut(message, ",p=")
		got, err := base64.StdEncoding.DecodeString(proof)
		if err != nil || bare != "c=biws,r="+s.nonce {
			return nil, true, smtp.ErrAuthFailed
		}
		saltBytes, err := base64.StdEncoding.DecodeString(salt)
		if err != nil {
			return nil, true, err
		}
		salted, err := pbkdf2.Key(sha256.New, "secret", saltBytes, iterations, sha256.Size)
		if err != nil {
			return nil, true, err
		}
		key := mac(salted, "Client Key")
		stored := sha256.Sum256(key)
		want := make([]byte, len(key))
		subtle.XORBytes(want, key, mac(stored[:], s.first+","+bare))
		signature := mac(mac(salted, "Server Key"), s.first+","+bare)
		switch {
		case s.impostor:
			signature[0]++
		case !hmac.Equal(want, got):
			return nil, true, smtp.ErrAuthFailed
		}
		return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), false, nil
	}
	return nil, true, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
