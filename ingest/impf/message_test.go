package impf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

const (
	missing = sample.Missing
	absent  = sample.NotObserved
)

var four = time.Date(2024, 3, 15, 4, 1, 0, 0, time.UTC)

// series returns one with elements such as "XYZS", of two decimals.
func series(cadence time.Duration, elements string) sample.Series {
	s := sample.Series{Station: "TST", Cadence: cadence, Level: sample.Variation}
	for _, e := range elements {
		unit := "nT"
		if e == 'D' || e == 'I' {
			unit = "arcmin"
		}
		s.Elements = append(s.Elements, sample.Element{Name: string(e), Unit: unit, Decimals: 2})
	}
	return s
}

// rows returns rows from a time on.
func rows(start time.Time, cadence time.Duration, values ...[]sample.Value) []sample.Row {
	var rows []sample.Row
	for i, v := range values {
		r := sample.RowAt(start.Add(time.Duration(i) * cadence).UnixMilli())
		copy(r.Values[:], v)
		rows = append(rows, r)
	}
	return rows
}

func message(t *testing.T, s sample.Series, rows []sample.Row) (topic, payload string) {
	t.Helper()
	topic, data, err := impf.Metadata{}.Message(s, rows)
	require.NoError(t, err)
	return topic, string(data)
}

// Message writes the decimals of a value as they are, a missing one as null, and never a
// fill value.
func TestMessage_WritesValuesAsTheyAre(t *testing.T) {
	t.Parallel()
	var _ ingest.Format = impf.Metadata{}.Message
	topic, payload := message(t, series(time.Minute, "XYZS"), rows(four, time.Minute,
		[]sample.Value{3950010, -25025, 5}, []sample.Value{missing, -1, -100, 4312271}))
	require.Equal(t, "impf/tst/pt1m/1/xyzs", topic)
	require.Equal(t, `{"startDate":"2024-03-15T04:01","geomagneticFieldX":[39500.10,null],"geomagneticFieldY":[-250.25,-0.01],`+
		`"geomagneticFieldZ":[0.05,-1.00],"geomagneticFieldS":[null,43122.71]}`, payload)

	whole := series(time.Second, "HDZ")
	whole.Level = sample.QuasiDefinitive
	for i := range whole.Elements {
		whole.Elements[i].Decimals = []int{0, 1, 4}[i]
	}
	topic, payload = message(t, whole, rows(four, time.Second, []sample.Value{39500, -2178, 1}))
	require.Equal(t, "impf/tst/pt1s/3/hdzs", topic)
	require.Equal(t, `{"startDate":"2024-03-15T04:01:00","geomagneticFieldH":[39500],"geomagneticFieldD":[-217.8],"geomagneticFieldZ":[0.0001]}`, payload)

	for _, code := range []sample.Value{9999900, -9999900, 8888800, 9999999} {
		_, _, err := impf.Metadata{}.Message(series(time.Minute, "XYZ"), rows(four, time.Minute, []sample.Value{code, 1, 1}))
		require.Error(t, err)
	}
}

// Message leaves out what is not observed, if nothing of it is measured.
func TestMessage_LeavesOutWhatIsNotObserved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows []sample.Row
		want string
	}{
		"no scalar":           {rows(four, time.Minute, []sample.Value{1, 2, 3, absent}, []sample.Value{missing, missing, missing, missing}), "XYZ"},
		"no vector":           {rows(four, time.Minute, []sample.Value{absent, absent, absent, 3}), "S"},
		"a scalar for a time": {rows(four, time.Minute, []sample.Value{1, 2, 3, absent}, []sample.Value{1, 2, 3, 4}), "XYZS"},
		"all missing":         {rows(four, time.Minute, []sample.Value{missing, missing, missing, missing}), "XYZS"},
	} {
		_, payload := message(t, series(time.Minute, "XYZS"), c.rows)
		var names []string
		for _, e := range "XYZS" {
			if strings.Contains(payload, "geomagneticField"+string(e)) {
				names = append(names, string(e))
			}
		}
		require.Equal(t, c.want, strings.Join(names, ""), name)
	}
}

