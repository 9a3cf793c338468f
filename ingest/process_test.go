package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// TestMain is also the process that is killed.
func TestMain(m *testing.M) {
	if text := os.Getenv("INGEST_TEST_STATION"); text != "" {
		var s station
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			panic(err)
		}
		s.feed()
	}
	os.Exit(m.Run())
}

// station is what a process of the campaign needs to know. Its clock runs fast.
type station struct {
	State, Source, URL string
	Epoch              time.Time // of the machine's clock, when it is Begin on the station's
	Begin              time.Time
}

const faster = 600 // a minute in a tenth of a second

func (s *station) now() time.Time {
	return s.Begin.Add(faster * time.Since(s.Epoch)).Truncate(time.Millisecond)
}

var synthetic = iaga2002.Header{
	Source: "synthetic, of no institute", Station: "Of no observatory", Code: "TST",
	Latitude: "0.000", Longitude: "0.000", Elevation: "0", Reported: "XYZF", Orientation: "XYZF",
	Sampling: "1 second", Interval: "1-minute (00:30-01:29)", Type: "variation",
}

func (s *station) config() (ingest.Config, error) {
	client, err := gin.New(gin.Config{
		URL: s.URL, User: "imo-tst", Password: func(context.Context) (string, error) { return "secret", nil },
		Connect: 2 * time.Second, Send: 2 * time.Second, Answer: 300 * time.Millisecond, Settle: 150 * time.Millisecond,
	})
	if err != nil {
		return ingest.Config{}, err
	}
	var elements []sample.Element
	for _, name := range []string{"X", "Y", "Z", "F"} {
		elements = append(elements, sample.Element{Name: name, Unit: "nT", Decimals: 2})
	}
	return ingest.Config{
		Dir: s.State, Sink: patient{&gin.Sink{Client: client, Proof: gin.Downloaded, Each: 5}}, Now: s.now,
		Streams: []*ingest.Stream{{
			Name:   "min",
			Series: sample.Series{Station: "TST", Elements: elements, Cadence: time.Minute, Level: sample.Variation},
			Source: ingest.Source{
				FS:     os.DirFS(s.Source),
				File:   julian.MustParsePattern("tst%Y%j.min").Format,
				Parser: func(string) sample.Parser { return iaga2002.NewParser("") },
			},
			Format: synthetic.Fragment,
			Cut:    ingest.Cut{Least: 2, Every: 3 * time.Minute},
		}},
	}, nil
}

// patient lets the receiver end what it may be at, as the time of a station is another one
// than the client's.
type patient struct{ *gin.Sink }

func (p patient) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	again := *b
	if !again.Doubt.IsZero() {
		again.Doubt = time.Now()
	}
	return p.Sink.Ask(ctx, &again)
}

// feed delivers until it is killed.
func (s *station) feed() {
	c, err := s.config()
	if err != nil {
		panic(err)
	}
	var f *ingest.Feed
	for f == nil {
		// The process before it may not have ended yet.
		if f, err = ingest.Open(c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(time.Millisecond)
		}
	}
	f.Run(context.Background(), 20*time.Millisecond, nil, func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

// A process that delivers is killed again and again, while the receiver has faults; in the
// end the receiver has each row, no file was sent twice, and none came that had
// nothing new.
func TestSweep_SurvivesKills(t *testing.T) {
	t.Parallel()
	runs := 8
	if os.Getenv("OBSKEEP_CAMPAIGN") == "full" {
		runs = 500
	}
	kills := make(chan int, runs)
	t.Run("group", func(t *testing.T) {
		for seed := range uint64(runs) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				kills <- killed(t, random(seed))
			})
		}
	})
	close(kills)
	total := 0
	for n := range kills {
		total += n
	}
	t.Logf("%d runs, %d kills", runs, total)
}

