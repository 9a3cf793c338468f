//go:build unix

package keep_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/keep"
)

// asNobody runs the test that calls it in a process without root's rights, to
// which modes mean nothing, and reports whether this is not that process.
func asNobody(t *testing.T) (elsewhere bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	home, err := os.MkdirTemp("", "obskeep-nobody-") // t.TempDir is closed to others
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	program, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(home, "test"), program, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(home, "tmp"), 0o755))
	const nobody = 65534
	require.NoError(t, os.Chown(filepath.Join(home, "tmp"), nobody, nobody))
	require.NoError(t, os.Chmod(home, 0o755))
	cmd := exec.Command(filepath.Join(home, "test"), "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir = filepath.Join(home, "tmp")
	cmd.Env = append(os.Environ(), "TMPDIR="+cmd.Dir, "HOME="+cmd.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return true
}

// Whatever the modes at the source, whoever keeps a day can read, verify and
// remove it.
func TestRun_KeepsWhatIsClosedAtTheSource(t *testing.T) {
	t.Parallel()
	if asNobody(t) {
		return
	}
	s := newSite()
	disk := s.onDisk(t)
	s.writes(today, "a.dat", "a")
	for _, mode := range []fs.FileMode{0, 0o111, 0o222, 0o311, 0o444, 0o555} {
		sub := fmt.Sprintf("sub%03o", mode)
		s.writes(today, sub+"/in/b.dat", "b")
		for name, mode := range map[string]fs.FileMode{sub + "/in/b.dat": mode, sub + "/in": mode | fs.ModeDir, sub: mode | fs.ModeDir} {
			info := transfer.Info{Name: dir(today) + "/" + name, Mode: mode, ModTime: now.Add(-2 * time.Hour)}
			require.NoError(t, s.source.SetInfo(t.Context(), info))
		}
	}
	require.NoError(t, s.source.SetInfo(t.Context(), transfer.Info{Name: dir(today), Mode: fs.ModeDir, ModTime: now.Add(-2 * time.Hour)}))
	// The first run is cut, so that the second finds a part of it here.
	s.config.Transfer.Workers = 1
	s.source.Fault = func(op, name string) error {
		if op == "read" && strings.HasSuffix(name, "sub555/in/b.dat") {
			return transfer.ErrLost
		}
		return nil
	}
	r := s.run(t)[today]
	require.ErrorIs(t, r.Err, transfer.ErrLost)
	s.source.Fault = nil
	r = s.run(t)[today]
	require.Equal(t, report.OK, r.Outcome, "%v %v", r.Err, r.Notes)
	require.True(t, r.Kept)
	require.Equal(t, 7, r.Stats.Verified)
	r = s.run(t)[today]
	require.Equal(t, keep.Held, r.State, r.Why)
	require.Equal(t, report.OK, r.Outcome, "%v %v", r.Err, r.Notes)
	fi, err := os.Stat(filepath.Join(disk, "supim/2026/268/sub311/in"))
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o711, fi.Mode())

	s.config.Keep = 1
	s.config.Now = func() time.Time { return now.AddDate(0, 0, 1) }
	s.writes(today.AddDays(1), "a.dat", "a")
	k, err := keep.New(s.config)
	require.NoError(t, err)
	p, err := k.Plan(t.Context(), today.AddDays(1), today.AddDays(1), 0)
	require.NoError(t, err)
	removed, err := k.Run(t.Context(), p, func(keep.Result) {})
	require.NoError(t, err)
	require.Len(t, removed, 1)
	left, err := os.ReadDir(filepath.Join(disk, "supim/2026"))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// A folder that cannot be listed at the source is told of as that, each time;
// the rest of the day is kept. When it can be listed, the whole is kept beside.
func TestRun_KeepsTheRestOfADayWithAFolderThatCannotBeListed(t *testing.T) {
	t.Parallel()
	if asNobody(t) {
		return
	}
	s := newSite()
	disk := s.onDisk(t)
	top := t.TempDir()
	source, err := dirstore.Open(top)
	require.NoError(t, err)
	defer source.Close()
	s.config.Source = source
	closed := filepath.Join(top, "2026/268/closed")
	require.NoError(t, os.MkdirAll(closed, 0o755))
	old := now.Add(-time.Hour)
	for _, name := range []string{filepath.Join(closed, "b.dat"), filepath.Join(top, "2026/268/a.dat")} {
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o644))
		require.NoError(t, os.Chtimes(name, old, old))
	}
	for _, name := range []string{closed, filepath.Dir(closed)} {
		require.NoError(t, os.Chtimes(name, old, old))
	}
	s.config.Settled = time.Nanosecond
	s.config.Now = func() time.Time { return time.Now().Add(time.Hour) }
	require.NoError(t, os.Chmod(closed, 0))
	t.Cleanup(func() { os.Chmod(closed, 0o700) })
	// A crash of the first run, just after it gave the folder its mode.
	staged := filepath.Join(disk, "supim/2026/.obskeep-stage-268/closed")
	require.NoError(t, os.MkdirAll(staged, 0o755))
	require.NoError(t, os.Chmod(staged, 0))
	for range 3 {
		r := s.run(t)[today]
		require.Equal(t, report.Warning, r.Outcome, "%v %v", r.Err, r.Notes)
		require.Contains(t, strings.Join(r.Notes, "\n"), "list closed: permission denied")
		require.NoFileExists(t, filepath.Join(disk, "supim/2026/268.rev2"))
	}
	require.FileExists(t, filepath.Join(disk, "supim/2026/268/a.dat"))
	require.NoError(t, os.Chmod(closed, 0o755))
	require.True(t, s.run(t)[today].Kept)
	require.FileExists(t, filepath.Join(disk, "supim/2026/268.rev2/closed/b.dat"))
}
