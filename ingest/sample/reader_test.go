package sample_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/sample"
)

var (
	digits = &sample.Rule{Format: "test", Name: "DIGITS", Text: "a line is digits"}
	short  = &sample.Rule{Format: "test", Name: "SHORT", Text: "a line has at most 4 digits", Refused: true}
	empty  = &sample.Rule{Format: "test", Name: "EMPTY", Text: "a file has rows"}
)

// numbers understands lines of digits: each digit is a row, and so are, in the
// end, the ends of the lines.
type numbers struct {
	rows int
	seen []string
}

func (p *numbers) Parse(line []byte, end sample.End, out *sample.Out) {
	p.seen = append(p.seen, fmt.Sprintf("%s%q", line, end.String()))
	if len(line) > 4 {
		out.Fault(short, 5, line[4:])
	}
	for i, c := range line {
		if c < '0' || '9' < c {
			out.Fault(digits, i+1, line[i:])
			return
		}
		out.Row(int64(c - '0')).Values[0] = sample.Value(c)
		p.rows++
	}
}

func (p *numbers) Finish(out *sample.Out) {
	if p.rows == 0 {
		out.Fault(empty, 0, nil)
	}
	out.Row(-1)
}

func (p *numbers) Series() sample.Series { return sample.Series{} }

// read returns the times of the rows.
func read(r *sample.Reader) (times []int64, err error) {
	for {
		row, err := r.Read()
		if err == io.EOF {
			return times, nil
		}
		if err != nil {
			return times, err
		}
		times = append(times, row.Time)
	}
}

// Rows come in the order in which the parser hands them over, some of a line or
// none.
func TestReader_GivesTheRowsOfEachLine(t *testing.T) {
	t.Parallel()
	r := sample.NewReader(strings.NewReader("12\n\n3\n"), &numbers{}, nil)
	row, err := r.Peek()
	require.NoError(t, err)
	want := sample.RowAt(1)
	want.Values[0] = '1'
	require.Equal(t, want, row)
	times, err := read(r)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3, -1}, times)
	require.Equal(t, sample.Position{Lines: 3, Offset: 6}, r.Position())
	require.Zero(t, r.Torn())
}

// The mode decides which faults end the reading.
func TestReader_EndsAtTheFaultsOfItsMode(t *testing.T) {
	t.Parallel()
	const file = "1\n2x\n3\n12345\n4"
	for mode, want := range map[sample.Mode]struct {
		err      error
		times    []int64
		reported []string
	}{
		sample.Strict:   {digits, []int64{1}, nil},
		sample.Receiver: {short, []int64{1, 2, 3}, []string{"DIGITS"}},
		sample.Lenient:  {nil, []int64{1, 2, 3, 1, 2, 3, 4, 5, 4, -1}, []string{"DIGITS", "SHORT"}},
	} {
		var reported []string
		r := sample.NewReader(strings.NewReader(file), &numbers{}, &sample.Options{Mode: mode, Report: func(f *sample.Fault) {
			reported = append(reported, f.Rule.Name)
		}})
		times, err := read(r)
		require.ErrorIs(t, err, want.err)
		require.Equal(t, want.times, times)
		require.Equal(t, want.reported, reported)
		_, again := r.Read()
		require.Error(t, again, "the end is final")
	}
}

// A fault names the file, the line, the column, the byte and the rule.
func TestFault_NamesItsPlaceAndItsRule(t *testing.T) {
	t.Parallel()
	_, err := read(sample.NewReader(strings.NewReader("1\n2345x6\n"), &numbers{}, &sample.Options{Name: "a.min", Mode: sample.Receiver}))
	require.EqualError(t, err, `test: SHORT, on a.min line 2 column 5 (byte 6): a line has at most 4 digits: found "x6"`)
	var fault *sample.Fault
	require.True(t, errors.As(err, &fault))
	want := &sample.Fault{Rule: short, File: "a.min", Line: 2, Column: 5, Offset: 6, Found: "x6"}
	if diff := cmp.Diff(want, fault); diff != "" {
		t.Errorf("fault (-want +got):\n%s", diff)
	}
	_, err = read(sample.NewReader(strings.NewReader("\n"), &numbers{}, nil))
	require.EqualError(t, err, `test: EMPTY, on line 2 (byte 1): a file has rows: found ""`)
	require.Len(t, firstFault(t, sample.Check(strings.NewReader(strings.Repeat("x", 100)), &numbers{}, "")).Found, 80)
}

