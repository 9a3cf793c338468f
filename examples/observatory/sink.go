package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
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

// ginSink is a GIN that remembers what it said when it did not take a file.
type ginSink struct {
	gin.Sink
	trouble string // why it does not take any now
	refusal string // of the last file that it will not have
}

func (a *account) sink() *ginSink {
	return &ginSink{Sink: gin.Sink{Client: a.client, Proof: a.proof}}
}

func (s *ginSink) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	r := s.Sink.Send(ctx, b)
	switch {
	case r.Outcome == ingest.Stored:
		s.trouble = ""
	case r.Outcome == ingest.Refused:
		s.trouble, s.refusal = "", r.Text
	case ctx.Err() == nil: // else it was not the sink that ended it
		s.trouble = r.Text
	}
	return r
}

func (s *ginSink) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	r := s.Sink.Ask(ctx, b)
	switch {
	case r.Outcome == ingest.Stored:
		s.trouble, s.refusal = "", "" // it was refused because it is there
	case r.Outcome == ingest.Unknown && ctx.Err() == nil:
		s.trouble = r.Text
	}
	return r
}
