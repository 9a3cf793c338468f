package script_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

type config struct {
	Name  string `toml:"name"`
	Table struct {
		Size script.Size     `toml:"size"`
		Wait script.Duration `toml:"wait"`
		embedded
		Sub struct {
			Key int `toml:"key"`
		} `toml:"sub"`
	} `toml:"table"`
	Each []each `toml:"each"`
}

type each struct {
	Name  string `toml:"name"`
	Inner []struct {
		Key int `toml:"key"`
	} `toml:"inner"`
}

type embedded struct {
	List []string `toml:"list"`
	Flag *bool    `toml:"flag"`
}

func (c *config) Check() error {
	if c.Name == "wrong" {
		return errors.New("name is wrong")
	}
	return nil
}

func TestReadConfig(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"all keys are known", "name = \"x\"\n[table]\nsize = \"2 MiB\"\n[table.sub]\nkey = 1\n", ""},
		{"a value that the configuration does not want", "name = \"wrong\"\n", `: name is wrong`},
		{"an unknown key", "name = \"x\"\nnmae = \"y\"\n", `:2: unknown key "nmae"`},
		{"an unknown key in a table", "name = \"x\"\n\n[table]\n# key = 1\nkey = 1\n[table.sub]\nkey = 1\n", `:5: unknown key "table.key"`},
		{"a key in the wrong table", "[table]\nsize = \"1 B\"\nname = \"x\"\n", `:3: unknown key "table.name"`},
		{"an unknown table", "[table]\n[tabel]\nsize = \"1 B\"\n", `:2: unknown key "tabel"`},
		{"an unknown dotted key", "table.sizes = 1\n", `:1: unknown key "table.sizes"`},
		{"bad syntax", "name = x\n", `:1: `},
		{"a value of another type", "\nname = 1\n", `:2: name: want a text in quotes, not a whole number`},
		{"a text for a number", "[table]\n[table.sub]\nkey = \"1\"\n", `:3: table.sub.key: want a whole number, not a text in quotes`},
		{"a fraction for a number", "[table.sub]\nkey = 1.5\n", `:2: table.sub.key: want a whole number, not a number with a fraction`},
		{"a number for a truth", "[table]\nflag = 1\n", `:2: table.flag: want true or false, not a whole number`},
		{"a text for a list", "[table]\nlist = \"a\"\n", `:2: table.list: want a list such as ["one", "two"], not a text in quotes`},
		{"a list with a number in it", "[table]\nlist = [\"a\", 1]\n", `:2: table.list: want a list such as ["one", "two"], not a list with a whole number in it`},
		{"a list for a text", "[table]\nsize = \"1 B\"\nwait = [1]\n", `:3: table.wait: want a text in quotes, not a list`},
		{"a date for a text", "name = 2026-09-25\n", `:1: name: want a text in quotes, not a date`},
		{"a text for a table", "table = \"x\"\n", `:1: table: want a table, not a text in quotes`},
		{"a list of tables for a table", "[[table]]\nsize = \"1 B\"\n", `:1: table: want a table, not a list of tables`},
		{"a wrong value in an inline table", "\ntable = { sub = { key = \"1\" } }\n", `:2: table.sub.key: want a whole number`},
		{"an unknown key before a wrong value", "nmae = \"x\"\nname = 1\n", `:2: name: want`},
		{"a wrong value in the second table of a list", "[[each]]\nname = \"x\"\n[[each]]\nname = 1\n", `:4: each.name: want a text in quotes, not a whole number`},
		{"a wrong value in a list in a list", "[[each]]\n[[each.inner]]\nkey = 1\n[[each]]\n[[each.inner]]\nkey = 1\n[[each.inner]]\nkey = \"1\"\n", `:8: each.inner.key: want a whole number, not a text in quotes`},
		{"an unknown key in the second table of a list", "[[each]]\nname = \"x\"\n[[each]]\nnmae = \"y\"\n", `:4: unknown key "each.nmae"`},
		{"a table for a list of them", "[each]\nname = \"x\"\n", `:1: each: want a list of tables, each with its name in double brackets, not a table`},
		{"a value that is none", "[table]\nsize = \"much\"\n", `:2: `},
		{"a duration without a unit", "[table]\nwait = 10\n", `:2: table.wait: want a duration such as "10m" or "1h30m", not 10`},
		{"a duration that is none", "[table]\nwait = \"10x\"\n", `:2: table.wait: `},
		{"a key twice", "name = \"x\"\nname = \"y\"\n", `:2: `},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			require.NoError(t, os.WriteFile(file, []byte(row.text), 0o600))
			var c config
			err := script.ReadConfig(file, &c)
			if row.want == "" {
				require.NoError(t, err)
				require.Equal(t, script.Size(2<<20), c.Table.Size)
				require.Equal(t, 1, c.Table.Sub.Key)
				return
			}
			require.ErrorContains(t, err, file)
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, script.ExitUsage, script.ExitCode(err))
		})
	}
}

