package gin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// Reconcile finds a stored file, under the id that it has: among files of the same
// station and time, and whatever the words of the reply would have been.
func TestReconcile_FindsAStoredFile(t *testing.T) {
	t.Parallel()
	for _, fault := range []gintest.Fault{gintest.LoseReply, gintest.CutReply, gintest.CutInReply, gintest.BreakReply, gintest.GarbleReply} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			var next demand
			s := start(t, gintest.Config{Fault: next.fault})
			c := newClient(t, s.URL(), func(c *gin.Config) { c.Answer = time.Second })
			known, err := c.Upload(t.Context(), synthetic(t, noon, 1).Name, synthetic(t, noon, 1).Data)
			require.NoError(t, err)
			next.set(gintest.Upload, fault)
			f := synthetic(t, noon, 2) // the same station and time, another value
			_, err = c.Upload(t.Context(), f.Name, f.Data)
			require.Equal(t, "unknown", outcome(err), "%v", err)

			id, found, err := c.Reconcile(t.Context(), f, known.ID)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, known.ID+1, id)
		})
	}
}

// Reconcile says "not there" only of a file that no answer of the service holds: not
// when it cannot be told.
func TestReconcile_SaysNotThereOnlyWhenItIsNot(t *testing.T) {
	t.Parallel()
	var next demand
	s := start(t, gintest.Config{Delay: time.Second, Fault: next.fault})
	c := newClient(t, s.URL(), func(c *gin.Config) { c.Answer = 500 * time.Millisecond })
	f, other := synthetic(t, noon, 1), synthetic(t, noon, 2)
	_, err := c.Upload(t.Context(), other.Name, other.Data)
	require.NoError(t, err)
	_, found, err := c.Reconcile(t.Context(), f, 0)
	require.NoError(t, err)
	require.False(t, found)

	receipt, err := c.Upload(t.Context(), f.Name, f.Data)
	require.NoError(t, err)
	harmless := []gintest.Fault{gintest.Unauthorized, gintest.SayInformation, gintest.SayWarning, gintest.SlowStore}
	for _, question := range []gintest.Request{gintest.Search, gintest.Download} {
		for _, fault := range gintest.Faults() {
			next.set(question, fault)
			id, found, err := c.Reconcile(t.Context(), f, 0)
			if err == nil && slices.Contains(harmless, fault) {
				require.Equal(t, receipt.ID, id)
				continue
			}
			require.Error(t, err, "%s %v", question, fault)
			require.False(t, found)
		}
	}
	next.set(gintest.Search, gintest.None)
	_, found, err = c.Reconcile(t.Context(), f, receipt.ID)
	require.NoError(t, err)
	require.False(t, found, "an id that is not greater is not the file's")
}

// A file that the service stores after its connection broke is found by the second
// question.
func TestReconcile_WaitsForWhatTheServiceIsAt(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{Delay: time.Second, Fault: once(gintest.Upload, gintest.SlowStore)})
	c := newClient(t, s.URL(), func(c *gin.Config) { c.Answer, c.Settle = 100*time.Millisecond, 2*time.Second })
	f := synthetic(t, noon, 0)
	_, err := c.Upload(t.Context(), f.Name, f.Data)
	require.Equal(t, "unknown", outcome(err), "%v", err)
	_, found, err := c.Find(t.Context(), f, 0)
	require.NoError(t, err)
	require.False(t, found, "the service has not stored it yet")
	_, found, err = c.Reconcile(t.Context(), f, 0)
	require.NoError(t, err)
	require.True(t, found)
}

// Verify proves as much as its level says: that the id was given, that it is listed, and
// that the bytes are the same.
func TestVerify_ProvesAsMuchAsItsLevel(t *testing.T) {
	t.Parallel()
	f := synthetic(t, noon, 0)
	row := gin.Entry{ID: 7, Station: "TST", Type: 'P', Format: 'B', Start: noon, Duration: 5 * time.Minute, Uploaded: noon.Add(time.Hour)}
	shifted, elsewhere := row, row
	shifted.Start = noon.Add(time.Minute)
	elsewhere.Station = "CPL"
	broken := strings.Replace(string(f.Data), "39", "93", 1)
	for _, c := range []struct {
		rule    string
		id      int64
		listing []gin.Entry
		file    string
		holds   []bool // for each level
	}{
		{"all is well", 7, []gin.Entry{row}, string(f.Data), []bool{true, true, true}},
		{"there is no id", 0, []gin.Entry{row}, string(f.Data), []bool{false, false, false}},
		{"the listing is empty", 7, nil, string(f.Data), []bool{true, false, false}},
		{"the listing has another time", 7, []gin.Entry{shifted}, string(f.Data), []bool{true, false, false}},
		{"the listing has another station", 7, []gin.Entry{elsewhere}, string(f.Data), []bool{true, false, false}},
		{"a byte is another", 7, []gin.Entry{row}, broken, []bool{true, true, false}},
		{"a byte is missing", 7, []gin.Entry{row}, string(f.Data[:len(f.Data)-1]), []bool{true, true, false}},
		{"the file is long", 7, []gin.Entry{row}, string(f.Data) + strings.Repeat(" ", 1<<20), []bool{true, true, false}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("Request") == "Download" {
					io.WriteString(w, c.file)
					return
				}
				for _, e := range c.listing {
					fmt.Fprintln(w, e)
				}
			}))
			for level, holds := range c.holds {
				err := client.Verify(t.Context(), f, c.id, gin.Level(level))
				if holds {
					require.NoError(t, err, "V%d", level)
					continue
				}
				_, ok := errors.AsType[*gin.MissingError](err)
				require.True(t, ok, "V%d: %v", level, err)
			}
		})
	}
}

// Verify says that a file is missing only if the service answers so: silence is no proof.
func TestVerify_SilenceIsNoProof(t *testing.T) {
	t.Parallel()
	f := synthetic(t, noon, 0)
	for _, question := range []gintest.Request{gintest.Search, gintest.Download} {
		for _, fault := range []gintest.Fault{gintest.Unavailable, gintest.Garbage, gintest.CutInReply, gintest.SayFatal} {
			s := start(t, gintest.Config{Fault: once(question, fault)})
			c := newClient(t, s.URL())
			receipt, err := c.Upload(t.Context(), f.Name, f.Data)
			require.NoError(t, err)
			err = c.Verify(t.Context(), f, receipt.ID, gin.Downloaded)
			require.Equal(t, "later", outcome(err), "%s %v: %v", question, fault, err)
			require.NoError(t, c.Verify(t.Context(), f, receipt.ID, gin.Downloaded))
		}
	}
}
