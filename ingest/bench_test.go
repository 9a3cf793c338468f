package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// The benchmarks deliver files of IAGA-2002 in folders, with a journal on the disk; those
// that say so through the upload service on the loopback, which stores on the disk as well:
//
//	go test -run '^$' -bench . -benchtime 1x ./ingest

var benchPattern = julian.MustParsePattern("%Y/%j/tst.txt")

// observatory makes the configuration of one with a minute stream whose files are in dir.
func observatory(code, state, dir string, sink ingest.Sink, now func() time.Time) ingest.Config {
	h := synthetic
	h.Code = code
	var elements []sample.Element
	for _, name := range []string{"X", "Y", "Z", "F"} {
		elements = append(elements, sample.Element{Name: name, Unit: "nT", Decimals: 2})
	}
	return ingest.Config{
		Dir: state, Sink: sink, Now: now, PerDay: 1440,
		Streams: []*ingest.Stream{{
			Name:   "min",
			Series: sample.Series{Station: code, Elements: elements, Cadence: time.Minute, Level: sample.Variation},
			Source: ingest.Source{
				FS: os.DirFS(dir), File: benchPattern.Format,
				Parser: func(string) sample.Parser { return iaga2002.NewParser("") },
			},
			Format: h.Fragment,
			Cut:    ingest.Cut{Least: 2, Every: 5 * time.Minute},
		}},
	}
}

// writeDay writes the file of a day with so many rows.
func writeDay(b *testing.B, code, dir string, date julian.Date, rows int) {
	h := synthetic
	h.Code = code
	var text bytes.Buffer
	w, err := iaga2002.NewWriter(&text, &h)
	require.NoError(b, err)
	for _, r := range rowsOf(date, 0, rows, func(slot int) sample.Value { return sample.Value(2e6 + slot) }) {
		r.Values[2], r.Values[3] = 1730050, 4312270
		require.NoError(b, w.Write(r))
	}
	require.NoError(b, w.Close())
	name := filepath.Join(dir, benchPattern.Format(date))
	require.NoError(b, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(b, os.WriteFile(name, text.Bytes(), 0o600))
}

// upload is a server of the upload service on the disk, and a sink for a station.
func upload(b *testing.B) (*gintest.Server, func(code string) *gin.Sink) {
	server, err := gintest.New(gintest.Config{
		Dir: b.TempDir(), Accounts: []gintest.Account{{User: "imo", Password: "secret", Stations: []string{"*"}}},
	})
	require.NoError(b, err)
	b.Cleanup(func() { server.Close() })
	require.NoError(b, server.Start("127.0.0.1:0", nil))
	return server, func(string) *gin.Sink {
		client, err := gin.New(gin.Config{URL: server.URL(), User: "imo", Password: func(context.Context) (string, error) { return "secret", nil }})
		require.NoError(b, err)
		return &gin.Sink{Client: client}
	}
}

// null takes everything.
type null struct{}

func (null) Send(context.Context, *ingest.Batch) ingest.Receipt {
	return ingest.Receipt{Outcome: ingest.Stored}
}

func percentile(times []time.Duration, p float64) float64 {
	slices.Sort(times)
	return float64(times[min(len(times)-1, int(p*float64(len(times))))].Microseconds()) / 1000
}

// BenchmarkLatency is from the end of two rows written until their outcome is durable.
func BenchmarkLatency(b *testing.B) {
	for _, c := range []struct {
		name string
		poll time.Duration
		hint bool
	}{{"notified", time.Hour, true}, {"polled every 100 ms", 100 * time.Millisecond, false}} {
		b.Run(c.name, func(b *testing.B) {
			_, sink := upload(b)
			dir := b.TempDir()
			c2 := observatory("TST", b.TempDir(), dir, sink("TST"), nil)
			c2.PerDay, c2.Streams[0].Cut.Every = 0, 0
			second := synthetic
			second.Interval, second.Type = "1-second", "variation"
			c2.Streams[0].Cadence, c2.Streams[0].Format = time.Second, second.Fragment
			f, err := ingest.Open(c2)
			require.NoError(b, err)
			defer f.Close()
			hints, swept := make(chan struct{}, 1), make(chan time.Time, 1<<16)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				f.Run(ctx, c.poll, hints, func(err error) {
					require.NoError(b, err)
					swept <- time.Now()
				})
				close(ended)
			}()
			date := julian.DateOf(time.Now().UTC())
			writeSeconds := benchFile(b, dir, date, &second)
			writeSeconds(0, 2)
			for f.Counts().Accepted < 2 {
				select {
				case hints <- struct{}{}:
				default:
				}
				time.Sleep(10 * time.Millisecond)
			}
			var times []time.Duration
			b.ResetTimer()
			for i := range max(b.N, 400) {
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				for len(swept) > 0 {
					<-swept
				}
				written := writeSeconds(2*i+2, 2*i+4)
				if c.hint {
					hints <- struct{}{}
				}
				for f.Counts().Accepted < 2*i+4 {
					<-swept
				}
				times = append(times, time.Since(written))
			}
			cancel()
			<-ended
			b.ReportMetric(percentile(times, 0.5), "p50-ms")
			b.ReportMetric(percentile(times, 0.99), "p99-ms")
		})
	}
}

