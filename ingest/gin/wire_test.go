package gin_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// ParseReply reads the replies as they are described.
func TestParseReply_ReadsRepliesOfRealFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(sampletest.RealFiles(t), "synthetic", "idea")
	for name, want := range map[string]gin.Reply{
		"upload_success.txt": {Word: gin.Success, ID: 1234567, Text: "Data loaded OK, data file id = 1234567"},
		"upload_warning.txt": {Word: gin.Warning, ID: 1234568, Text: "Data loaded OK, data file id = 1234568\nUnable to remove old cache element"},
		"upload_error.txt":   {Word: gin.Error, Text: "Incorrect line length at line number 391"},
		"upload_fatal.txt":   {Word: gin.Fatal, Text: "The service is not configured"},
	} {
		body, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := gin.ParseReply(body)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got), name)
		require.Equal(t, string(body), got.String())
	}
	body, err := os.ReadFile(filepath.Join(dir, "search_plain.txt"))
	require.NoError(t, err)
	list, err := gin.ParseListing(body)
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Empty(t, cmp.Diff(gin.Entry{
		ID: 1234565, Station: "CPL", Type: 'P', Format: 'B', Duration: 5 * time.Minute,
		Start:    time.Date(2024, 3, 15, 3, 50, 0, 0, time.UTC),
		Uploaded: time.Date(2024, 3, 15, 3, 56, 12, 0, time.UTC),
	}, list[0]))
	var again strings.Builder
	for _, e := range list {
		again.WriteString(e.String() + "\n")
	}
	require.Equal(t, string(body), again.String())
}

// A listing with a line that is no row is not believed at all.
func TestParseListing_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	const row = "            1234565 CPL P B 2024-03-15 03:50:00   300 2024-03-15 03:56:12\n"
	list, err := gin.ParseListing([]byte(row + strings.TrimRight(row, "\n")))
	require.NoError(t, err)
	require.Len(t, list, 2)
	list, err = gin.ParseListing([]byte(strings.Replace(row, "           1234565", "9223372036854775807", 1)))
	require.NoError(t, err)
	require.EqualValues(t, 1<<63-1, list[0].ID)
	for rule, bad := range map[string]string{
		"a page":                  "<html>\n",
		"a blank line":            row + "\n",
		"a row that was cut":      row + row[:60],
		"a fraction of a time":    strings.Replace(row, "12\n", "1\n", 1),
		"an id of zero":           strings.Replace(row, "1234565", "      0", 1),
		"an id beyond 64 bits":    strings.Replace(row, "           1234565", "9999999999999999999", 1),
		"a month that is none":    strings.Replace(row, "-03-15 03:5", "-13-15 03:5", 1),
		"a type of two letters":   strings.Replace(row, " P ", " PP ", 1),
		"a negative duration":     strings.Replace(row, "  300", " -300", 1),
		"a station of no letters": strings.Replace(row, "CPL", "   ", 1),
		"one field more":          strings.Replace(row, "\n", " x\n", 1),
	} {
		_, err := gin.ParseListing([]byte(row + bad))
		require.ErrorIs(t, err, gin.ErrReply, rule)
	}
}

// The parameters of a query have those names, and ParseQuery reads what Values writes.
func TestQuery_HasTheNamesOfTheNote(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 3, 15, 3, 55, 0, 0, time.FixedZone("", 3600))
	q := gin.Query{
		Stations: []string{"CPL", "HYB"}, Type: 'P', Format: 'B', EarliestData: at, LatestData: at.Add(time.Hour),
		EarliestUpload: at, LatestUpload: at.Add(time.Minute), SmallestID: 7, LargestID: 9, MaxResults: 3,
	}
	v := q.Values()
	require.Empty(t, cmp.Diff(url.Values{
		"Request": {"Search"}, "Format": {"plain"}, "IAGACode": {"CPL,HYB"}, "TypeCode": {"P"}, "FormatCode": {"B"},
		"EarliestData": {"2024-03-15 02:55:00"}, "LatestData": {"2024-03-15 03:55:00"}, "EarliestUpload": {"2024-03-15 02:55:00"},
		"LatestUpload": {"2024-03-15 02:56:00"}, "SmallestID": {"7"}, "LargestID": {"9"}, "MaxNResults": {"3"},
	}, v))
	back, err := gin.ParseQuery(v)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(v, back.Values()))
	require.Empty(t, cmp.Diff(url.Values{"Request": {"Search"}, "Format": {"plain"}}, gin.Query{}.Values()))
	all, err := gin.ParseQuery(url.Values{"TypeCode": {"Z"}, "FormatCode": {"Z"}})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(gin.Query{}, all))
	for name, value := range map[string]string{
		"TypeCode": "PP", "FormatCode": "BB", "EarliestData": "yesterday", "LatestUpload": "2024-03-15", "SmallestID": "-1", "LargestID": "x", "MaxNResults": "-1",
	} {
		_, err := gin.ParseQuery(url.Values{name: {value}})
		require.ErrorContains(t, err, name)
	}
}

