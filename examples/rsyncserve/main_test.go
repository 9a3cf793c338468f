package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplit_TakesWordsApartAsAShellDoes(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		``:                         nil,
		`  rsync   --server . /x `: {"rsync", "--server", ".", "/x"},
		`rsync . 'a b' "c d" e\ f`: {"rsync", ".", "a b", "c d", "e f"},
		`rsync . '' x`:             {"rsync", ".", "", "x"},
		`a'b'"c"d`:                 {"abcd"},
		`'it'\''s'`:                {"it's"},
		`"\$x \" \n" $HOME *`:      {`$x " \n`, "$HOME", "*"},
	} {
		got, err := split(command)
		require.NoError(t, err, command)
		require.Equal(t, want, got, command)
	}
	for _, command := range []string{`'open`, `"open`, `end\`} {
		_, err := split(command)
		require.Error(t, err, command)
	}
}

// A word splits as the shell of this machine splits it.
func FuzzSplit_KeepsQuotedWordsWhole(f *testing.F) {
	f.Add("it's a \\ \"word\"\n")
	f.Fuzz(func(t *testing.T, word string) {
		got, err := split("rsync '" + strings.ReplaceAll(word, "'", `'\''`) + "' end")
		require.NoError(t, err)
		require.Equal(t, []string{"rsync", word, "end"}, got)
	})
}

func TestMain(m *testing.M) {
	if command := os.Getenv("OBSKEEP_TEST_SERVE"); command != "" {
		os.Exit(run(context.Background(), strings.Fields(command), os.Getenv("SSH_ORIGINAL_COMMAND"), stdio{}, os.Stderr))
	}
	os.Exit(m.Run())
}

type nobody struct{}

func (nobody) Read([]byte) (int, error)    { return 0, io.EOF }
func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) Close() error                { return nil }

// Whoever calls it wrongly gets one line that says what is wrong.
func TestRun_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		args    string
		command string
		says    string
		code    int
	}{
		{"", "", "-root", 2},
		{"-root " + dir, "", "no command", 2},
		{"-root " + dir + "/missing", "rsync --server . x", "missing", 2},
		{"-root " + dir + " -read-only -write-only", "rsync --server . x", "exclude each other", 2},
		{"-root " + dir, "cat /etc/passwd", "--server", 1},
		{"-root " + dir, "rsync --server --daemon .", "--daemon", 1},
		{"-root " + dir, "rsync --server 'x", "quote", 2},
		{"-root " + dir + " -read-only", "rsync --server -re.LsfxCIvu . x", "not allowed", 4},
		{"-root " + dir + " -write-only", "rsync --server --sender -re.LsfxCIvu . x", "not allowed", 4},
	} {
		var says strings.Builder
		require.Equal(t, row.code, run(t.Context(), strings.Fields(row.args), row.command, nobody{}, &says), row.command)
		require.Contains(t, says.String(), row.says)
		require.Equal(t, 1, strings.Count(says.String(), "\n"), says.String())
	}
}

// The rsync of this machine copies to and from the folder, and sees nothing else.
func TestRsyncserve_ServesOneFolderToStockRsync(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("rsync"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal("rsync is not installed")
		}
		t.Skip("rsync is not installed")
	}
	served, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(served, "a day's data"), []byte("data"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(served, "way-out")))
	self, err := os.Executable()
	require.NoError(t, err)
	// What sshd does with command= in authorized_keys.
	sshd := filepath.Join(t.TempDir(), "sshd")
	script := "#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND=\"$*\" OBSKEEP_TEST_SERVE=\"-root " + served + " $ACCESS\" exec " + self + "\n"
	require.NoError(t, os.WriteFile(sshd, []byte(script), 0o755))
	rsync := func(access string, args ...string) (string, error) {
		cmd := exec.Command("rsync", append([]string{"-e", sshd}, args...)...)
		cmd.Env = append(os.Environ(), "ACCESS="+access)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	dst := t.TempDir()
	out, err := rsync("-read-only", "-a", "logger:/", dst+"/")
	require.NoError(t, err, out)
	data, err := os.ReadFile(filepath.Join(dst, "a day's data"))
	require.NoError(t, err)
	require.Equal(t, "data", string(data))

	out, err = rsync("-read-only", "-a", "logger:a day's data", dst+"/again")
	require.NoError(t, err, out)
	require.FileExists(t, filepath.Join(dst, "again"))

	for _, way := range []string{"../../../../../../../" + outside, outside, "way-out/secret", "way-out/"} {
		stolen := t.TempDir()
		_, err = rsync("-read-only", "-aL", "logger:"+way+"/", stolen)
		require.Error(t, err, way)
		require.NoFileExists(t, filepath.Join(stolen, "secret"))
	}

	out, err = rsync("-read-only", "-a", dst+"/", "logger:/")
	require.Error(t, err)
	require.Contains(t, out, "not allowed")

	out, err = rsync("", "-a", filepath.Join(dst, "again"), "logger:new/")
	require.NoError(t, err, out)
	require.FileExists(t, filepath.Join(served, "new/again"))
	_, err = rsync("", "-a", filepath.Join(dst, "again"), "logger:way-out/again")
	require.Error(t, err)
	require.NoFileExists(t, filepath.Join(outside, "again"))
}