// Message writes the metadata with the first row of each hour, and the same bytes of the
// same rows.
func TestMessage_WritesTheMetadataWithTheFirstRowOfEachHour(t *testing.T) {
	t.Parallel()
	m := impf.Metadata{GIN: "edi", DECBAS: "5527", Latitude: "0.0", Longitude: "78.920", Name: "Testville", Comments: []string{"a", "b"}}
	const fields = `"ginCode":"edi","decbas":5527,"latitude":0.0,"longitude":78.920,"name":"Testville","comments":["a","b"]`
	for from, has := range map[string]bool{"03:59": true, "04:00": true, "04:01": false} {
		start, err := time.Parse("15:04", from)
		require.NoError(t, err)
		r := rows(start, time.Minute, []sample.Value{1, 2, 3}, []sample.Value{1, 2, 3})
		_, data, err := m.Message(series(time.Minute, "XYZ"), r)
		require.NoError(t, err)
		require.Equal(t, has, strings.Contains(string(data), fields), "%s", data)
		_, again, err := m.Message(series(time.Minute, "XYZ"), r)
		require.NoError(t, err)
		require.Equal(t, data, again)
		_, _, err = impf.Parse("impf/tst/pt1m/1/xyzs", data)
		require.NoError(t, err)
	}
}

// Message refuses what the format does not allow.
func TestMessage_RefusesWhatTheFormatDoesNotAllow(t *testing.T) {
	t.Parallel()
	good := rows(four, time.Minute, []sample.Value{1, 2, 3, 4}, []sample.Value{1, 2, 3, 4})
	change := func(f func(*sample.Series)) sample.Series {
		s := series(time.Minute, "XYZS")
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		series sample.Series
		rows   []sample.Row
	}{
		"no station":               {change(func(s *sample.Series) { s.Station = "" }), good},
		"a slash in the station":   {change(func(s *sample.Series) { s.Station = "T/T" }), good},
		"no level":                 {change(func(s *sample.Series) { s.Level = 0 }), good},
		"hours":                    {change(func(s *sample.Series) { s.Cadence = time.Hour }), good},
		"a vector of two":          {series(time.Minute, "XY"), good},
		"F beside a vector":        {series(time.Minute, "XYZF"), good},
		"an element twice":         {series(time.Minute, "XYZX"), good},
		"no elements":              {series(time.Minute, ""), good},
		"degrees":                  {change(func(s *sample.Series) { *s = series(time.Minute, "HDZ"); s.Elements[1].Unit = "deg" }), good},
		"five decimals":            {change(func(s *sample.Series) { s.Elements[0].Decimals = 5 }), good},
		"no rows":                  {series(time.Minute, "XYZS"), nil},
		"a hole":                   {series(time.Minute, "XYZS"), append(rows(four.Add(-5*time.Minute), time.Minute, nil), good...)},
		"seconds of a minute":      {series(time.Minute, "XYZS"), rows(four.Add(7*time.Second), time.Minute, []sample.Value{1, 2, 3, 4})},
		"a negative total field":   {series(time.Minute, "XYZS"), rows(four, time.Minute, []sample.Value{1, 2, 3, -4})},
		"nothing that is observed": {series(time.Minute, "XYZS"), rows(four, time.Minute, []sample.Value{absent, absent, absent, absent})},
	} {
		_, _, err := impf.Metadata{}.Message(c.series, c.rows)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "\n")
	}
	for _, m := range []impf.Metadata{
		{GIN: "EDI"}, {DECBAS: "-10801"}, {DECBAS: "1.5"}, {Latitude: "91"}, {Longitude: "x"}, {PublicationDate: "15.3.2024"},
		{StandardLevel: "full"}, {StandardName: "x"}, {Source: "me"}, {Elevation: "10001"},
	} {
		_, _, err := m.Message(series(time.Second, "S"), rows(four.Add(-time.Minute), time.Second, []sample.Value{1}))
		require.Error(t, err, "%+v", m)
	}
}

