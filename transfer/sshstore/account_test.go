package sshstore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// forced makes a line for sshd that runs a script whatever is asked for: $asked
// is what, and "sftp" runs the SFTP server.
func forced(t *testing.T, script string) string {
	t.Helper()
	server := strings.TrimPrefix(sshtest.ExternalSFTP(t), "Subsystem sftp ")
	return "ForceCommand sh " + sshtest.WriteFile(t, "forced", "asked=$SSH_ORIGINAL_COMMAND\nsftp() { exec "+server+"; }\n"+script)
}

// works puts a file that is worth hashing, twice, and reads it back.
func works(t *testing.T, s *sshstore.Store) {
	t.Helper()
	ctx := t.Context()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	for n := 1; n <= 2; n++ {
		info := transfer.Info{Name: "a/x", Size: int64(n) << 20, ModTime: time.Unix(1e9, 0), Mode: 0o640}
		up, err := s.Create(ctx, info)
		require.NoError(t, err)
		_, err = up.Write(data[:info.Size])
		require.NoError(t, err)
		require.NoError(t, up.Commit(ctx, true))
		require.NoError(t, up.Close())
		sum, err := transfer.Hash(ctx, s, "a/x")
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(data[:info.Size]), sum)
	}
	if now, err := s.Now(ctx); err == nil {
		require.WithinDuration(t, time.Now(), now, 3*time.Second)
	} else {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// canHash reports whether the far side hashes for itself.
func canHash(t *testing.T, s *sshstore.Store) bool {
	t.Helper()
	p, err := s.HashPrefix(t.Context(), "a/x", 3)
	if errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256([]byte("012")), p.Sum)
	return true
}

// Whatever the account may do beside SFTP, transfers work; where it can hash,
// it does.
func TestStore_WorksWithAnyAccount(t *testing.T) {
	t.Parallel()
	const notSFTP = `case $asked in *sftp*) sftp;; esac; `
	for _, c := range []struct {
		account string
		lines   []string
		hashes  bool
	}{
		{"a shell", nil, true},
		{"a shell that greets", []string{forced(t, notSFTP+`echo Welcome; echo; exec sh -c "$asked"`)}, true},
		{"a shell that says much", []string{forced(t, notSFTP+`seq 10000; exec sh -c "$asked"`)}, true},
		{"a shell that knows nothing but exec sh", []string{forced(t, notSFTP+`test "$asked" = "exec sh" && exec sh`)}, true},
		{"a banner before the login", []string{"Banner " + sshtest.WriteFile(t, "banner", "All is logged.\n")}, true},
		{"no program but SFTP", []string{"ForceCommand internal-sftp"}, false},
		{"a shell that refuses", []string{forced(t, notSFTP+`echo "This account is for SFTP." >&2; exit 1`)}, false},
		{"a shell that refuses as if all were well", []string{forced(t, notSFTP+`echo "This account is for SFTP."`)}, false},
		{"a shell that echoes", []string{forced(t, notSFTP+`exec cat`)}, false},
		{"a shell that says nothing", []string{forced(t, notSFTP+`exec sleep 20`)}, false},
		{"no sha256sum", []string{forced(t, notSFTP+`PATH=/nowhere; exec /bin/sh`)}, false},
		{"one session", []string{"MaxSessions 1"}, false},
		{"two sessions", []string{"MaxSessions 2"}, true},
	} {
		t.Run(c.account, func(t *testing.T) {
			t.Parallel()
			cfg := sshtest.Start(t, c.lines...).Config()
			if strings.Contains(c.account, "says nothing") {
				cfg.Timeout = time.Second
			}
			begun := time.Now()
			s := open(t, cfg, t.TempDir())
			works(t, s)
			require.Equal(t, c.hashes, canHash(t, s))
			require.Less(t, time.Since(begun), 15*time.Second, "nobody waits for an account that says nothing")
		})
	}
}

// Servers with nothing but the protocol do: no fsync, no shell, small packets.
func TestStore_WorksWithAPlainServer(t *testing.T) {
	t.Parallel()
	s := open(t, quirky{disk: true}.start(t), t.TempDir())
	works(t, s)
	require.False(t, canHash(t, s))
}

// More is not asked of a server at once than it allows sessions.
func TestHashPrefix_WaitsForASession(t *testing.T) {
	t.Parallel()
	s := open(t, sshtest.Start(t, "MaxSessions 3").Config(), t.TempDir())
	works(t, s)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if p, err := s.HashPrefix(t.Context(), "a/x", 3); err != nil || p.Sum != sha256.Sum256([]byte("012")) {
				t.Error(p, err)
			}
		})
	}
	wg.Wait()
}

// A shell that does not see what SFTP shows is not believed, and not asked again.
func TestHashPrefix_DoesNotBelieveAShellThatSeesOtherFiles(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	s := open(t, sshtest.Start(t, forced(t, `case $asked in *sftp*) cd `+elsewhere+`; sftp;; esac; exec sh`)).Config(), "dir")
	works(t, s)
	require.True(t, canHash(t, s), "names are made absolute")
	require.FileExists(t, filepath.Join(elsewhere, "dir/a/x"))

	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a/x"), []byte("0123"), 0o600))
	s = open(t, sshtest.Start(t, forced(t, `case $asked in *sftp*) sftp;; esac; sed "s,`+dir+`,/elsewhere," | sh`)).Config(), dir)
	require.False(t, canHash(t, s))
	require.False(t, canHash(t, s))
}

// What copies on the far side for an upload that was cut, and is at work yet, does not write
// into the next upload of the same name.
func TestStore_CopiesApartFromWhatWasCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	basis := bytes.Repeat([]byte("old data"), 256<<10)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), basis, 0o600))
	s := open(t, sshtest.Start(t).Config(), dir)
	info := transfer.Info{Name: "x", Size: int64(len(basis)), ModTime: time.Unix(1, 0), Mode: 0o600}
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	parts, err := filepath.Glob(filepath.Join(dir, ".obskeep-part*"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	orphan, err := os.OpenFile(parts[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	defer orphan.Close()

	copier := up.(transfer.Copier)
	require.NoError(t, copier.Copy(t.Context(), false))
	_, err = orphan.WriteAt([]byte("late"), 1000)
	require.NoError(t, err)
	state := sha256.New()
	state.Write(basis)
	require.NoError(t, copier.Reach(info.Size, state))
	require.NoError(t, up.Commit(t.Context(), true))
	require.NoError(t, up.Close())
	got, err := os.ReadFile(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(basis, got))
}

// Of a file that grows while it is hashed, the hash is that of the bytes asked for.
func TestHashPrefix_HashesNoMoreThanAsked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := filepath.Join(dir, "x")
	grow := "test ! -e " + x + " || printf more >> " + x + "\nexec $real \"$@\""
	s := open(t, sshtest.Start(t, sshtest.Instead(t, "openssl", grow)).Config(), dir)
	works(t, s)
	require.True(t, canHash(t, s))
	require.NoError(t, os.WriteFile(x, []byte("0123"), 0o600))
	p, err := s.HashPrefix(t.Context(), "x", 4)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256([]byte("0123")), p.Sum)
	fi, err := os.Stat(x)
	require.NoError(t, err)
	require.Greater(t, fi.Size(), int64(4))
}

// A file that cannot be read on the far side has no hash, not that of nothing.
func TestHashPrefix_TellsNothingReadFromNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), []byte("0123"), 0o600))
	// Reading a directory fails as a broken disk does.
	s := open(t, sshtest.Start(t, forced(t, `case $asked in *sftp*) sftp;; esac; sed "s,`+dir+`/x,`+dir+`," | sh`)).Config(), dir)
	_, err := s.HashPrefix(t.Context(), "x", 3)
	require.Error(t, err)
}

// A chroot that has nothing but SFTP in it is enough.
func TestStore_WorksInAChroot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal("sshd takes a chroot only from root")
		}
		t.Skip("sshd takes a chroot only from root")
	}
	// sshd wants each directory above to be root's alone: not /tmp.
	root, err := os.MkdirTemp("/run", "obskeep-chroot-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	require.NoError(t, os.Chmod(root, 0o755))
	s := open(t, sshtest.Start(t, "ChrootDirectory "+root, "ForceCommand internal-sftp").Config(), "/data")
	works(t, s)
	require.FileExists(t, filepath.Join(root, "data/a/x"))
}

// The directory of a store is made by the first thing that is put in it.
func TestOpen_TakesADirectoryThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := sshtest.Start(t).Config()
	ctx := t.Context()
	for name, put := range map[string]func(s *sshstore.Store) error{
		"file": func(s *sshstore.Store) error {
			up, err := s.Create(ctx, transfer.Info{Name: "x", Mode: 0o600})
			if err != nil {
				return err
			}
			return errors.Join(up.Commit(ctx, true), up.Close())
		},
		"directory": func(s *sshstore.Store) error { return s.Mkdir(ctx, transfer.Info{Name: "d", Mode: fs.ModeDir | 0o755}) },
		"link": func(s *sshstore.Store) error {
			return s.Symlink(ctx, transfer.Info{Name: "l", Target: "x", Mode: fs.ModeSymlink})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, c, filepath.Join(t.TempDir(), "not/there"))
			_, err := s.Stat(ctx, ".")
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = s.Usage(ctx, ".")
			require.NoError(t, err, "of where it would be")
			require.NoError(t, put(s))
			n := 0
			for _, err := range s.List(ctx, ".") {
				require.NoError(t, err)
				n++
			}
			require.Equal(t, 1, n)
		})
	}
}

// A store may be named by a link to its directory.
func TestOpen_TakesALinkToADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	s := open(t, sshtest.Start(t).Config(), filepath.Join(dir, "link"))
	info, err := s.Stat(t.Context(), ".")
	require.NoError(t, err)
	require.True(t, info.Mode.IsDir())
	works(t, s)
}

// A link that lies where an upload goes is not followed.
func TestCreate_FollowsNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, sshtest.Start(t).Config(), dir)
	info := transfer.Info{Name: "x", Size: 2 << 20, Mode: 0o600}
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return false, nil })
	require.NoError(t, err)
	_, err = up.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, up.Close())
	kept, err := filepath.Glob(filepath.Join(dir, transfer.ReservedPrefix+"*"))
	require.NoError(t, err)
	require.Len(t, kept, 2)
	victim := sshtest.WriteFile(t, "victim", "precious")
	for _, name := range kept {
		require.NoError(t, os.Remove(name))
		require.NoError(t, os.Symlink(victim, name))
	}
	_, err = s.Create(t.Context(), info)
	require.ErrorIs(t, err, fs.ErrExist)
	text, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

// Requests carry 255 KiB where the server is OpenSSH.
func TestStore_SendsLargePacketsToOpenSSH(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	d := sshtest.Start(t, sshtest.ExternalSFTP(t)+" -e -l DEBUG1 2>"+log)
	works(t, open(t, d.Config(), t.TempDir()))
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(text), fmt.Sprintf("len %d", 255<<10))
}

// Requests carry 32 KiB, which all servers take, where it is not; and a server
// may answer with less than was asked for.
func TestStore_SendsPlainPacketsToOthers(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1 << 20, 4 << 10, 1} {
		t.Run(fmt.Sprintf("at most %d bytes an answer", most), func(t *testing.T) {
			t.Parallel()
			size := int64(min(most<<10, 1<<20)) + 1
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(i * 7 >> 3)
			}
			c := quirky{Handlers: sftp.Handlers{FileList: listing{}, FileGet: reader(func(p []byte, off int64) (int, error) {
				if len(p) > 32<<10 {
					t.Errorf("asked for %d bytes", len(p))
				}
				n, err := bytes.NewReader(want).ReadAt(p[:min(len(p), most)], off)
				if err == nil {
					err = io.EOF // the server's library would take less for an error
				}
				return n, err
			})}}.start(t)
			s := open(t, c, "/")
			r, err := s.Open(t.Context(), "x", 0)
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.True(t, bytes.Equal(want, got))
		})
	}
}

// sized is a file that looks at how much it is given at once.
type sized struct{ t *testing.T }

func (s sized) Filewrite(*sftp.Request) (io.WriterAt, error) { return s, nil }

func (s sized) Filecmd(*sftp.Request) error { return nil }

func (s sized) WriteAt(p []byte, _ int64) (int, error) {
	if len(p) > 32<<10 {
		s.t.Errorf("given %d bytes", len(p))
	}
	return len(p), nil
}

// So do those that write.
func TestStore_WritesPlainPacketsToOthers(t *testing.T) {
	t.Parallel()
	h := sized{t}
	s := open(t, quirky{Handlers: sftp.Handlers{FilePut: h, FileCmd: h, FileList: listing{}}}.start(t), "/")
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 1000 << 10, Mode: 0o600})
	require.NoError(t, err)
	_, err = up.Write(make([]byte, 1000<<10))
	require.NoError(t, err)
	require.NoError(t, up.Commit(t.Context(), false))
	require.NoError(t, up.Close())
}

// The names a server lists never lead out of the directory listed, and what
// cannot be believed does not keep the rest from being listed.
func TestList_RefusesNamesThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lie     string
		entry   entry
		refused error
	}{
		{"an empty name", entry{name: ""}, transfer.ErrName},
		{"the root", entry{name: "/"}, transfer.ErrName},
		{"a NUL", entry{name: "a\x00b"}, transfer.ErrName},
		{"the parent", entry{name: ".."}, nil},
		{"a name in the parent", entry{name: "../x"}, nil},
		{"a name below", entry{name: "a/b"}, nil},
		{"a rooted name", entry{name: "/etc/passwd"}, nil},
		{"a negative size", entry{name: "x", size: -1}, errors.ErrUnsupported},
	} {
		t.Run(c.lie, func(t *testing.T) {
			t.Parallel()
			cfg := quirky{Handlers: sftp.Handlers{FileList: listing{{name: "good"}, c.entry}}}.start(t)
			s := open(t, cfg, "/top")
			var failed error
			good := false
			for info, err := range s.List(t.Context(), "dir") {
				if err != nil {
					failed = err
					continue
				}
				good = good || info.Name == "dir/good"
				require.NoError(t, transfer.ValidName(info.Name))
				require.Equal(t, 1, strings.Count(info.Name, "/"), "%q", info.Name)
				require.True(t, strings.HasPrefix(info.Name, "dir/"), "%q", info.Name)
				require.GreaterOrEqual(t, info.Size, int64(0))
			}
			require.True(t, good)
			switch {
			case c.refused == nil:
				require.NoError(t, failed)
			case c.refused == transfer.ErrName:
				require.ErrorIs(t, failed, transfer.ErrName)
			default:
				require.Error(t, failed)
			}
			_, err := s.Stat(t.Context(), ".")
			require.NoError(t, err, "the connection is still good")
		})
	}
}

// Links keep their target, whatever its bytes.
func TestList_KeepsTargetsOfLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, sshtest.Start(t).Config(), dir)
	want := map[string]string{}
	for i, target := range []string{
		"../../../etc/passwd", "/", " ", "a\nb", "\xff\xfe", "-rf", "$(reboot)", "loop5", "dangling/..", strings.Repeat("n/", 500) + "n",
	} {
		name := fmt.Sprint("link", i)
		want[name] = target
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	got := map[string]string{}
	for info, err := range s.List(t.Context(), ".") {
		require.NoError(t, err)
		require.Equal(t, fs.ModeSymlink, info.Mode.Type())
		got[info.Name] = info.Target
	}
	require.Equal(t, want, got)
}

// Times have the range of SFTP, 1970 to 2106: others come back off by multiples
// of 2^32 seconds, and nothing else is lost.
func TestStore_KeepsTimesModulo32Bits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, sshtest.Start(t).Config(), dir)
	for _, want := range []time.Time{
		time.Unix(0, 0), time.Unix(1<<31, 0), time.Unix(1<<32-1, 0),
		time.Date(1960, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{},
	} {
		up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 1, ModTime: want, Mode: 0o600})
		require.NoError(t, err)
		_, err = up.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, up.Commit(t.Context(), true))
		require.NoError(t, up.Close())
		info, err := s.Stat(t.Context(), "x")
		require.NoError(t, err)
		require.Equal(t, uint32(want.Unix()), uint32(info.ModTime.Unix()), "%v", want)

		require.NoError(t, os.Chtimes(filepath.Join(dir, "x"), time.Time{}, want))
		info, err = s.Stat(t.Context(), "x")
		require.NoError(t, err)
		if !want.IsZero() { // for Chtimes: leave it
			require.Equal(t, uint32(want.Unix()), uint32(info.ModTime.Unix()), "%v", want)
		}
	}
}

// Now is the clock of the far side.
func TestNow_IsTheClockOfTheFarSide(t *testing.T) {
	t.Parallel()
	s := open(t, sshtest.Start(t).Config(), "")
	before := time.Now().Truncate(time.Second)
	now, err := s.Now(t.Context())
	require.NoError(t, err)
	require.False(t, now.Before(before), "%v is before %v", now, before)
	require.False(t, now.After(time.Now()), "%v", now)

}

// A server that cannot replace a file in one step says so, and the file stays.
func TestCommit_SaysThatAServerCannotReplace(t *testing.T) {
	require.NoError(t, sftp.SetSFTPExtensions("statvfs@openssh.com")) // without posix-rename, for all servers of this process
	t.Cleanup(func() {
		require.NoError(t, sftp.SetSFTPExtensions("hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com"))
	})
	s := open(t, quirky{Handlers: sftp.InMemHandler()}.start(t), "/")
	put := func(text string) error {
		up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: int64(len(text)), Mode: 0o600})
		require.NoError(t, err)
		_, err = up.Write([]byte(text))
		require.NoError(t, err)
		return errors.Join(up.Commit(t.Context(), true), up.Close())
	}
	require.NoError(t, put("one"))
	err := put("two")
	t.Log(err)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	r, err := s.Open(t.Context(), "x", 0)
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, "one", string(text))
}
