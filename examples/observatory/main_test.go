package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/scripttest"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"observatory": main})
}

// The scripts run the program as cron and systemd do. The receiver is in the test.
func TestScripts(t *testing.T) {
	sshtest.Need(t, "sh")
	sshd := sshtest.Start(t)
	// A day whose file is looked at in each sweep, and has an hour: in the first, yesterday.
	day := "0"
	if time.Now().UTC().Hour() == 0 {
		day = "1"
	}
	scripttest.Run(t, "observatory", map[string]string{
		"SSHD": sshd.Addr, "SSHUSER": sshd.User, "KEY": sshd.Key, "KNOWN": sshd.KnownHosts, "DAY": day,
	}, map[string]scripttest.Cmd{"receiver": cmdReceiver, "rows": cmdRows, "holds": cmdHolds, "slip": cmdSlip, "broker": cmdBroker, "mailbox": cmdMailbox})
}

// receivers are those of the scripts, by their folders.
var receivers sync.Map

type receiver struct {
	*gintest.Server
	fault atomic.Uint32
}

// fails is what goes wrong; only uploads are slow.
func (r *receiver) fails(q gintest.Request) gintest.Fault {
	f := gintest.Fault(r.fault.Load())
	if f == gintest.SlowReply && q != gintest.Upload {
		return gintest.None
	}
	return f
}

// receiver start begins one, with the files in the folder files; $URL is then its address.
// receiver lose begins another there, that has none. receiver FAULT lets that happen with
// each request, as gintest calls it.
func cmdReceiver(ts *testscript.TestScript, _ bool, args []string) {
	work := ts.Getenv("WORK")
	switch args[0] {
	case "start":
		startReceiver(ts, "127.0.0.1:0", filepath.Join(work, "files"))
	case "lose":
		r := receiverOf(ts)
		addr := r.Addr()
		ts.Check(r.Close())
		startReceiver(ts, addr, filepath.Join(work, "empty"))
	default:
		for _, f := range append(gintest.Faults(), gintest.None) {
			if f.String() == args[0] {
				receiverOf(ts).fault.Store(uint32(f))
				return
			}
		}
		ts.Fatalf("there is no fault %s", args[0])
	}
}

func receiverOf(ts *testscript.TestScript) *receiver {
	r, ok := receivers.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no receiver was started")
	}
	return r.(*receiver)
}

func startReceiver(ts *testscript.TestScript, addr, dir string) {
	r := new(receiver)
	ts.Check(os.MkdirAll(dir, 0o755))
	s, err := gintest.New(gintest.Config{
		Dir: dir, Accounts: []gintest.Account{{User: "imo-tst", Password: "tst-secret", Stations: []string{"TST"}}},
		Fault: r.fails, Delay: time.Second,
	})
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
	ts.Check(s.Start(addr, nil))
	r.Server = s
	receivers.Store(ts.Getenv("WORK"), r)
	ts.Setenv("URL", s.URL())
}

// slip OLD NEW WANT puts NEW in the place of OLD in good.toml, where that stands once, and wants
// the program to refuse it: in one line, that matches WANT.
func cmdSlip(ts *testscript.TestScript, _ bool, args []string) {
	good, old, slip := ts.ReadFile("good.toml"), lines(args[0]), lines(args[1])
	if strings.Count(good, old) != 1 {
		ts.Fatalf("%q stands %d times in good.toml, want once", old, strings.Count(good, old))
	}
	bad := os.Expand(strings.Replace(good, old, slip, 1), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs("slip.toml"), []byte(bad), 0o600))
	err := ts.Exec("observatory", "-config", "slip.toml", "sweep")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 {
		ts.Fatalf("%v, want exit code 2", err)
	}
	said := ts.ReadFile("stderr")
	if !regexp.MustCompile(`^observatory: config slip\.toml.*` + args[2] + `.*\n$`).MatchString(said) {
		ts.Fatalf("it says %q", said)
	}
}

// lines has a new line where text has \n.
func lines(text string) string { return strings.ReplaceAll(text, `\n`, "\n") }