func firstFault(t *testing.T, faults iter.Seq2[*sample.Fault, error]) *sample.Fault {
	for f, err := range faults {
		require.NoError(t, err)
		return f // and no more is read
	}
	t.Fatal("no fault")
	return nil
}

// A line without its end is never parsed while the file grows.
func TestReader_NeverParsesALineWithoutItsEndWhileTheFileGrows(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"12\n34", "12\r\n34", "12\r34", "12\n34\r"} {
		p := &numbers{}
		r := sample.NewReader(strings.NewReader(file), p, &sample.Options{Growing: true})
		times, err := read(r)
		require.NoError(t, err)
		require.Equal(t, []int64{1, 2}, times, "%q", file)
		require.Len(t, p.seen, 1)
		require.EqualValues(t, len(file), r.Position().Offset+r.Torn())
	}
}

// A reader may be asked again when a growing file has more.
func TestReader_GoesOnWhenTheFileHasGrown(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	r := sample.NewReader(&file, &numbers{}, &sample.Options{Growing: true})
	for _, part := range []string{"1", "2\n3", "", "\n"} {
		file.WriteString(part)
		times, err := read(r)
		require.NoError(t, err)
		require.Equal(t, map[string][]int64{"2\n3": {1, 2}, "\n": {3}}[part], times)
	}
}

const (
	letters = "12\n3\r\n4\r5\r\r\n\n\r67x\n"
	long    = 3 * sample.LineLimit
)

// files are files of all kinds of lines.
func files() []string {
	return []string{
		letters, letters + "8", letters + "8\r", strings.Repeat("x", long), "1\n" + strings.Repeat("2", long) + "\n3\n",
		strings.Repeat("2", sample.LineLimit-1) + "\n1\n", strings.Repeat("2", sample.LineLimit) + "\n1\n",
		strings.Repeat("2", sample.LineLimit-1) + "\r\n1\n", strings.Repeat("2", sample.LineLimit-1) + "\r1\n", strings.Repeat("2", sample.LineLimit-2) + "\r\n1\n",
		strings.Repeat(letters, 500),
	}
}

// told is all that a reader tells.
type told struct {
	Seen   []string
	Times  []int64
	Faults []string
	At     sample.Position
}

func tell(t testing.TB, src io.Reader) (got told) {
	p := &numbers{}
	r := sample.NewReader(src, p, &sample.Options{Mode: sample.Lenient, Report: func(f *sample.Fault) {
		got.Faults = append(got.Faults, f.Error())
	}})
	var err error
	got.Times, err = read(r)
	require.NoError(t, err)
	got.Seen, got.At = p.seen, r.Position()
	return got
}

// The lines are the same whatever the sizes in which the source delivers them.
func TestReader_FindsTheSameLinesInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	for _, file := range files() {
		want := tell(t, strings.NewReader(file))
		require.EqualValues(t, len(file), want.At.Offset)
		for _, src := range []io.Reader{
			iotest.OneByteReader(strings.NewReader(file)), iotest.HalfReader(strings.NewReader(file)),
			iotest.DataErrReader(strings.NewReader(file)), &pieces{strings.NewReader(file), random},
		} {
			if diff := cmp.Diff(want, tell(t, src)); diff != "" {
				t.Errorf("seed %d, %.20q (-want +got):\n%.2000s", seed, file, diff)
			}
		}
	}
}

