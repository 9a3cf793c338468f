// Rsyncserve is what an SSH account runs instead of a shell, so that rsync
// clients can read or write one folder and do nothing else.
//
//	rsyncserve -root DIR [-read-only | -write-only]
//
// It serves one client on its standard input and output. What the client asked
// for is the command in SSH_ORIGINAL_COMMAND, which sshd sets, or else the
// remaining arguments; nothing of it is run. Paths are taken from DIR, whatever
// they are: "/", ".." and symbolic links lead nowhere else.
//
// In authorized_keys of the account, on one line:
//
//	restrict,command="/usr/local/bin/rsyncserve -root /data -read-only" ssh-ed25519 AAAA... backup
//
// Then, with the rsync of any machine:
//
//	rsync -a logger:/ /backup/logger/
//
// It exits with 0 when done, 2 if it was called wrongly, and else with the
// code that rsync has for it: 1 usage, 4 not allowed, 12 the conversation
// broke, 23 some files were not transferred.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/obskeep/obskeep/transfer/rsync"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv("SSH_ORIGINAL_COMMAND"), stdio{}, os.Stderr))
}

func run(ctx context.Context, args []string, command string, c rsync.Conn, stderr io.Writer) int {
	fail := func(code int, err error) int {
		fmt.Fprintln(stderr, "rsyncserve:", err)
		return code
	}
	flags := flag.NewFlagSet("rsyncserve", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, without the usage
	dir := flags.String("root", "", "the `folder` to serve")
	readOnly := flags.Bool("read-only", false, "let clients read alone")
	writeOnly := flags.Bool("write-only", false, "let clients write alone")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "usage: rsyncserve -root DIR [-read-only | -write-only]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return 0
	case err != nil:
	case *dir == "":
		err = errors.New("-root DIR is missing: the folder to serve")
	case *readOnly && *writeOnly:
		err = errors.New("-read-only and -write-only exclude each other")
	}
	if err != nil {
		return fail(2, err)
	}
	words := flags.Args()
	if command != "" {
		if words, err = split(command); err == nil && len(words) > 0 {
			words = words[1:] // the client's name for rsync
		}
	}
	if err == nil && len(words) == 0 {
		err = errors.New("no command: this is to be started by an rsync client, through sshd")
	}
	if err != nil {
		return fail(2, err)
	}
	root, err := os.OpenRoot(*dir)
	if err != nil {
		return fail(2, err)
	}
	defer root.Close()
	access := rsync.ReadWrite
	if *readOnly {
		access = rsync.ReadOnly
	} else if *writeOnly {
		access = rsync.WriteOnly
	}
	if _, err := rsync.Serve(ctx, c, words, root, access); err != nil {
		if e, ok := errors.AsType[*rsync.Error](err); ok {
			return fail(int(e.Code), err)
		}
		return fail(int(rsync.CodeStream), err)
	}
	return 0
}

// stdio is the conversation with the client.
type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return errors.Join(os.Stdin.Close(), os.Stdout.Close()) }