// rows FILE DAYS FROM TO [FROM TO]... writes a file of minutes of the day so many days ago,
// with those between these minutes of the day; the others are missing. FILE is a pattern.
func cmdRows(ts *testscript.TestScript, _ bool, args []string) {
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	day := julian.DateOf(time.Now().UTC()).AddDays(-number(1))
	start := day.In(time.UTC)
	in := &instrument{since: start, stream: &stream{
		series: sample.Series{Station: "TST", Cadence: time.Minute},
		header: iaga2002.Header{
			Source: "synthetic", Station: "Of no observatory", Code: "TST", Latitude: "0", Longitude: "0", Elevation: "0", Reported: "XYZF",
			Orientation: "XYZF", Sampling: "1 second", Interval: "1-minute", Type: "variation",
		},
	}}
	rows := in.rows(day, start.Add(time.Duration(number(len(args)-1))*time.Minute))
	for minute := range rows {
		given := false
		for i := 2; i < len(args); i += 2 {
			given = given || number(i) <= minute && minute <= number(i+1)
		}
		if !given {
			copy(rows[minute].Values[:4], []sample.Value{sample.Missing, sample.Missing, sample.Missing, sample.Missing})
		}
	}
	text, err := in.text(rows)
	ts.Check(err)
	pattern, err := julian.ParsePattern(args[0])
	ts.Check(err)
	file := ts.MkAbs(pattern.Format(day))
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, text, 0o644))
}

// holds N wants so many rows held, none of which came twice.
func cmdHolds(ts *testscript.TestScript, _ bool, args []string) {
	h, err := receiverOf(ts).Holdings()
	ts.Check(err)
	values := 0
	for _, v := range h.Values {
		if v.Measured() {
			values++
		}
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if values != 4*want || h.Repeated != 0 || receiverOf(ts).Identical() != 0 {
		ts.Fatalf("%d values are held, want those of %d rows; %d values and %d files came twice", values, want, h.Repeated, receiverOf(ts).Identical())
	}
}

// A proof holds only if each value that was made is held as it was made, came once, and nothing
// else is held.
func TestProve_HoldsOnlyIfEachValueIsThereOnce(t *testing.T) {
	t.Parallel()
	at := func(t int64) gintest.Sample { return gintest.Sample{Station: "TST", Element: "X", Time: t} }
	type values = map[gintest.Sample]sample.Value
	made := values{at(0): 1, at(60): 2}
	for _, row := range []struct {
		name   string
		held   values
		again  int
		needed int
		files  int
		want   proof
		holds  bool
	}{
		{"all", values{at(0): 1, at(60): 2}, 0, 0, 0, proof{Made: 2, Held: 2}, true},
		{"a hole beside it is nothing", values{at(0): 1, at(60): 2, at(120): sample.Missing}, 0, 0, 0, proof{Made: 2, Held: 2}, true},
		{"a value that a file needed", values{at(0): 1, at(60): 2}, 1, 1, 0, proof{Made: 2, Held: 2}, true},
		{"lost", values{at(0): 1}, 0, 0, 0, proof{Made: 2, Held: 1, Lost: 1}, false},
		{"a hole in the place of a value", values{at(0): 1, at(60): sample.Missing}, 0, 0, 0, proof{Made: 2, Held: 1, Lost: 1}, false},
		{"wrong", values{at(0): 1, at(60): 3}, 0, 0, 0, proof{Made: 2, Held: 2, Wrong: 1}, false},
		{"made by nobody", values{at(0): 1, at(60): 2, at(120): 3}, 0, 0, 0, proof{Made: 2, Held: 3, Strange: 1}, false},
		{"a value twice", values{at(0): 1, at(60): 2}, 1, 0, 0, proof{Made: 2, Held: 2, Twice: 1}, false},
		{"a file twice", values{at(0): 1, at(60): 2}, 0, 0, 1, proof{Made: 2, Held: 2, Files: 1}, false},
	} {
		p := prove(made, gintest.Holdings{Values: row.held, Repeated: row.again}, row.needed, row.files)
		require.Equal(t, row.want, p, row.name)
		require.Equal(t, row.holds, p.holds(), row.name)
	}
}