// benchFile begins a file of seconds, and returns what adds rows to it.
func benchFile(b *testing.B, dir string, date julian.Date, h *iaga2002.Header) func(first, end int) time.Time {
	name := filepath.Join(dir, benchPattern.Format(date))
	require.NoError(b, os.MkdirAll(filepath.Dir(name), 0o700))
	file, err := os.Create(name)
	require.NoError(b, err)
	b.Cleanup(func() { file.Close() })
	var rows []sample.Row
	done := 0
	return func(first, end int) time.Time {
		for slot := first; slot < end; slot++ {
			r := sample.RowAt(date.In(time.UTC).Add(time.Duration(slot) * time.Second).UnixMilli())
			copy(r.Values[:], []sample.Value{sample.Value(2e6 + slot), 5, 1730050, 4312270})
			rows = append(rows, r)
		}
		_, text, err := h.Fragment(sample.Series{}, rows)
		require.NoError(b, err)
		_, err = file.Write(text[done:])
		require.NoError(b, err)
		done = len(text)
		return time.Now()
	}
}

// BenchmarkThousandStreams is how long after it was written a row of one of 1,000 files, to
// each of which a row is added every second, is accepted; and the memory of it all.
func BenchmarkThousandStreams(b *testing.B) {
	const streams = 1000
	dir := b.TempDir()
	base := observatory("TST", b.TempDir(), dir, nil, nil)
	base.PerDay = 0
	var mu sync.Mutex
	written := map[string]time.Time{} // by stream and time of the row
	var times []time.Duration
	base.Sink = sinkFunc(func(batch *ingest.Batch) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range batch.Rows {
			times = append(times, time.Since(written[fmt.Sprint(batch.Stream.Name, r.Time)]))
		}
	})
	one := base.Streams[0]
	base.Streams = nil
	for i := range streams {
		s := *one
		s.Name = fmt.Sprintf("s%04d", i)
		s.Cadence, s.Cut = time.Second, ingest.Cut{}
		s.Elements = s.Elements[:3]
		s.Source.File = julian.MustParsePattern("%Y/%j/" + s.Name).Format
		s.Source.Parser = func(string) sample.Parser { return lines{s.Elements} }
		s.Format = func(_ sample.Series, rows []sample.Row) (string, []byte, error) { return "-", text(rows, 3), nil }
		base.Streams = append(base.Streams, &s)
	}
	f, err := ingest.Open(base)
	require.NoError(b, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	hints := make(chan struct{}, 1)
	go func() {
		f.Run(ctx, time.Second, hints, func(err error) { require.NoError(b, err) })
		close(ended)
	}()
	date := julian.DateOf(time.Now().UTC())
	require.NoError(b, os.MkdirAll(filepath.Join(dir, filepath.Dir(base.Streams[0].Source.File(date))), 0o700))
	begin := time.Now().Truncate(time.Second)
	for second := range 20 {
		for i, s := range base.Streams {
			// Evenly over the second.
			time.Sleep(time.Until(begin.Add(time.Duration(second+1)*time.Second + time.Duration(i)*time.Millisecond)))
			t := begin.Add(time.Duration(second) * time.Second)
			file, err := os.OpenFile(filepath.Join(dir, s.Source.File(date)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			require.NoError(b, err)
			mu.Lock()
			written[fmt.Sprint(s.Name, t.UnixMilli())] = time.Now()
			mu.Unlock()
			_, err = fmt.Fprintf(file, "%d %d 5 7\n", t.UnixMilli(), i)
			require.NoError(b, err)
			require.NoError(b, file.Close())
			select {
			case hints <- struct{}{}:
			default:
			}
		}
	}
	time.Sleep(2 * time.Second)
	cancel()
	<-ended
	mu.Lock()
	defer mu.Unlock()
	require.Len(b, times, 20*streams)
	b.ReportMetric(percentile(times, 0.5), "p50-ms")
	b.ReportMetric(percentile(times, 0.99), "p99-ms")
	b.ReportMetric(float64(vmHWM(b))/1024, "MiB-of-memory")
}

type sinkFunc func(*ingest.Batch)

func (s sinkFunc) Send(_ context.Context, b *ingest.Batch) ingest.Receipt {
	s(b)
	return ingest.Receipt{Outcome: ingest.Stored}
}

// vmHWM is the most memory that this process has had, in KiB.
func vmHWM(b *testing.B) (kib int) {
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(b, err)
	return kib
}

// BenchmarkBytesOfADay is what is sent of a minute stream in a day, every 300 s.
func BenchmarkBytesOfADay(b *testing.B) {
	for b.Loop() {
		dir, now := b.TempDir(), at(0, 0)
		sent, files := 0, 0
		c := observatory("TST", b.TempDir(), dir, sinkFunc(func(batch *ingest.Batch) {
			sent += len(batch.Data)
			files++
		}), func() time.Time { return now })
		f, err := ingest.Open(c)
		require.NoError(b, err)
		for minute := 2; minute <= 1440; minute++ {
			now = at(0, minute)
			writeDay(b, "TST", dir, day, minute)
			require.NoError(b, f.Sweep(b.Context()))
		}
		require.NoError(b, f.Close())
		b.ReportMetric(float64(sent)/1e6, "MB")
		b.ReportMetric(float64(files), "files")
	}
}

// BenchmarkBacklog delivers three days of a hundred observatories through the upload service.
func BenchmarkBacklog(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		server, sink := upload(b)
		now := at(0, 1)
		var feeds []*ingest.Feed
		for i := range 100 {
			code, dir := fmt.Sprintf("A%c%c", 'A'+i/10, 'A'+i%10), b.TempDir()
			for d := 1; d <= 3; d++ {
				writeDay(b, code, dir, day.AddDays(-d), 1440)
			}
			f, err := ingest.Open(observatory(code, b.TempDir(), dir, sink(code), func() time.Time { return now }))
			require.NoError(b, err)
			feeds = append(feeds, f)
		}
		b.StartTimer()
		var group errgroup.Group
		for _, f := range feeds {
			group.Go(func() error { return f.Sweep(b.Context()) })
		}
		require.NoError(b, group.Wait())
		b.StopTimer()
		held, err := server.Holdings()
		require.NoError(b, err)
		require.Len(b, held.Values, 100*3*1440*4)
		b.ReportMetric(float64(len(server.Files()))/100, "files/observatory")
		for _, f := range feeds {
			require.NoError(b, f.Close())
		}
		b.StartTimer()
	}
}

// BenchmarkRestart opens the state of a hundred observatories with 30 days each, and sweeps
// once: until it is known that nothing is to be done.
func BenchmarkRestart(b *testing.B) {
	now := at(12, 0)
	var configs []ingest.Config
	for i := range 100 {
		code, dir := fmt.Sprintf("A%c%c", 'A'+i/10, 'A'+i%10), b.TempDir()
		for d := 1; d <= 30; d++ {
			writeDay(b, code, dir, day.AddDays(-d), 1440)
		}
		c := observatory(code, b.TempDir(), dir, null{}, func() time.Time { return now })
		c.Days = 30
		configs = append(configs, c)
	}
	all := func() {
		var group errgroup.Group
		group.SetLimit(runtime.GOMAXPROCS(0))
		for _, c := range configs {
			group.Go(func() error {
				f, err := ingest.Open(c)
				if err != nil {
					return err
				}
				defer f.Close()
				return f.Sweep(b.Context())
			})
		}
		require.NoError(b, group.Wait())
	}
	all()
	for b.Loop() {
		all()
	}
}
