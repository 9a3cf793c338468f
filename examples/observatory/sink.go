package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest/gin"
)

// checkSink returns what is wrong with the keys that say where an account delivers to.
func (a *account) checkSink() error {
	var known bool
	a.proof, known = map[string]gin.Level{"": gin.Replied, "replied": gin.Replied, "listed": gin.Listed, "downloaded": gin.Downloaded}[a.Proof]
	switch {
	case a.Sink != "" && a.Sink != "gin":
		return fmt.Errorf("sink is %q: want gin", a.Sink)
	case a.PasswordFile == "":
		return errors.New("password_file is missing: want a file with the account's password")
	case !known:
		return fmt.Errorf("proof is %q: want replied, listed or downloaded", a.Proof)
	}
	var err error
	a.client, err = gin.New(gin.Config{URL: a.URL, User: a.User, Password: a.password})
	return err
}

func (a *account) password(context.Context) (string, error) {
	return script.Secret("", a.PasswordFile)
}

func (a *account) sink() *gin.Sink { return &gin.Sink{Client: a.client, Proof: a.proof} }
