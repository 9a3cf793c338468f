package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/gin"
)

// ginTable is the [account.gin] table: the upload service of a GIN.
type ginTable struct {
	asFiles
	URL          string `toml:"url"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	Proof        string `toml:"proof"` // of arrival, on the first file and every 20th: replied (default), listed or downloaded

	client *gin.Client
	proof  gin.Level
}

func (t *ginTable) check(a *account) error {
	a.PerDay = cmp.Or(a.PerDay, 1440)
	var known bool
	t.proof, known = map[string]gin.Level{"": gin.Replied, "replied": gin.Replied, "listed": gin.Listed, "downloaded": gin.Downloaded}[t.Proof]
	switch {
	case t.PasswordFile == "":
		return errors.New("gin.password_file is missing: want a file with the account's password")
	case !known:
		return fmt.Errorf("gin.proof is %q: want replied, listed or downloaded", t.Proof)
	}
	var err error
	t.client, err = gin.New(gin.Config{URL: t.URL, User: t.User, Password: password(t.PasswordFile)})
	return err
}

func (t *ginTable) open(ctx context.Context, _ *slog.Logger) (ingest.Sink, io.Closer, error) {
	if _, err := password(t.PasswordFile)(ctx); err != nil {
		return nil, nil, err
	}
	return &gin.Sink{Client: t.client, Proof: t.proof}, closer(func() {}), nil
}