// A query matches an entry by each of its parts, and data that lie in its time in part.
func TestQuery_Matches(t *testing.T) {
	t.Parallel()
	e := gin.Entry{ID: 7, Station: "CPL", Type: 'P', Format: 'B', Start: noon, Duration: 5 * time.Minute, Uploaded: noon.Add(time.Hour)}
	end, up := noon.Add(5*time.Minute), e.Uploaded
	for _, row := range []struct {
		rule string
		q    gin.Query
		want bool
	}{
		{"all", gin.Query{}, true},
		{"the station", gin.Query{Stations: []string{"HYB", "cpl"}}, true},
		{"another station", gin.Query{Stations: []string{"HYB"}}, false},
		{"type and format", gin.Query{Type: 'P', Format: 'B'}, true},
		{"another type", gin.Query{Type: 'R'}, false},
		{"another format", gin.Query{Format: 'C'}, false},
		{"the last second", gin.Query{EarliestData: end.Add(-time.Second)}, true},
		{"after the end", gin.Query{EarliestData: end}, false},
		{"the first second", gin.Query{LatestData: noon}, true},
		{"before the start", gin.Query{LatestData: noon.Add(-time.Second)}, false},
		{"the time of the upload", gin.Query{EarliestUpload: up, LatestUpload: up}, true},
		{"uploaded later", gin.Query{EarliestUpload: up.Add(time.Second)}, false},
		{"uploaded before", gin.Query{LatestUpload: up.Add(-time.Second)}, false},
		{"the id", gin.Query{SmallestID: 7, LargestID: 7}, true},
		{"a greater id", gin.Query{SmallestID: 8}, false},
		{"a smaller id", gin.Query{LargestID: 6}, false},
	} {
		require.Equal(t, row.want, row.q.Matches(e), row.rule)
	}
}

// What ParseReply takes has one of six words as its whole first line, an id exactly if
// it is stored, and is read the same when it is written again.
func FuzzParseReply_RoundTrips(f *testing.F) {
	f.Add([]byte("Success\nData loaded OK, data file id = 1234567\n"))
	f.Add([]byte("Warning\r\nData loaded OK, data file id = 1\r\nmore\r\n"))
	f.Add([]byte("Error\nno"))
	f.Add([]byte("Error\nno\r"))
	f.Add([]byte("Error\nno\r\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := gin.ParseReply(body)
		if err != nil {
			require.ErrorIs(t, err, gin.ErrReply)
			return
		}
		first, _, _ := strings.Cut(string(body), "\n")
		require.Equal(t, string(r.Word), strings.TrimSuffix(first, "\r"))
		require.Equal(t, r.Word.Stored(), r.ID > 0)
		again, err := gin.ParseReply([]byte(r.String()))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

// What ParseListing takes is read the same when it is written again.
func FuzzParseListing_RoundTrips(f *testing.F) {
	f.Add([]byte("            1234565 CPL P B 2024-03-15 03:50:00   300 2024-03-15 03:56:12\n"))
	f.Add([]byte("1 ABCD Q C 0001-01-01 00:00:00 0 9999-12-31 23:59:59\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := gin.ParseListing(body)
		if err != nil {
			require.ErrorIs(t, err, gin.ErrReply)
			return
		}
		var b strings.Builder
		for _, e := range list {
			b.WriteString(e.String() + "\n")
		}
		again, err := gin.ParseListing([]byte(b.String()))
		require.NoError(t, err, "%q", b.String())
		require.Empty(t, cmp.Diff(list, again))
	})
}
