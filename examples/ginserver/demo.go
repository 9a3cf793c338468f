package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// demonstrate serves on the loopback, in memory, and is its own observatory.
func demonstrate(ctx context.Context, stdout io.Writer) error {
	password := rand.Text()
	s, err := gintest.New(gintest.Config{Accounts: []gintest.Account{{User: "imo-tst", Password: password, Stations: []string{"TST"}}}})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Start("127.0.0.1:0", nil); err != nil {
		return err
	}
	client, err := gin.New(gin.Config{
		URL: s.URL(), User: "imo-tst", Password: func(context.Context) (string, error) { return password, nil },
	})
	if err != nil {
		return err
	}
	f, err := gintest.Synthetic("TST", time.Now().Add(-10*time.Minute), 5, 0)
	if err != nil {
		return err
	}
	receipt, err := client.Upload(ctx, f.Name, f.Data)
	if err != nil {
		return err
	}
	list, err := client.Search(ctx, gin.Query{Stations: []string{f.Station}, SmallestID: receipt.ID})
	if err != nil {
		return err
	}
	if err := client.Verify(ctx, f, receipt.ID, gin.Downloaded); err != nil {
		return err
	}
	_, again := client.Upload(ctx, f.Name, f.Data)
	_, err = fmt.Fprintf(stdout, `That was a GIN's upload service on %s, with its own observatory:
  uploaded      %s, five synthetic minutes, %d bytes
  the reply     %s, id %d: %s
  the search    %s
  downloaded    the same bytes
  sent again    %v
Nothing of it is left. With -config it serves files for others: see ginserver -help.
`, s.URL(), f.Name, len(f.Data), receipt.Word, receipt.ID, receipt.Text, list[0], again)
	return err
}
