//go:build linux

package rsync_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// Whichever side is killed, whenever, the other ends by itself, and no file is
// ever seen but as it was or whole. The run that gets through leaves the tree
// that was sent, and nothing of the dead.
func TestInterop_SurvivesKillsAtAnyMoment(t *testing.T) {
	needRsync(t)
	const kills = 34 // of each of six
	src, was := days(t), t.TempDir()
	for i := range 20 {
		write(t, was, fmt.Sprintf("268/%02d.dat", i), random(uint64(100+i), 2000))
	}
	big := random(99, 4<<20)
	copy(big, random(98, 2<<20))
	write(t, was, "big", big)
	old, want := tree(t, was), tree(t, src)
	var all, midway atomic.Int64
	t.Run("kills", func(t *testing.T) {
		everyWay(t, func(t *testing.T, client, server peer, push bool) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			dst := t.TempDir()
			begin := func() {
				require.NoError(t, os.RemoveAll(dst))
				out, err := exec.Command("cp", "-a", was, dst).CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			begin()
			took := couple(t, client, server, push, src, dst).run(t, nil)
			begin()
			before := old
			for killed := 0; killed < kills; {
				victim, late, at := r.IntN(3), r.IntN(2) == 0, time.Duration(r.Int64N(int64(took)))
				seen := changes(dst)
				c := couple(t, client, server, push, src, dst)
				c.run(t, func() {
					if late { // when the first file is on its way
						for end := time.Now().Add(took); changes(dst) == seen && time.Now().Before(end); {
							time.Sleep(time.Millisecond)
						}
						at /= 4
					}
					time.Sleep(at)
					switch victim {
					case 0:
						_ = c.cmd.Process.Kill() // it may have ended
					case 1:
						if group, err := syscall.Getpgid(c.server); err == nil && group == c.cmd.Process.Pid {
							_ = syscall.Kill(c.server, syscall.SIGKILL)
						}
					case 2:
						_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
					}
				})
				now, left := tree(t, dst), 0
				for name, e := range now {
					w, ok := want[name]
					switch o := old[name]; {
					case ok && e.Data != w.Data && e.Data != o.Data:
						t.Fatalf("kill %d of %d after %v: %s is %q", killed, victim, at, name, e.Data)
					case ok && e.Data == w.Data:
						left--
					case !ok && !strings.HasPrefix(filepath.Base(name), ".") && filepath.Base(filepath.Dir(name)) != ".part":
						t.Fatalf("%s can be seen", name)
					}
				}
				if c.cmd.ProcessState.Success() {
					begin()
					before = old
					continue
				}
				killed++
				all.Add(1)
				if left += len(want); left > 0 && !maps.Equal(before, now) {
					midway.Add(1)
				}
				before = now
			}
			_, err := run(t, client, server, push, src, dst, plain(), "-rlpt", "--partial-dir=.part", "--delete-delay")
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, tree(t, dst)))
		})
	})
	t.Logf("%d of %d kills came when something had been written, and not all", midway.Load(), all.Load())
	require.GreaterOrEqual(t, all.Load(), int64(200))
	require.Greater(t, midway.Load(), all.Load()/4)
}

// changes differ when something has been made in the directories of a copy.
func changes(dir string) (times [2]time.Time) {
	for i, name := range []string{".", "268"} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil {
			times[i] = fi.ModTime()
		}
	}
	return times
}

// copying is a client that copies, with its server: a process group.
type copying struct {
	cmd    *exec.Cmd
	server int // once it runs
	alive  *os.File
	held   *os.File
}

// couple makes a client and a server that copy src to dst. Both hold the
// write end of a pipe, in which the server says who it is.
func couple(t *testing.T, client, server peer, push bool, src, dst string) *copying {
	t.Helper()
	program := "rsync"
	if server == ours {
		file, err := rsyncserve()
		require.NoError(t, err)
		program = file + " -root / --"
	}
	dir := t.TempDir()
	script := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		return file
	}
	serve := script("serve", `echo $$ >&3; shift 3; exec `+program+` "$@"`)
	c := new(copying)
	if client == ours {
		self, err := os.Executable()
		require.NoError(t, err)
		c.cmd = exec.Command(self)
		c.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("%s=%v\n%s\n%s\n%s", copyJob, push, src, dst, serve))
	} else {
		args := []string{"-e", script("shell", `shift; exec sh -c "$*"`), "-rlpt", "--partial-dir=.part", "--rsync-path=" + serve + " -root / --"}
		if push {
			args = append(args, src+"/", "host:"+dst+"/")
		} else {
			args = append(args, "host:"+src+"/", dst+"/")
		}
		c.cmd = exec.Command("rsync", args...)
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	c.alive, c.held, err = os.Pipe()
	require.NoError(t, err)
	c.cmd.ExtraFiles = []*os.File{c.held}
	return c
}

// run starts the couple, calls then when the server runs, and waits for the end
// of both. It returns how long the server's life was.
func (c *copying) run(t *testing.T, then func()) time.Duration {
	t.Helper()
	defer c.alive.Close()
	require.NoError(t, c.cmd.Start())
	require.NoError(t, c.held.Close())
	require.NoError(t, c.alive.SetReadDeadline(time.Now().Add(time.Minute)))
	in := bufio.NewReader(c.alive)
	line, err := in.ReadString('\n')
	begun := time.Now()
	if err == nil {
		c.server, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err == nil && then != nil {
		then()
	}
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
	life := time.Since(begun)
	exit := c.cmd.Wait()
	require.NoError(t, err, "they do not end: %v", exit)
	if then == nil {
		require.NoError(t, exit)
	}
	return life
}
