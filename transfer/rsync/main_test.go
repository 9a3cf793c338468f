package rsync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// serveRoot is the environment variable that makes a process of this test
// binary the server of that directory.
const serveRoot = "OBSKEEP_TEST_RSYNC_ROOT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveRoot); dir != "" {
		os.Exit(serve(dir))
	}
	if job := os.Getenv(copyJob); job != "" {
		os.Exit(copyTrees(job))
	}
	goleak.VerifyTestMain(m)
}

// copyJob is the environment variable that makes a process of this test binary
// copy a tree to or from a server that it starts.
const copyJob = "OBSKEEP_TEST_RSYNC_COPY"

func copyTrees(job string) int {
	words := strings.SplitN(job, "\n", 3)
	push, src, dst := words[0] == "true", words[1], words[2]
	near, far := dst, src
	if push {
		near, far = src, dst
	}
	o := &rsync.Options{Recursive: true, Links: true, Perms: true, Times: true, PartialDir: ".part"}
	err := func() error {
		root, err := os.OpenRoot(near)
		if err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.Command(self, o.ServerArgs(!push, far+"/")...)
		cmd.Env = append(os.Environ(), serveRoot+"=/")
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		if push {
			_, err = rsync.Push(context.Background(), pipes{out, in}, root, o, ".")
		} else {
			_, err = rsync.Pull(context.Background(), pipes{out, in}, root, ".", o)
		}
		return errors.Join(err, cmd.Wait())
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(dir string) int {
	root, err := os.OpenRoot(dir)
	if err == nil {
		_, err = rsync.Serve(context.Background(), stdio{}, os.Args[1:], root, rsync.ReadWrite)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if e, ok := errors.AsType[*rsync.Error](err); ok {
		return int(e.Code)
	}
	return 1
}

// stdio is the conversation with whoever started this process.
type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) }

// pipes is a conversation over two pipes.
type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) CloseWrite() error           { return p.w.Close() }
func (p pipes) Close() error                { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }
