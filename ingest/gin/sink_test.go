package gin_test

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

var ids = julian.DateOf(noon)

// minutes is a stream of minutes of TST, whose file of the day has so many rows.
func minutes(t testing.TB, rows int) *ingest.Stream {
	t.Helper()
	f, err := gintest.Synthetic("TST", ids.In(time.UTC), rows, 0)
	require.NoError(t, err)
	r := iaga2002.NewReader(bytes.NewReader(f.Data), nil)
	h, err := r.Header()
	require.NoError(t, err)
	return &ingest.Stream{
		Name:   "min",
		Series: sample.Series{Station: "TST", Elements: r.Series().Elements, Cadence: time.Minute, Level: sample.Provisional},
		Source: ingest.Source{
			FS:     fstest.MapFS{"tst": {Data: f.Data, ModTime: noon}},
			File:   func(julian.Date) string { return "tst" },
			Parser: func(string) sample.Parser { return iaga2002.NewParser("") },
		},
		Format: h.Fragment,
		Cut:    ingest.Cut{Least: 2},
	}
}

func batch(t testing.TB, s *ingest.Stream, first, rows int) *ingest.Batch {
	t.Helper()
	b := &ingest.Batch{Stream: s}
	for slot := first; slot < first+rows; slot++ {
		r := sample.RowAt(ids.In(time.UTC).Add(time.Duration(slot) * time.Minute).UnixMilli())
		copy(r.Values[:], []sample.Value{sample.Value(slot), 2, 3, 4})
		b.Rows = append(b.Rows, r)
	}
	var err error
	b.Name, b.Data, err = s.Format(s.Series, b.Rows)
	require.NoError(t, err)
	return b
}

// Each answer of the service has its outcome, and what was left open can be asked.
func TestSink_TellsWhatBecameOfABatch(t *testing.T) {
	t.Parallel()
	var d demand
	server := start(t, gintest.Config{Fault: d.fault})
	sink := &gin.Sink{Client: newClient(t, server.URL(), func(c *gin.Config) { c.Answer = 300 * time.Millisecond })}
	s := minutes(t, 5)
	slot := 0
	for fault, want := range map[gintest.Fault]ingest.Outcome{
		gintest.None: ingest.Stored, gintest.SayInformation: ingest.Stored, gintest.SayWarning: ingest.Stored,
		gintest.SayError: ingest.Refused, gintest.SayException: ingest.Later, gintest.SayFatal: ingest.Later,
		gintest.Forbidden: ingest.Later, gintest.CutReply: ingest.Unknown, gintest.LoseReply: ingest.Unknown,
		gintest.GarbleReply: ingest.Unknown, gintest.CutBeforeStore: ingest.Unknown,
	} {
		slot += 10
		b := batch(t, s, slot, 3)
		d.set(gintest.Upload, fault)
		r := sink.Send(t.Context(), b)
		require.Equal(t, want, r.Outcome, "%v: %v", fault, r)
		require.NotEmpty(t, r.Text)
		require.Equal(t, want == ingest.Stored, r.ID != "")
		asked := sink.Ask(t.Context(), b)
		there := ingest.Later
		if fault == gintest.None || fault.Stores() {
			there = ingest.Stored
		}
		require.Equal(t, there, asked.Outcome, "%v: %v", fault, asked)
	}
	d.set(gintest.Search, gintest.CutReply)
	require.Equal(t, ingest.Unknown, sink.Ask(t.Context(), batch(t, s, 10, 3)).Outcome)
}

// A batch that the service says it has, and has not, is offered again.
func TestSink_ProvesTheArrival(t *testing.T) {
	t.Parallel()
	var d demand
	server := start(t, gintest.Config{Fault: d.fault})
	// A service that takes what it never keeps.
	liar := serve(t, forgetful(server.URL()))
	s := minutes(t, 5)
	sink := &gin.Sink{Client: newClient(t, liar), Proof: gin.Listed, Each: 2}
	first := sink.Send(t.Context(), batch(t, s, 0, 3))
	require.Equal(t, ingest.Later, first.Outcome)
	require.Contains(t, first.Text, "tst202403150000pmin.min")
	require.Equal(t, ingest.Stored, sink.Send(t.Context(), batch(t, s, 10, 3)).Outcome, "it is not its turn")
	require.Equal(t, ingest.Later, sink.Send(t.Context(), batch(t, s, 20, 3)).Outcome)
}

// A feed delivers a day, and what the service holds of it is what the source has; what
// is newer has the place of what is older.
func TestSink_HoldsWhatWasDelivered(t *testing.T) {
	t.Parallel()
	server := start(t, gintest.Config{})
	s := minutes(t, 720)
	sink := &gin.Sink{Client: newClient(t, server.URL()), Proof: gin.Downloaded}
	c := ingest.Config{Dir: t.TempDir(), Sink: sink, Streams: []*ingest.Stream{s}, Now: func() time.Time { return noon }}
	f, err := ingest.Open(c)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Sweep(t.Context()))
	checks, err := ingest.Verify(t.Context(), c, ids)
	require.NoError(t, err)
	require.Equal(t, []ingest.Check{{Stream: "min", Day: ids, Source: 720, Accepted: 720, Asked: true, Held: 720}}, checks)

	// Of another level, and then of this one.
	other := *s
	other.Level = sample.Variation
	h := iaga2002.Header{
		Source: "synthetic", Station: "none", Code: "TST", Latitude: "0.000", Longitude: "0.000", Elevation: "0",
		Reported: "XYZF", Orientation: "XYZF", Sampling: "1 second", Interval: "1-minute (00:30-01:29)", Type: "variation",
	}
	other.Format = h.Fragment
	require.Equal(t, ingest.Stored, sink.Send(t.Context(), batch(t, &other, 100, 3)).Outcome)
	require.Equal(t, ingest.Stored, sink.Send(t.Context(), batch(t, s, 200, 3)).Outcome)
	rows, err := sink.Held(t.Context(), s, ids)
	require.NoError(t, err)
	require.Len(t, rows, 720)
	require.EqualValues(t, 201, rows[201].Values[0])
	require.NotEqualValues(t, 101, rows[101].Values[0])
}

// forgetful passes requests on to a service, and finds nothing.
func forgetful(service string) http.HandlerFunc {
	to, err := url.Parse(service)
	if err != nil {
		panic(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
	}}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("Request") != string(gintest.Search) {
			proxy.ServeHTTP(w, r)
		}
	}
}

// The service is given time for what was offered a moment ago, and for nothing else.
func TestSink_WaitsOnlyForWhatMayBeUnderWay(t *testing.T) {
	t.Parallel()
	server := start(t, gintest.Config{})
	sink := &gin.Sink{Client: newClient(t, server.URL(), func(c *gin.Config) { c.Settle = 500 * time.Millisecond })}
	b := batch(t, minutes(t, 5), 0, 3)
	for _, tt := range []struct {
		doubt time.Time
		waits bool
	}{{time.Time{}, false}, {time.Now().Add(-time.Minute), false}, {time.Now(), true}} {
		b.Doubt = tt.doubt
		begun := time.Now()
		require.Equal(t, ingest.Later, sink.Ask(t.Context(), b).Outcome)
		require.Equal(t, tt.waits, time.Since(begun) >= 500*time.Millisecond, tt)
	}
}