// Parse returns the rows of which Message has made a message.
func TestParse_ReturnsTheRowsOfAMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := series(rapid.SampledFrom([]time.Duration{time.Minute, time.Second}).Draw(t, "cadence"),
			rapid.SampledFrom([]string{"XYZS", "HDZS", "DIFS"}).Draw(t, "elements"))
		s.Level = sample.Level(rapid.IntRange(1, 4).Draw(t, "level"))
		decimals := rapid.IntRange(2, 4).Draw(t, "decimals")
		absent := rapid.SampledFrom([]string{"", "S", "vector"}).Draw(t, "absent")
		for i := range s.Elements {
			s.Elements[i].Decimals = decimals
		}
		start := time.UnixMilli(rapid.Int64Range(0, 1e8).Draw(t, "start") * s.Cadence.Milliseconds())
		want := rows(start, s.Cadence, make([][]sample.Value, rapid.IntRange(1, 100).Draw(t, "rows"))...)
		for j := range want {
			for i, e := range s.Elements {
				if absent == "S" && e.Name == "S" || absent == "vector" && e.Name != "S" {
					continue
				}
				value := rapid.Int32Range(-8_888_799, 8_888_799).Draw(t, "value")
				if e.Name == "F" || e.Name == "S" {
					value = max(value, -value)
				}
				want[j].Values[i] = sample.Value(value)
				if rapid.IntRange(0, 9).Draw(t, "missing") == 0 {
					want[j].Values[i] = missing
				}
			}
		}
		topic, data, err := impf.Metadata{Name: "Testville"}.Message(s, want)
		require.NoError(t, err)
		is, got, err := impf.Parse(topic, data)
		require.NoError(t, err)
		for i := range s.Elements {
			nothing := true // is written of it: the decimals are not known
			for _, r := range want {
				nothing = nothing && !r.Values[i].Measured()
			}
			if nothing {
				s.Elements[i].Decimals = 2
			}
		}
		require.Empty(t, cmp.Diff(s, is))
		require.Empty(t, cmp.Diff(want, got))
	})
}

// Parse refuses what the schema or the topic does not allow.
func TestParse_RefusesWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	const minute, good = "impf/tst/pt1m/1/xyzs", `{"startDate":"2024-03-15T04:00","geomagneticFieldS":[1.5]}`
	with := func(field string) string { return `{` + field + `,` + good[1:] }
	for name, c := range map[string]struct{ topic, payload string }{
		"another beginning":       {"imf/tst/pt1m/1/xyzs", good},
		"upper case":              {"impf/TST/pt1m/1/xyzs", good},
		"no station":              {"impf//pt1m/1/xyzs", good},
		"hours":                   {"impf/tst/pt1h/1/xyzs", good},
		"level 5":                 {"impf/tst/pt1m/5/xyzs", good},
		"level +1":                {"impf/tst/pt1m/+1/xyzs", good},
		"three elements":          {"impf/tst/pt1m/1/xyz", good},
		"another level":           {minute + "/1", good},
		"no object":               {minute, `[]`},
		"nothing":                 {minute, ``},
		"half an object":          {minute, good[:len(good)-1]},
		"more than an object":     {minute, good + "{}"},
		"a field twice":           {minute, with(`"startDate":"2024-03-15T04:00"`)},
		"another case":            {minute, with(`"GINCode":"edi"`)},
		"an unknown field":        {minute, with(`"x":1`)},
		"elements of the example": {minute, with(`"elementsRecorded":"XYZS"`)},
		"a zone":                  {minute, strings.Replace(good, "04:00", "04:00Z", 1)},
		"seconds of minutes":      {minute, strings.Replace(good, "04:00", "04:00:00", 1)},
		"minutes of seconds":      {"impf/tst/1hz/1/xyzs", good},
		"parts of a second":       {"impf/tst/1hz/1/xyzs", strings.Replace(good, "04:00", "04:00:00.5", 1)},
		"no time":                 {minute, strings.Replace(good, `"2024-03-15T04:00"`, "1", 1)},
		"elements of another":     {minute, with(`"geomagneticFieldH":[1],"geomagneticFieldD":[1],"geomagneticFieldZ":[1]`)},
		"a vector of two":         {minute, with(`"geomagneticFieldX":[1],"geomagneticFieldY":[1]`)},
		"unequal lengths":         {minute, with(`"geomagneticFieldX":[1,2],"geomagneticFieldY":[1,2],"geomagneticFieldZ":[1,2]`)},
		"an empty array":          {minute, with(`"geomagneticFieldX":[],"geomagneticFieldY":[],"geomagneticFieldZ":[]`)},
		"no array":                {minute, strings.Replace(good, "[1.5]", "null", 1)},
		"numbers in quotes":       {minute, strings.Replace(good, "1.5", `"1.5"`, 1)},
		"a fill value":            {minute, strings.Replace(good, "1.5", "99999.0", 1)},
		"another fill value":      {minute, strings.Replace(good, "1.5", "88888", 1)},
		"six digits":              {minute, strings.Replace(good, "1.5", "999999", 1)},
		"below nothing":           {minute, strings.Replace(good, "1.5", "-1.5", 1)},
		"five decimals":           {minute, strings.Replace(good, "1.5", "1.00005", 1)},
		"an exponent":             {minute, strings.Replace(good, "1.5", "1e2", 1)},
		"another GIN":             {minute, with(`"ginCode":"ldn"`)},
		"no number":               {minute, with(`"latitude":"17.2"`)},
		"null for a text":         {minute, with(`"name":null`)},
		"null in a list":          {minute, with(`"comments":["a",null]`)},
		"a part of a whole":       {minute, with(`"decbas":1.5`)},
	} {
		_, _, err := impf.Parse(c.topic, []byte(c.payload))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "\n")
	}
	for _, topic := range []string{minute, "impf/tst1/pt1m/4/difs"} {
		_, got, err := impf.Parse(topic, []byte(with(`"decbas":-1,"comments":[]`)))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(rows(four.Add(-time.Minute), time.Minute, []sample.Value{absent, absent, absent, 150}), got))
	}
}

