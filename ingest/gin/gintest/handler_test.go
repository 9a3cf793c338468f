package gintest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// What the receiver's reader refuses is refused, and so is a name that is not the
// content's, more than a day, and what is neither minutes nor seconds.
func TestUpload_IsReadAsTheReceiverReads(t *testing.T) {
	t.Parallel()
	f := synthetic(t, "TST", noon, 0)
	text := string(f.Data)
	day, err := gintest.Synthetic("TST", noon, 1440, 0)
	require.NoError(t, err)
	rows := strings.SplitAfter(strings.TrimSuffix(string(day.Data), "\n"), "\n")
	long := string(day.Data) + strings.Replace(rows[len(rows)-1], "11:59", "12:00", 1) + "\n"
	for _, row := range []struct{ rule, name, data, says string }{
		{"a torn last row", f.Name, text[:len(text)-9], "LEN70"},
		{"a hole", f.Name, strings.Replace(text, rowOf(text, "12:02"), "", 1), "TIME-GAP"},
		{"no rows", f.Name, text[:strings.Index(text, "2024-03-15")], "NO-ROWS"},
		{"another station in the name", strings.Replace(f.Name, "tst", "cpl", 1), text, "NAME-MATCH"},
		{"another minute in the name", strings.Replace(f.Name, "1200", "1201", 1), text, "NAME-MATCH"},
		{"a type that is another", strings.Replace(f.Name, "pmin", "vmin", 1), text, "NAME-MATCH"},
		{"a name that is none", "data.txt", text, "NAME-FORM"},
		{"more than a day", day.Name, long, "DAY-LIMIT"},
		{"IMF under a name of IAGA-2002", f.Name, string(imfHour(t)), "LEN70"},
		{"IAGA-2002 under a name of IMF", "MAR1524.TST", text, "imf"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := start(t, gintest.Config{})
			_, err := client(t, s, "all", "a").Upload(t.Context(), row.name, []byte(row.data))
			requireRefused(t, err, row.says)
			require.Empty(t, s.Files())
		})
	}
	s := start(t, gintest.Config{})
	upload(t, client(t, s, "all", "a"), day)
}

func rowOf(text, clock string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, clock) {
			return line
		}
	}
	return ""
}

// imfHour is an hour of synthetic IMFV1.23.
func imfHour(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	h := imf.Header{Code: "TST", Elements: "XYZF", Type: 'A', GIN: "EDI", Colatitude: 727, Longitude: 789}
	w := imf.NewWriter(&b, &h)
	for i := range 60 {
		row := sample.RowAt(noon.Add(time.Duration(i) * time.Minute).UnixMilli())
		copy(row.Values[:], []sample.Value{395000, -2502, 173005, 431227})
		require.NoError(t, w.Write(row))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// A listing says of a file what it holds: for all three formats.
func TestSearch_ListsWhatAFileHolds(t *testing.T) {
	t.Parallel()
	now := noon.Add(36 * time.Hour)
	s := start(t, gintest.Config{Now: func() time.Time { return now }})
	c := client(t, s, "all", "a")
	minutes := synthetic(t, "TST", noon, 0)
	upload(t, c, minutes)
	_, err := c.Upload(t.Context(), imf.Name{Code: "TST", Day: julian.DateOf(noon)}.String(), imfHour(t))
	require.NoError(t, err)
	seconds := secondsOf(t, minutes.Data)
	_, err = c.Upload(t.Context(), "tst20240315120000vsec.sec", seconds)
	require.NoError(t, err)
	list, err := c.Search(t.Context(), gin.Query{})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]gin.Entry{
		{ID: 1, Station: "TST", Type: 'P', Format: 'B', Start: noon, Duration: 5 * time.Minute, Uploaded: now},
		{ID: 2, Station: "TST", Type: 'A', Format: 'A', Start: noon, Duration: time.Hour, Uploaded: now},
		{ID: 3, Station: "TST", Type: 'R', Format: 'C', Start: noon, Duration: 3 * time.Second, Uploaded: now},
	}, list))
	for _, row := range []struct {
		q    gin.Query
		want int
	}{
		{gin.Query{Format: 'C'}, 1}, {gin.Query{Type: 'A'}, 1}, {gin.Query{SmallestID: 2}, 2}, {gin.Query{Stations: []string{"HYB"}}, 0},
		{gin.Query{EarliestData: noon.Add(10 * time.Minute)}, 1}, {gin.Query{LatestUpload: now.Add(-time.Second)}, 0}, {gin.Query{MaxResults: 2}, 2},
	} {
		list, err := c.Search(t.Context(), row.q)
		require.NoError(t, err)
		require.Len(t, list, row.want, "%+v", row.q)
	}
}

// secondsOf makes three seconds of variation data of a file of minutes.
func secondsOf(t testing.TB, minutes []byte) []byte {
	t.Helper()
	r := iaga2002.NewReader(bytes.NewReader(minutes), nil)
	h, err := r.Header()
	require.NoError(t, err)
	h.Interval, h.Type = "1-second (501-1500)", "variation"
	var b bytes.Buffer
	w, err := iaga2002.NewWriter(&b, &h)
	require.NoError(t, err)
	for i := range 3 {
		row, err := r.Read()
		require.NoError(t, err)
		row.Time = noon.Add(time.Duration(i) * time.Second).UnixMilli()
		require.NoError(t, w.Write(row))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// The one public client sends with curl and digest: it is served, in each scheme.
//
// Not parallel: for a moment a new process has the locks of the other tests' folders.
func TestServer_ServesCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("curl is required: %v", err)
		}
		t.Skip("curl is not installed")
	}
	f := synthetic(t, "TST", noon, 0)
	file := filepath.Join(t.TempDir(), f.Name)
	require.NoError(t, os.WriteFile(file, f.Data, 0o644))
	for _, scheme := range []gintest.Scheme{gintest.Basic, gintest.DigestMD5, gintest.DigestSHA256} {
		s := start(t, gintest.Config{Schemes: []gintest.Scheme{scheme}})
		curl := func(args ...string) string {
			out, err := exec.Command("curl", append([]string{"-sS", "--anyauth", "-u", "all:a"}, args...)...).CombinedOutput()
			require.NoError(t, err, string(out))
			return string(out)
		}
		form := []string{"-F", "Request=Upload", "-F", "Format=plain", "-F", "File=@" + file + ";type=text/plain", s.URL() + "Cache"}
		require.Equal(t, "Success\nData loaded OK, data file id = 1\n", curl(form...))
		require.Equal(t, "Error\nThe file has been loaded before, with id 1\n", curl(form...))
		require.Contains(t, curl(s.URL()+"Cache?Request=Search&IAGACode=TST"), "  1 TST P B 2024-03-15 12:00:00   300 ")
		require.Equal(t, string(f.Data), curl(s.URL()+"Cache?Request=Download&Format=plain&ID=1"))
		require.Contains(t, curl(s.URL()+"Cache?Request=Search&Format=html"), "<pre>")
		require.Contains(t, curl(s.URL()+"Cache?Request=Search&EarliestData=now"), "Error\n")
		require.Contains(t, curl(s.URL()+"Cache?Request=Nothing"), "Error\n")
		require.Contains(t, curl("-F", "Request=Upload", s.URL()+"Cache"), "Error\n")
	}
}
