package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/julian"
)

// checked is what was found of an account.
type checked struct {
	account *account
	checks  []ingest.Check
	err     error
}

// verify compares a day of all accounts, and lets be sent again what was lost.
func (j *job) verify(ctx context.Context) (int, error) {
	if !j.day.IsValid() {
		j.day = julian.DateOf(j.now().UTC()).AddDays(-1)
	}
	resend := j.resend && !j.flags.DryRun
	if resend {
		unlock, err := script.Lock(j.State)
		if err != nil {
			return 0, fmt.Errorf("-resend wants the state to itself, stop the other first: %w", err)
		}
		defer unlock()
	}
	all := make([]checked, len(j.Accounts))
	var wg sync.WaitGroup
	for i := range all {
		a := &j.Accounts[i]
		wg.Go(func() {
			all[i].account = a
			all[i].checks, all[i].err = j.compare(ctx, a)
		})
	}
	wg.Wait()
	code := script.ExitOK
	for _, of := range all {
		if of.err != nil || of.differs() {
			code = script.ExitFailed
		}
	}
	var err error
	if j.flags.JSON {
		err = writeChecks(j.stdout, j.day, all)
	} else {
		err = printChecks(j.stdout, j.stderr, all)
	}
	if resend && err == nil {
		err = j.sendAgain(ctx, all)
	}
	return code, err
}

// compare compares the day of an account.
func (j *job) compare(ctx context.Context, a *account) ([]ingest.Check, error) {
	if err := a.folders(); err != nil {
		return nil, err
	}
	sink, to, err := a.to.open(ctx, j.logger)
	if err != nil {
		return nil, err
	}
	defer to.Close() // nothing is written there
	c := j.feedConfig(a, sink, j.logger)
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it was not swept yet")
	}
	return ingest.Verify(ctx, c, j.day)
}

// sendAgain lets the next sweep send what was lost.
func (j *job) sendAgain(ctx context.Context, all []checked) error {
	var errs []error
	for i, of := range all {
		if err := j.sendAgainOf(ctx, i, of.checks); err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", of.account.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (j *job) sendAgainOf(ctx context.Context, i int, checks []ingest.Check) error {
	d := j.delivery(i)
	lost := 0
	for _, c := range checks {
		lost += rowsIn(c.Lost)
	}
	if lost == 0 {
		return nil
	}
	if err := d.open(ctx); err != nil {
		return err
	}
	var errs []error
	for _, c := range checks {
		err := d.feed.Resend(c.Stream, c.Lost)
		if rows := rowsIn(c.Lost); err == nil && rows > 0 && !j.flags.JSON {
			_, err = fmt.Fprintf(j.stdout, "%s %s: the next sweep sends %d rows again\n", d.Name, c.Stream, rows)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.close())...)
}

func (c *checked) differs() bool {
	for _, of := range c.checks {
		if len(of.Waiting) > 0 || len(of.Lost) > 0 {
			return true
		}
	}
	return false
}

func printChecks(stdout, stderr io.Writer, all []checked) error {
	tw := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "account\tstream\tday\tsource\taccepted\theld\twaiting\tlost")
	for _, of := range all {
		if of.err != nil {
			fmt.Fprintf(stderr, "observatory: account %s: %v\n", of.account.Name, of.err)
		}
		for _, c := range of.checks {
			held := "not asked"
			if c.Asked {
				held = fmt.Sprint(c.Held)
			}
			fmt.Fprintf(tw, "%s\t%s\t%v\t%d\t%d\t%s\t%d\t%d\n",
				of.account.Name, c.Stream, c.Day, c.Source, c.Accepted, held, rowsIn(c.Waiting), rowsIn(c.Lost))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, of := range all {
		for _, c := range of.checks {
			printSpans(stdout, of.account.Name+" "+c.Stream+": not accepted", c.Waiting)
			printSpans(stdout, of.account.Name+" "+c.Stream+": not held", c.Lost)
		}
	}
	return nil
}

// printedSpans is how many spans are printed of a kind; -json has all.
const printedSpans = 20

func printSpans(w io.Writer, what string, spans []ingest.Span) {
	for i, s := range spans {
		if i == printedSpans {
			fmt.Fprintf(w, "%s: and %d rows in %d other spans\n", what, rowsIn(spans[i:]), len(spans)-i)
			return
		}
		fmt.Fprintf(w, "%s: %s to %s, rows %d\n", what, s.First.Format(time.DateTime), s.Last.Format(time.TimeOnly), s.Rows)
	}
}

func writeChecks(w io.Writer, day julian.Date, all []checked) error {
	type check struct {
		Account  string `json:"account"`
		Error    string `json:"error,omitempty"`
		Stream   string `json:"stream,omitempty"`
		Source   int    `json:"source"`
		Accepted int    `json:"accepted"`
		Held     *int   `json:"held,omitempty"` // none: the receiver was not asked
		Waiting  []span `json:"waiting,omitempty"`
		Lost     []span `json:"lost,omitempty"`
	}
	checks := []check{}
	for _, of := range all {
		if of.err != nil {
			checks = append(checks, check{Account: of.account.Name, Error: of.err.Error()})
		}
		for _, c := range of.checks {
			k := check{Account: of.account.Name, Stream: c.Stream, Source: c.Source, Accepted: c.Accepted, Waiting: spans(c.Waiting), Lost: spans(c.Lost)}
			if c.Asked {
				k.Held = &c.Held
			}
			checks = append(checks, k)
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"schema": "obskeep/observatory-verify/v1", "day": day, "checks": checks})
}
