package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/sample"
)

// event is what happens in the demonstration.
type event struct {
	at time.Duration // since it began, or later if the one before it is not over
	do func() (over bool, err error)
}

func (w *world) events() []event {
	return []event{
		{outage, func() (bool, error) {
			w.out.Store(true)
			return true, w.say("THE RECEIVER FAILS: it takes one file, and its reply is lost; then it takes none")
		}},
		{mended, func() (bool, error) {
			w.out.Store(false)
			return true, w.say("THE RECEIVER IS MENDED")
		}},
		{correction, w.correct},
		{quiet, func() (bool, error) {
			w.still = true
			w.until = time.Now().Add(patience)
			return true, w.say("THE FILES GROW NO MORE")
		}},
		{quiet, func() (bool, error) {
			p, err := w.proof()
			if err == nil && p.all() {
				return true, nil
			}
			if err == nil && time.Now().After(w.until) {
				err = fmt.Errorf("not all was delivered in time: %v", p)
			}
			return false, err
		}},
	}
}

// show lets the station and the job be at work, and proves what has arrived.
func (w *world) show(ctx context.Context) error {
	err := w.say("half an hour of files is there; they grow, %d times as fast as they would", w.speed)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var working sync.WaitGroup
	w.last = w.now()
	if err := w.write(); err != nil {
		return err
	}
	working.Go(func() { w.deliver(ctx, w.real(time.Duration(w.Poll))) })
	err = w.happen(ctx)
	stop()
	working.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintln(w.stdout)
	if err := printStatus(w.stdout, w.board.statuses(), w.now()); err != nil {
		return err
	}
	p, err := w.proof()
	if err != nil {
		return err
	}
	if err := p.print(w.stdout); err != nil {
		return err
	}
	if !p.holds() {
		return errors.New("the proof does not hold")
	}
	return nil
}

// happen lets happen all events, while the files grow.
func (w *world) happen(ctx context.Context) error {
	tick := time.NewTicker(w.real(writing))
	defer tick.Stop()
	told := w.begin
	for events := w.events(); len(events) > 0; {
		select {
		case <-ctx.Done():
			return errors.New("stopped")
		case <-tick.C:
		}
		now := w.now()
		if !w.still {
			w.last = now
		}
		if err := w.write(); err != nil {
			return err
		}
		if now.Sub(told) >= telling {
			told = now
			if err := w.progress(); err != nil {
				return err
			}
		}
		if now.Sub(w.begin) < events[0].at {
			continue
		}
		over, err := events[0].do()
		if err != nil {
			return err
		}
		if over {
			events = events[1:]
		}
	}
	return nil
}

// real is how long a time of the demonstration takes.
func (w *world) real(d time.Duration) time.Duration { return d / time.Duration(w.speed) }

func (w *world) say(format string, args ...any) error {
	_, err := fmt.Fprintf(w.stdout, "%s  %s\n", w.now().Format(time.DateTime), fmt.Sprintf(format, args...))
	return err
}

func (w *world) write() error {
	for _, in := range w.instruments {
		if err := in.write(w.last); err != nil {
			return err
		}
	}
	return nil
}

// status is the newest; of the zero account before the first sweep.
func (w *world) status() *accountStatus {
	for _, a := range w.board.statuses() {
		return a
	}
	return new(accountStatus)
}

// progress says how far it is.
func (w *world) progress() error {
	made := 0
	for _, in := range w.instruments {
		made += in.measured(nil, w.last)
	}
	a := w.status()
	waiting := 0
	for _, s := range a.Streams {
		today, before := s.today()
		waiting += today.Waiting + before.Waiting
	}
	return w.say("rows: %d made, %d accepted, %d waiting; files: %d under way, %d in doubt",
		made, a.Counts.Accepted-a.Counts.Repeated-a.Counts.Corrections, waiting, a.UnderWay, a.InDoubt)
}

// correct gives other values to three minutes of the newest file of minutes that the receiver
// has, neither its first nor its last; if there is one of today.
func (w *world) correct() (over bool, err error) {
	for _, f := range w.receiver.Files() {
		if f.Format != 'B' || f.Start.Before(w.begin.Add(midnight)) || f.Duration < 5*time.Minute {
			continue
		}
		for i := range 3 {
			w.instruments[0].corrected[f.Start.Add(time.Duration(i+1)*time.Minute).UnixMilli()] = true
		}
		return true, w.say("A CORRECTION: three minutes of %s, which the receiver has, get other values", f.Name)
	}
	return false, nil
}

// proof is what was made, and what the receiver holds, in values.
type proof struct {
	Made, Held int
	Lost       int // made, and not held
	Wrong      int // held otherwise than they were made
	Strange    int // held, and not made
	Twice      int // came again as they were, beside those that a file of two rows needed
	Files      int // offered again, and known to the receiver
}

func (w *world) proof() (proof, error) {
	made := map[gintest.Sample]sample.Value{}
	for _, in := range w.instruments {
		in.measured(made, w.last)
	}
	holdings, err := w.receiver.Holdings()
	needed := w.status().Counts.Repeated * len(w.instruments[0].stream.series.Elements)
	return prove(made, holdings, needed, w.receiver.Identical()), err
}

// prove compares what was made with what is held. needed is how many values had to be sent
// again, and files how many files were offered again.
func prove(made map[gintest.Sample]sample.Value, held gintest.Holdings, needed, files int) proof {
	p := proof{Made: len(made), Twice: held.Repeated - needed, Files: files}
	for key, v := range held.Values {
		was, ok := made[key]
		switch {
		case !v.Measured():
			continue
		case !ok:
			p.Strange++
		case was != v:
			p.Wrong++
		}
		p.Held++
	}
	p.Lost = p.Made - (p.Held - p.Strange)
	return p
}

// all reports whether the receiver has all that was made.
func (p proof) all() bool { return p.Lost == 0 && p.Wrong == 0 }

// holds reports whether it has it once, and nothing else.
func (p proof) holds() bool { return p.all() && p.Strange == 0 && p.Twice == 0 && p.Files == 0 }

func (p proof) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `
The receiver was asked for all it holds:
  made   %d values
  held   %d values; %d lost, %d wrong, %d that nobody made
  twice  %d values, %d files
`, p.Made, p.Held, p.Lost, p.Wrong, p.Strange, p.Twice, p.Files)
	return err
}
