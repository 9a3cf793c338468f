package iaga2002_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// The Receiver mode accepts and refuses what the receiver's reader does, and
// reads the same from what both accept.
func TestReader_AgreesWithTheReceiverOnRealFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(sampletest.RealFiles(t), "synthetic", "iaga")
	// The receiver guesses a period for a single row, 100 ms for one of seconds.
	// Here it has none.
	single := map[string]bool{"04_one_sample_min.min": true, "05_one_sample_sec.sec": true}
	verdicts := sampletest.Table(t, filepath.Join(dir, "verdicts.tsv"))
	require.Len(t, verdicts, 38)
	for _, v := range verdicts {
		t.Run(v[0], func(t *testing.T) {
			t.Parallel()
			file, err := os.Open(filepath.Join(dir, v[0]))
			require.NoError(t, err)
			defer file.Close()
			r := iaga2002.NewReader(file, &sample.Options{Mode: sample.Receiver})
			rows, err := sampletest.ReadAll(r)
			if v[1] == "REJECT" {
				require.Error(t, err, "the receiver says: %s", v[2])
				if _, line, ok := strings.Cut(v[2], "at line number "); ok {
					var fault *sample.Fault
					require.True(t, errors.As(err, &fault))
					require.Equal(t, line, fmt.Sprint(fault.Line), "%v", err)
				}
				return
			}
			require.NoError(t, err)
			h, err := r.Header()
			require.NoError(t, err)
			require.Equal(t, v[2], detail(h, rows, single[v[0]], v[2]))
		})
	}
}

// detail writes what a file holds as the list of verdicts does.
func detail(h iaga2002.Header, rows []sample.Row, single bool, want string) string {
	comp, v := h.Reported, rows[0].Values
	if strings.HasPrefix(comp, "DH") { // the receiver swaps the columns
		comp, v[0], v[1] = "HD"+comp[2:], v[1], v[0]
	}
	var values []string
	for _, v := range v[:4] {
		switch v {
		case sample.Missing:
			values = append(values, "999999.0")
		case sample.NotObserved:
			values = append(values, "888888.0")
		default:
			s := strings.TrimSuffix(fmt.Sprintf("%.2f", float64(v)/100), "0")
			values = append(values, s)
		}
	}
	dt := ""
	if single {
		_, dt, _ = strings.Cut(want, "dt=")
		dt, _, _ = strings.Cut(dt, " ")
	} else {
		dt = fmt.Sprint(rows[1].Time - rows[0].Time)
	}
	return fmt.Sprintf("n=%d start=%d dt=%s comp=%s type=%s v0=%s",
		len(rows), rows[0].Time/1000, dt, comp, h.Type, strings.Join(values, ","))
}

// ParseName accepts what the receiver's reader of names does, but for a day
// that is not in the calendar and an extension that is not the interval; those
// have rules of their own, which the receiver does not refuse.
func TestParseName_AgreesWithTheReceiverOnRealFiles(t *testing.T) {
	t.Parallel()
	stricter := map[string]*sample.Rule{"tst20241231vmin.sec": iaga2002.NameEnd, "tst20240231vmin.min": iaga2002.NameDate}
	letters := map[byte]string{'v': "VARIATION", 'p': "PROVISIONAL", 'q': "QUASI_DEFINITIVE", 'd': "DEFINITIVE", 't': "TEST"}
	every := map[iaga2002.Every]string{
		iaga2002.Second: "SECOND", iaga2002.Minute: "MINUTE", iaga2002.Hour: "HOURLY", iaga2002.Month: "MONTHLY",
	}
	spans := map[iaga2002.Span]string{
		iaga2002.YearSpan: "YEAR", iaga2002.MonthSpan: "MONTH", iaga2002.DaySpan: "DAY", iaga2002.MinuteSpan: "MINUTE", iaga2002.SecondSpan: "SECOND",
	}
	seen := 0
	for _, v := range sampletest.Table(t, filepath.Join(sampletest.RealFiles(t), "synthetic", "names", "names.tsv")) {
		if v[0] != "iaga2002" {
			continue
		}
		seen++
		n, err := iaga2002.ParseName(v[1])
		var fault *sample.Fault
		if errors.As(err, &fault) && !fault.Rule.Refused {
			require.ErrorIs(t, err, stricter[v[1]])
			require.Equal(t, "OK", v[2])
			continue
		}
		require.Equal(t, v[2] == "OK", err == nil, "%s: %v", v[1], err)
		if err == nil {
			require.Equal(t, v[3], fmt.Sprintf("%s %d q=%s int=%s dur=%s frag=%t",
				n.Code, n.Start.Unix(), letters[n.Type], every[n.Every], spans[n.Span], n.Span >= iaga2002.MinuteSpan))
			require.Equal(t, strings.ToLower(v[1]), n.String())
		}
	}
	require.Equal(t, 17, seen)
}
