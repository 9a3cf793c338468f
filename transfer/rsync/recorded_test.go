//go:build linux

package rsync_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

var update = flag.Bool("update", false, "record the sessions of testdata/fuzz again, with the rsync that is installed")

// session is one between two of Debian's rsync, and what our options are for
// it. Those whose bytes are on record have their place for ever.
type session struct {
	name  string
	ours  rsync.Options
	extra []string // options of Debian's client

	otherwise bool // ours would not have said the same, and so ends early
}

var sessions = []session{
	{"plain", rsync.Options{}, nil, false},
	{"zstd", rsync.Options{Compress: []string{"zstd"}}, []string{"-z", "--compress-choice=zstd"}, false},
	{"lz4", rsync.Options{Compress: []string{"lz4"}}, []string{"-z", "--compress-choice=lz4"}, false},
	{"zlibx", rsync.Options{Compress: []string{"zlibx"}}, []string{"-z", "--compress-choice=zlibx"}, false},
	{"negotiated", rsync.Options{Compress: []string{"zstd", "lz4", "zlibx"}}, []string{"-z"}, false},
	{"hard-links", rsync.Options{HardLinks: true}, []string{"-H"}, true},
	{"delete", rsync.Options{Delete: rsync.DeleteDuring}, []string{"--delete"}, false},
	{"checksum", rsync.Options{Checksum: true}, []string{"-c"}, false},
	{"version-31", rsync.Options{Version: 31}, []string{"--protocol=31"}, false},
	{"version-30", rsync.Options{Version: 30}, []string{"--protocol=30"}, false},
	{"version-29", rsync.Options{Version: 29}, []string{"--protocol=29"}, false},
	{"append", rsync.Options{Partial: true, Append: true}, []string{"--partial", "--append-verify"}, false},
	{"dry-run", rsync.Options{DryRun: true}, []string{"-n"}, false},
	{"numeric-ids", rsync.Options{NumericIDs: true, PartialDir: ".part"}, []string{"--numeric-ids", "--partial-dir=.part"}, false},
	{"incremental", rsync.Options{}, []string{"--inc-recursive"}, true},
}

func (s *session) options() *rsync.Options {
	o := s.ours
	o.Recursive, o.Links, o.Perms, o.Times, o.Owner, o.Group = true, true, true, true, true, true
	o.Seed = 1
	return &o
}

// scene makes what a session sends, or what it finds at its destination.
func scene(t testing.TB, dir string, sends bool) {
	t.Helper()
	grown := random(1, 1500)
	if sends {
		write(t, dir, "a", []byte("hello, world\n"))
		write(t, dir, "sub/b", random(2, 100))
		write(t, dir, "sub/grown", grown)
		write(t, dir, "sub/deep/c", bytes.Repeat([]byte("c"), 900))
		require.NoError(t, os.Symlink("a", filepath.Join(dir, "link")))
		require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "sub/hard")))
	} else {
		write(t, dir, "sub/grown", grown[:1400])
		write(t, dir, "sub/extra/x", []byte("x"))
	}
	stamp(t, dir)
}

// replay is a peer that says what is on record, whatever it hears: the next byte
// when there is nobody left here who does not wait for it.
type replay struct{ said []byte }

func (r *replay) Read(p []byte) (int, error) {
	synctest.Wait()
	if len(r.said) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], r.said)
	r.said = r.said[n:]
	return n, nil
}

func (*replay) Write(p []byte) (int, error) { return len(p), nil }
func (*replay) Close() error                { return nil }

// toClient has a client of ours hear what a server says.
func toClient(t *testing.T, said []byte, which uint8, push bool) error {
	outer := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(outer, "in"), 0o755))
	scene(t, filepath.Join(outer, "in"), push)
	root, err := os.OpenRoot(filepath.Join(outer, "in"))
	require.NoError(t, err)
	defer root.Close()
	o := sessions[int(which)%len(sessions)].options()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if push {
		_, err = rsync.Push(ctx, &replay{said}, root, o, ".")
	} else {
		_, err = rsync.Pull(ctx, &replay{said}, root, ".", o)
	}
	require.NoError(t, ctx.Err(), "it hangs")
	left, e := os.ReadDir(outer)
	require.NoError(t, e)
	require.Len(t, left, 1)
	return err
}

// toServer has a server of ours hear what a client says.
func toServer(t *testing.T, said []byte, args string) error {
	outer := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(outer, "served/in"), 0o755))
	scene(t, filepath.Join(outer, "served/in"), strings.Contains(args, "--sender"))
	root, err := os.OpenRoot(filepath.Join(outer, "served"))
	require.NoError(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err = rsync.Serve(ctx, &replay{said}, strings.Split(args, "\n"), root, rsync.ReadWrite)
	require.NoError(t, ctx.Err(), "it hangs")
	left, e := os.ReadDir(outer)
	require.NoError(t, e)
	require.Len(t, left, 1)
	return err
}

// What Debian's rsync has said to another is understood to the end by ours.
// So the corpus of the fuzz targets reaches all that such sessions do.
func TestRecorded_SessionsAreUnderstood(t *testing.T) {
	if *update {
		needRsync(t)
		for _, target := range []string{forClient, forServer} {
			require.NoError(t, os.RemoveAll(target))
			require.NoError(t, os.MkdirAll(target, 0o755))
		}
		for i := range sessions {
			record(t, uint8(i), true)
			record(t, uint8(i), false)
		}
	}
	total := int64(0)
	for i, s := range sessions {
		for _, push := range []bool{true, false} {
			name := recordName(s.name, push)
			t.Run(name, func(t *testing.T) {
				for _, file := range []string{filepath.Join(forClient, name), filepath.Join(forServer, name)} {
					fi, err := os.Stat(file)
					require.NoError(t, err)
					require.Less(t, fi.Size(), int64(4<<10))
					total += fi.Size()
				}
				if s.otherwise {
					return
				}
				said, rest := readRecord(t, filepath.Join(forClient, name))
				require.Equal(t, fmt.Sprintf("uint8(%d)\nbool(%v)\n", i, push), rest)
				synctest.Test(t, func(t *testing.T) { require.NoError(t, toClient(t, said, uint8(i), push)) })
				said, rest = readRecord(t, filepath.Join(forServer, name))
				args, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(rest, "string("), ")\n"))
				require.NoError(t, err)
				synctest.Test(t, func(t *testing.T) { require.NoError(t, toServer(t, said, args)) })
			})
		}
	}
	require.Less(t, total, int64(100<<10))
}

const (
	forClient = "testdata/fuzz/FuzzClient_SurvivesAnyServer"
	forServer = "testdata/fuzz/FuzzServe_SurvivesAnyClient"
)

func recordName(session string, push bool) string {
	if push {
		return session + "-push"
	}
	return session + "-pull"
}

// record makes the seeds of one session.
func record(t *testing.T, which uint8, push bool) {
	s := &sessions[which]
	src, dst := t.TempDir(), t.TempDir()
	scene(t, src, true)
	scene(t, dst, false)
	client, server, args := overheard(t, src, dst, push, append([]string{"-rlptog", "--checksum-seed=1", "--no-inc-recursive"}, s.extra...))
	args[len(args)-1] = "in/"
	name := recordName(s.name, push)
	seed := func(dir string, said []byte, rest string) {
		text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n%s", said, rest)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	seed(forClient, server, fmt.Sprintf("uint8(%d)\nbool(%v)\n", which, push))
	seed(forServer, client, fmt.Sprintf("string(%q)\n", strings.Join(args, "\n")))
}

func readRecord(t *testing.T, file string) (said []byte, rest string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.SplitAfterN(string(text), "\n", 3)
	words, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(lines[1], "[]byte("), ")\n"))
	require.NoError(t, err)
	return []byte(words), lines[2]
}

// overheard is what the two sides of a session of Debian's rsync say, and the
// arguments of its server.
func overheard(t *testing.T, src, dst string, push bool, options []string) (client, server []byte, args []string) {
	t.Helper()
	dir := t.TempDir()
	up, down := filepath.Join(dir, "up"), filepath.Join(dir, "down")
	require.NoError(t, syscall.Mkfifo(up, 0o600))
	require.NoError(t, syscall.Mkfifo(down, 0o600))
	shell := filepath.Join(dir, "shell")
	script := fmt.Sprintf("#!/bin/sh\nshift 2\nprintf '%%s\\n' \"$@\" >%s/args\nexec 3<&0\ncat <&3 >%s &\nexec cat <%s\n", dir, up, down)
	require.NoError(t, os.WriteFile(shell, []byte(script), 0o755))
	options = append(options, "-e", shell)
	if push {
		options = append(options, src+"/", "host:"+dst+"/")
	} else {
		options = append(options, "host:"+src+"/", dst+"/")
	}
	near := exec.Command("rsync", options...)
	near.Stderr = t.Output()
	require.NoError(t, near.Start())
	fromNear, err := os.Open(up)
	require.NoError(t, err)
	defer fromNear.Close()
	toNear, err := os.OpenFile(down, os.O_WRONLY, 0)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "args"))
	require.NoError(t, err)
	args = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	far := exec.Command("rsync", args...)
	toFar, err := far.StdinPipe()
	require.NoError(t, err)
	fromFar, err := far.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, far.Start())
	var wg sync.WaitGroup
	var fromClient, fromServer bytes.Buffer
	wg.Go(func() {
		_, _ = io.Copy(io.MultiWriter(&fromClient, toFar), fromNear) // the server may have gone
		toFar.Close()
	})
	_, err = io.Copy(io.MultiWriter(&fromServer, toNear), fromFar)
	require.NoError(t, err)
	require.NoError(t, toNear.Close())
	require.NoError(t, far.Wait())
	require.NoError(t, near.Wait())
	wg.Wait()
	return fromClient.Bytes(), fromServer.Bytes(), args
}