func TestExitCode(t *testing.T) {
	rows := []struct {
		name string
		err  error
		want int
	}{
		{"no error", nil, 0},
		{"any error", errors.New("x"), 1},
		{"wrong usage", &script.UsageError{Err: errors.New("x")}, 2},
		{"a report that waits", fmt.Errorf("report: %w", &script.UnsentError{Err: errors.New("x")}), 3},
		{"a full disk", fmt.Errorf("x: %w", syscall.ENOSPC), 4},
		{"another run", fmt.Errorf("target: %w", &script.BusyError{}), 75},
	}
	for _, row := range rows {
		require.Equal(t, row.want, script.ExitCode(row.err), row.name)
	}
}

func TestReportCode(t *testing.T) {
	rows := []struct {
		name string
		job  report.Job
		want int
	}{
		{"all is well", report.Job{}, 0},
		{"a warning", report.Job{Outcome: report.Warning}, 3},
		{"a missing day", report.Job{Outcome: report.Missed}, 3},
		{"a failure", report.Job{Outcome: report.Failed}, 1},
		{"no space", report.Job{Outcome: report.Failed, Err: syscall.ENOSPC}, 4},
	}
	for _, row := range rows {
		require.Equal(t, row.want, script.ReportCode(&report.Report{Jobs: []report.Job{{}, row.job}}), row.name)
	}
}

// A lock that is taken names its owner; released, it can be taken again.
func TestLock_NamesItsOwner(t *testing.T) {
	dir := t.TempDir()
	release, err := script.Lock(dir)
	require.NoError(t, err)
	_, err = script.Lock(dir)
	busy, ok := errors.AsType[*script.BusyError](err)
	require.True(t, ok, "%v", err)
	require.Contains(t, busy.Owner, fmt.Sprintf("pid %d on %s since %s", os.Getpid(), script.Host(), time.Now().UTC().Format("2006-01-02")))
	release()
	release, err = script.Lock(dir)
	require.NoError(t, err)
	release()
}

func newReport(o report.Outcome) *report.Report {
	now := time.Now()
	return &report.Report{Name: "supim", Host: "backup", Start: now, End: now, Jobs: []report.Job{{Name: "a", Outcome: o}}}
}

// A report that cannot be mailed is mailed with the next.
func TestDeliver_LosesNoReport(t *testing.T) {
	c := script.ReportConfig{To: []string{"Ops <ops@example.org>"}, Mail: script.Mail{From: "obskeep@example.org", SMTP: "127.0.0.1:1"}, Spool: filepath.Join(t.TempDir(), "spool")}
	require.NoError(t, c.Check())
	err := c.Deliver(t.Context(), newReport(report.Failed))
	require.Equal(t, script.ExitWarnings, script.ExitCode(err), "%v", err)

	sink, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	defer sink.Close()
	c.SMTP, c.When = sink.Addr(), "trouble"
	require.NoError(t, c.Deliver(t.Context(), newReport(report.OK)), "nothing to tell, but something waits")
	require.Len(t, sink.Messages(), 1)
	require.Contains(t, string(sink.Messages()[0].Data), "[FAILED] supim")
}

func TestDeliver_MailsOnlyTroubleWhenAsked(t *testing.T) {
	sink, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	defer sink.Close()
	for when, want := range map[string][]report.Outcome{
		"always":  {report.OK, report.Warning, report.Missed, report.Failed},
		"trouble": {report.Warning, report.Missed, report.Failed},
	} {
		c := script.ReportConfig{To: []string{"ops@example.org"}, Mail: script.Mail{SMTP: sink.Addr()}, When: when, Spool: filepath.Join(t.TempDir(), "spool")}
		require.NoError(t, c.Check())
		before := len(sink.Messages())
		for o := report.OK; o <= report.Failed; o++ {
			require.NoError(t, c.Deliver(t.Context(), newReport(o)))
		}
		require.Len(t, sink.Messages()[before:], len(want), when)
	}
}

func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("from the file\n"), 0o600))
	t.Setenv("OBSKEEP_TEST_SECRET", "from the environment")
	got, err := script.Secret("OBSKEEP_TEST_SECRET", file)
	require.NoError(t, err)
	require.Equal(t, "from the file", got)
	got, err = script.Secret("OBSKEEP_TEST_SECRET", "")
	require.NoError(t, err)
	require.Equal(t, "from the environment", got)
	_, err = script.Secret("OBSKEEP_TEST_NO_SECRET", "")
	require.ErrorContains(t, err, "OBSKEEP_TEST_NO_SECRET")
}
