package imf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// The Receiver mode accepts and refuses what the receiver's reader does, and
// reads the same from what both accept, but for an hour of four digits: the
// receiver lands days away, and here no row is made of that block.
func TestReader_AgreesWithTheReceiverOnRealFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(sampletest.RealFiles(t), "synthetic", "imf")
	verdicts := sampletest.Table(t, filepath.Join(dir, "verdicts.tsv"))
	require.Len(t, verdicts, 20)
	for _, v := range verdicts {
		t.Run(v[0], func(t *testing.T) {
			t.Parallel()
			file, err := os.Open(filepath.Join(dir, v[0]))
			require.NoError(t, err)
			defer file.Close()
			r := imf.NewReader(file, &sample.Options{Mode: sample.Receiver})
			rows, err := sampletest.ReadAll(r)
			if v[1] == "REJECT" {
				var fault *sample.Fault
				require.True(t, errors.As(err, &fault), "%v; the receiver says: %s", err, v[2])
				return
			}
			require.NoError(t, err)
			if v[0] == "17_minute_of_day.imf" {
				require.Empty(t, rows)
				return
			}
			h, err := r.Header()
			require.NoError(t, err)
			// The receiver's latitude is computed from the colatitude, which is geocentric.
			before, after, _ := strings.Cut(v[2], " lat=")
			_, after, _ = strings.Cut(after, " ")
			require.Equal(t, before+" "+after, detail(h, rows))
		})
	}
}

// detail writes what a file holds as the list of verdicts does.
func detail(h imf.Header, rows []sample.Row) string {
	var values []string
	for i, v := range rows[0].Values[:4] {
		switch {
		case v == sample.Missing:
			values = append(values, "999999.0")
		case v == sample.NotObserved:
			values = append(values, "888888.0")
		case h.Elements[i] == 'D':
			values = append(values, fmt.Sprintf("%.2f", float64(int(v)+h.DecBas*10)/100))
		default:
			values = append(values, fmt.Sprintf("%.1f", float64(v)/10))
		}
	}
	return fmt.Sprintf("n=%d start=%d comp=%s type=%c lon=%.1f v0=%s",
		len(rows), rows[0].Time/1000, h.Elements, h.Type, float64(h.Longitude)/10, strings.Join(values, ","))
}

// ParseName accepts what the receiver's reader of names does, but for a day
// that is not in the calendar; that has a rule of its own, which the receiver
// does not refuse.
func TestParseName_AgreesWithTheReceiverOnRealFiles(t *testing.T) {
	t.Parallel()
	types := map[byte]string{0: "NOT_APPLICABLE", 'A': "ADJUSTED", 'Q': "QUASI_DEFINITIVE", 'T': "TEST"}
	seen := 0
	for _, v := range sampletest.Table(t, filepath.Join(sampletest.RealFiles(t), "synthetic", "names", "names.tsv")) {
		if v[0] != "imfv1" {
			continue
		}
		seen++
		n, err := imf.ParseName(v[1])
		if v[1] == "FEB3024.HYB" {
			require.ErrorIs(t, err, imf.NameDate)
			require.False(t, imf.NameDate.Refused)
			continue
		}
		require.Equal(t, v[2] == "OK", err == nil, "%s: %v", v[1], err)
		if err == nil {
			require.Equal(t, v[3], fmt.Sprintf("%s %d q=%s", n.Code, n.Day.In(time.UTC).Unix(), types[n.Type]))
			require.Equal(t, strings.ToUpper(v[1]), n.String())
		}
	}
	require.Equal(t, 11, seen)
}