// Parse takes the good messages of the collection, and refuses the bad ones.
func TestParse_TakesAndRefusesRealFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(sampletest.RealFiles(t), "synthetic", "impf", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 9)
	for _, file := range files {
		name := filepath.Base(file)
		topic := "impf/tst/pt1m/1/xyzs"
		switch {
		case strings.Contains(name, "pt1s"):
			topic = "impf/tst/pt1s/1/xyzs"
		case strings.Contains(name, "hdzs"):
			topic = "impf/tst/pt1m/1/hdzs"
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		_, _, err = impf.Parse(topic, data)
		require.Equal(t, strings.Contains(name, "bad"), err != nil, "%s: %v", name, err)
	}
}

// Parse returns the rows of which Message has made a message, whatever was parsed before.
func FuzzParse_ReturnsTheRowsOfTheMessageOfThem(f *testing.F) {
	f.Add("impf/tst/pt1m/1/xyzs", `{"startDate":"2024-03-15T04:01","geomagneticFieldX":[39500.1,null],"geomagneticFieldY":[-0.5,-0.01],"geomagneticFieldZ":[0,1e]}`)
	f.Add("impf/tst/pt1m/4/difs", `{"startDate":"2024-03-15T04:01","ginCode":"edi","decbas":-1,"geomagneticFieldS":[43122.7123]}`)
	f.Add("impf/abcd/1hz/2/hdzs", `{"startDate":"2024-03-15T23:59:59","comments":["\u0000"],"geomagneticFieldH":[1,2],"geomagneticFieldD":[null,null],"geomagneticFieldZ":[-88887.99,3]}`)
	f.Fuzz(func(t *testing.T, topic, payload string) {
		s, rows, err := impf.Parse(topic, []byte(payload))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		name, data, err := impf.Metadata{}.Message(s, rows)
		require.NoError(t, err)
		again, same, err := impf.Parse(name, data)
		require.NoError(t, err, "%s", data)
		require.Equal(t, s, again)
		require.Equal(t, rows, same)
	})
}
