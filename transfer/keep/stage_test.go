package keep_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/keep"
)

// onDisk gives the site a target in a directory.
func (s *site) onDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	target, err := dirstore.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	s.config.Target = target
	return dir
}

// What interrupted uploads have left in a stage, of files that are no longer
// at the source, does not get into the kept day.
func TestRun_KeepsNoPartOfAFileThatWasCut(t *testing.T) {
	t.Parallel()
	s := newSite()
	disk := s.onDisk(t)
	s.config.Transfer.Workers = 1
	s.writes(today, "a.dat", "a")
	s.writes(today, "sub/b.dat", "b")
	s.writes(today, "sub/cut.dat", strings.Repeat("0123456789abcdef", 4<<16))
	sub := transfer.Info{Name: dir(today) + "/sub", Mode: fs.ModeDir | 0o555, ModTime: now.Add(-2 * time.Hour)}
	require.NoError(t, s.source.SetInfo(t.Context(), sub))
	reads := 0
	s.source.Fault = func(op, name string) error {
		if op == "read" && strings.HasSuffix(name, "cut.dat") {
			if reads++; reads > 3 {
				return transfer.ErrLost
			}
		}
		return nil
	}
	require.ErrorIs(t, s.run(t)[today].Err, transfer.ErrLost)
	parts, err := filepath.Glob(filepath.Join(disk, "supim/2026/.obskeep-stage-268/sub/.obskeep-*"))
	require.NoError(t, err)
	require.NotEmpty(t, parts)

	s.source.Fault = nil
	require.NoError(t, s.source.Remove(t.Context(), dir(today)+"/sub/cut.dat"))
	require.NoError(t, s.source.SetInfo(t.Context(), sub))
	r := s.run(t)[today]
	require.True(t, r.Kept, "%v", r.Err)
	var got []string
	top := filepath.Join(disk, "supim/2026/268")
	require.NoError(t, filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(top, name)
		got = append(got, rel)
		return err
	}))
	require.Equal(t, []string{".", keep.ManifestName, "a.dat", "sub", "sub/b.dat"}, got)
	fi, err := os.Stat(filepath.Join(top, "sub"))
	require.NoError(t, err)
	require.Equal(t, sub.Mode, fi.Mode())
	require.True(t, sub.ModTime.Equal(fi.ModTime()), "the folder has the time of its source: %v", fi.ModTime())
}

// A file that an earlier run has fetched, and that has rotted since in the
// stage with its size and time as they were, is not kept: the kept day holds
// what the source holds.
func TestRun_FindsWhatHasRottedInTheStage(t *testing.T) {
	t.Parallel()
	killed := errors.New("killed")
	for _, row := range []struct {
		rule, kept string
		before     func(t *testing.T, s *site)
	}{
		{"of a new day", "supim/2026/268/a.dat", func(*testing.T, *site) {}},
		{"of a revision, copied from the kept day", "supim/2026/268.rev2/a.dat", func(t *testing.T, s *site) {
			require.True(t, s.run(t)[today].Kept)
			s.writesAt(today, "b.dat", "BBBB", 10*time.Minute)
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newSite()
			s.config.Transfer.Workers = 1
			s.writes(today, "a.dat", "aaaa")
			s.writes(today, "b.dat", "bbbb")
			row.before(t, s)
			s.target.Fault = func(op, name string) error {
				if op == "commit" && strings.HasSuffix(name, "/b.dat") {
					return killed
				}
				return nil
			}
			_, _ = s.try(t.Context())
			s.target.Fault = nil
			rotten := 0
			for name := range s.holds() {
				if transfer.IsReserved(name) && strings.HasSuffix(name, "/a.dat") {
					info, err := s.target.Stat(t.Context(), name)
					require.NoError(t, err)
					s.target.Put(info, []byte("aXaa"))
					rotten++
				}
			}
			require.Equal(t, 1, rotten)
			r := s.run(t)[today]
			require.True(t, r.Kept, "%v", r.Err)
			require.Equal(t, "aaaa", s.holds()[row.kept])
			require.Equal(t, keep.Held, s.run(t)[today].State)
		})
	}
}

// A name that is reserved is not kept, and a warning as long as it is there.
func TestRun_WarnsOfReservedNames(t *testing.T) {
	t.Parallel()
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.writes(today, ".obskeep-notes.txt", "theirs")
	for range 2 {
		r := s.run(t)[today]
		require.Equal(t, report.Warning, r.Outcome)
		require.Contains(t, strings.Join(r.Notes, "\n"), `".obskeep-notes.txt"`)
	}
	require.Equal(t, map[string]string{"supim/2026/268/a.dat": "a"}, s.holds())
	require.NoError(t, s.source.Remove(t.Context(), dir(today)+"/.obskeep-notes.txt"))
	require.Equal(t, report.OK, s.run(t)[today].Outcome)
}

// What is in the way of a day's folder is named, and what to do about it.
func TestPlan_NamesWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	link := func(name string) func(t *testing.T, s *site) {
		return func(t *testing.T, s *site) {
			require.NoError(t, s.target.Symlink(t.Context(), transfer.Info{Name: name, Target: "/elsewhere"}))
		}
	}
	for _, row := range []struct {
		rule, name, says string
		put              func(t *testing.T, s *site)
	}{
		{"a link to a year", "supim/2026", "symbolic link", link("supim/2026")},
		{"a link above the years", "supim", "symbolic link", link("supim")},
		{"a link to a day", "supim/2026/268", "mount --bind", link("supim/2026/268")},
		{"a link to a revision", "supim/2026/268.rev2", "symbolic link", func(t *testing.T, s *site) {
			s.run(t)
			s.writesAt(today, "a.dat", "changed", 10*time.Minute)
			link("supim/2026/268.rev2")(t, s)
		}},
		{"a file for a day", "supim/2026/268", "not a folder", func(_ *testing.T, s *site) {
			s.target.Put(transfer.Info{Name: "supim/2026/268"}, nil)
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := newSite()
			s.writes(today, "a.dat", "a")
			row.put(t, s)
			r := s.run(t)[today]
			require.Equal(t, report.Failed, r.Outcome)
			e, ok := errors.AsType[*keep.InTheWayError](r.Err)
			require.True(t, ok, "%v", r.Err)
			require.Equal(t, row.name, e.Path)
			require.ErrorContains(t, r.Err, row.says)
			require.NotContains(t, r.Err.Error(), "\n")
		})
	}
}

// Links that no day needs are nobody's business: years that were moved to
// another disk, or "latest".
func TestPlan_LeavesOtherLinksAlone(t *testing.T) {
	t.Parallel()
	s := newSite()
	s.writes(today, "a.dat", "a")
	for _, name := range []string{"supim/2019", "supim/latest", "supim/2026/100"} {
		require.NoError(t, s.target.Symlink(t.Context(), transfer.Info{Name: name, Target: "/elsewhere"}))
	}
	require.Equal(t, report.OK, s.run(t)[today].Outcome)
}