// pieces delivers pieces of random sizes, some of them empty.
type pieces struct {
	src    io.Reader
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	return p.src.Read(b[:min(len(b), p.random.IntN(200))])
}

// Reading a growing file in pieces gives the rows and faults of reading it whole.
func TestReader_ReadsInPiecesWhatItReadsWhole(t *testing.T) {
	t.Parallel()
	for _, file := range files()[:10] {
		want := tell(t, strings.NewReader(file))
		for _, step := range []int{1, 7, 1000, sample.LineLimit, len(file)} {
			if len(file) > 10*sample.LineLimit && step == 1 {
				continue
			}
			var got told
			p := &numbers{}
			r := sample.NewReader(nil, p, nil)
			report := func(f *sample.Fault) { got.Faults = append(got.Faults, f.Error()) }
			// A new source each time, which begins where whole lines ended.
			for n := 0; n < len(file)+step; n += step {
				at := r.Position()
				end := min(n, len(file))
				opts := &sample.Options{Mode: sample.Lenient, Report: report, Start: at, Growing: end < len(file)}
				r.Reset(strings.NewReader(file[at.Offset:end]), p, opts)
				times, err := read(r)
				require.NoError(t, err)
				got.Times = append(got.Times, times...)
			}
			got.Seen, got.At = p.seen, r.Position()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%.20q in steps of %d (-want +got):\n%.2000s", file, step, diff)
			}
		}
	}
}

// An error of the source is reported after what came before it, and stays.
func TestReader_ReportsWhatItsSourceReports(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	src := io.MultiReader(strings.NewReader("1\n2"), iotest.ErrReader(broken))
	for _, growing := range []bool{false, true} {
		r := sample.NewReader(src, &numbers{}, &sample.Options{Growing: growing, Name: "a.min"})
		_, err := read(r)
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "a.min")
		_, err = r.Read()
		require.ErrorIs(t, err, broken)
		src = iotest.ErrReader(broken)
	}
	_, err := read(sample.NewReader(stalled{}, &numbers{}, nil))
	require.ErrorIs(t, err, io.ErrNoProgress)
	for f, err := range sample.Check(iotest.ErrReader(broken), &numbers{}, "") {
		require.Nil(t, f)
		require.ErrorIs(t, err, broken)
	}
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

// Read allocates nothing for a line without faults, and a Reader's memory does
// not depend on its source.
func TestReader_KeepsItsMemory(t *testing.T) {
	src := strings.NewReader("")
	r := sample.NewReader(src, nil, nil)
	for _, line := range []string{"123\n", strings.Repeat("x", 99) + "\n", strings.Repeat("1", 10*sample.LineLimit) + "\n"} {
		read := func(n int) float64 {
			file := strings.Repeat(line, n)
			return testing.AllocsPerRun(3, func() {
				src.Reset(file)
				r.Reset(src, silent{}, &sample.Options{Mode: sample.Lenient, Growing: true})
				for {
					if _, err := r.Read(); err == io.EOF {
						return
					}
				}
			})
		}
		require.InDelta(t, read(1), read(50), 0)
	}
}

// silent makes a row of each line.
type silent struct{}

func (silent) Parse(line []byte, _ sample.End, out *sample.Out) { out.Row(int64(len(line))) }
func (silent) Finish(*sample.Out)                               {}
func (silent) Series() sample.Series                            { return sample.Series{} }

func FuzzReader_FindsTheSameLinesInPieces(f *testing.F) {
	for _, file := range files()[:10] {
		f.Add([]byte(file), uint64(1))
	}
	f.Fuzz(func(t *testing.T, file []byte, seed uint64) {
		want := tell(t, bytes.NewReader(file))
		got := tell(t, &pieces{bytes.NewReader(file), rand.New(rand.NewPCG(seed, seed))})
		require.Equal(t, want, got)
		require.EqualValues(t, len(file), got.At.Offset)
	})
}