func killed(t *testing.T, r *rand.Rand) (kills int) {
	calm := false
	faults := slices.DeleteFunc(gintest.Faults(), func(f gintest.Fault) bool {
		return f == gintest.SlowStore || f == gintest.SayError // a refusal is believed for a day
	})
	server, err := gintest.New(gintest.Config{
		Accounts: []gintest.Account{{User: "imo-tst", Password: "secret", Stations: []string{"TST"}}},
		Delay:    400 * time.Millisecond,
		Fault: func(gintest.Request) gintest.Fault {
			if f := faults[rand.IntN(len(faults))]; !calm && rand.IntN(4) == 0 {
				return f
			}
			return gintest.None
		},
	})
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, server.Start("127.0.0.1:0", nil))
	dir := t.TempDir()
	s := station{
		State: filepath.Join(dir, "state"), Source: filepath.Join(dir, "source"), URL: server.URL(),
		Epoch: time.Now(), Begin: at(23, 30),
	}
	require.NoError(t, os.Mkdir(s.Source, 0o700))
	text, err := json.Marshal(s)
	require.NoError(t, err)

	truth := map[int64]sample.Row{}
	hidden := map[int64]bool{}
	measure := func() {
		for slot := at(23, 0); slot.Before(s.now()); slot = slot.Add(time.Minute) {
			k := slot.UnixMilli()
			row, ok := truth[k]
			if !ok {
				row = sample.RowAt(k)
				copy(row.Values[:], []sample.Value{sample.Value(r.IntN(9999)), sample.Value(r.IntN(9999)), 7, sample.NotObserved})
				hidden[k] = r.IntN(10) == 0
			}
			if !calm && r.IntN(100) == 0 {
				row.Values[r.IntN(3)]++
			}
			hidden[k] = hidden[k] && !calm && r.IntN(20) != 0
			truth[k] = row
		}
		for _, date := range []julian.Date{day, day.AddDays(1)} {
			var b bytes.Buffer
			w, err := iaga2002.NewWriter(&b, &synthetic)
			require.NoError(t, err)
			n := 0
			for slot := date.In(time.UTC); julian.DateOf(slot) == date; slot = slot.Add(time.Minute) {
				row, ok := truth[slot.UnixMilli()]
				if !ok || hidden[slot.UnixMilli()] {
					row = sample.RowAt(slot.UnixMilli())
					copy(row.Values[:], []sample.Value{sample.Missing, sample.Missing, sample.Missing, sample.NotObserved})
				}
				if slot.Before(s.now()) {
					require.NoError(t, w.Write(row))
					n++
				}
			}
			if n < 2 {
				continue
			}
			require.NoError(t, w.Close())
			// In place, so that it is seen half written.
			require.NoError(t, os.WriteFile(filepath.Join(s.Source, julian.MustParsePattern("tst%Y%j.min").Format(date)), b.Bytes(), 0o600))
		}
	}

	for time.Since(s.Epoch) < 6*time.Second {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "INGEST_TEST_STATION="+string(text))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		for end := time.Now().Add(time.Duration(r.IntN(300)) * time.Millisecond); time.Now().Before(end); {
			measure()
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		}
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait() // it was killed
		require.NotContains(t, stderr.String(), "damaged")
		kills++
	}

	calm = true
	measure()
	c, err := s.config()
	require.NoError(t, err)
	f, err := ingest.Open(c)
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		f.Run(ctx, 20*time.Millisecond, nil, nil)
		close(ended)
	}()
	want := 3 * len(truth)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		held, err := server.Holdings()
		require.NoError(c, err)
		n := 0
		for s, v := range held.Values {
			if row, ok := truth[s.Time]; ok && s.Element != "F" && v == row.Values[strings.Index("XYZ", s.Element)] {
				n++
			}
		}
		require.Equal(c, want, n)
	}, 20*time.Second, 100*time.Millisecond)
	cancel()
	<-ended

	held, err := server.Holdings()
	require.NoError(t, err)
	for s, v := range held.Values {
		e := strings.Index("XYZ", s.Element)
		row, ok := truth[s.Time]
		require.True(t, ok || v == sample.Missing, s)
		if ok && e >= 0 {
			require.Equal(t, row.Values[e], v, s)
		}
	}
	require.Zero(t, server.Identical())
	nothingNew(t, server)
	return kills
}

// nothingNew checks that each file had something new.
func nothingNew(t *testing.T, server *gintest.Server) {
	have := map[int64]sample.Row{}
	for _, file := range server.Files() {
		data, err := server.Data(file.ID)
		require.NoError(t, err)
		r := iaga2002.NewReader(bytes.NewReader(data), nil)
		fresh := false
		for row, err := r.Read(); err == nil; row, err = r.Read() {
			fresh = fresh || have[row.Time] != row
			have[row.Time] = row
		}
		require.True(t, fresh, file.Name)
	}
}
