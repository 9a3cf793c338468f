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

// programs is where the programs of the tests are built; it goes with them.
var programs string

func TestMain(m *testing.M) {
	if job := os.Getenv(copyJob); job != "" {
		os.Exit(copyTrees(job))
	}
	var err error
	if programs, err = os.MkdirTemp("", "obskeep-rsync-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(programs)
		os.Exit(code)
	}))
}

// copyJob is the environment variable that makes a process of this test binary
// copy a tree to or from a server that it starts.
const copyJob = "OBSKEEP_TEST_RSYNC_COPY"

func copyTrees(job string) int {
	words := strings.SplitN(job, "\n", 4)
	push, src, dst, server := words[0] == "true", words[1], words[2], words[3]
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
		cmd := exec.Command(server, append([]string{"-root", "/", "--"}, o.ServerArgs(!push, far+"/")...)...)
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

// pipes is a conversation over two pipes.
type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) CloseWrite() error           { return p.w.Close() }
func (p pipes) Close() error                { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }
