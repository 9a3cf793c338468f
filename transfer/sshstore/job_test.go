package sshstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"runtime/pprof"
	"slices"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
)

// mirrorJob is the environment variable that makes a process of this test
// binary do one mirror, and nothing else.
const mirrorJob = "OBSKEEP_TEST_MIRROR"

type job struct {
	Addr, User, Key, KnownHosts string

	Remote string // directory on the server
	Local  string
	Push   bool
	Verify transfer.Verify

	Signatures string
	Changed    []transfer.Range // nil for what is not known

	Walk bool // the remote directory, and nothing else
}

func runMirrorJob(text string) int {
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if name := os.Getenv("OBSKEEP_CPUPROFILE"); name != "" && err == nil {
		var f *os.File
		if f, err = os.Create(name); err == nil {
			if err = pprof.StartCPUProfile(f); err == nil {
				defer pprof.StopCPUProfile()
			}
		}
	}
	if err == nil {
		err = j.run(context.Background())
	}
	if io, e := os.ReadFile("/proc/self/io"); e == nil { // Linux tells what has been read
		fmt.Printf("%s", io)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (j job) run(ctx context.Context) error {
	remote, err := sshstore.Open(ctx, sshstore.Config{
		Addr: j.Addr, User: j.User, Keys: []string{j.Key}, KnownHosts: []string{j.KnownHosts}, Agent: "none",
	}, j.Remote)
	if err != nil {
		return err
	}
	defer remote.Close()
	local, err := dirstore.Open(j.Local)
	if err != nil {
		return err
	}
	defer local.Close()
	if j.Walk {
		for _, err := range transfer.Walk(ctx, remote, nil) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	var dst, src transfer.Store = local, remote
	if j.Push {
		dst, src = remote, local
	}
	o := &transfer.Options{Verify: j.Verify, Signatures: j.Signatures}
	if j.Changed != nil {
		o.Changed = func(string, transfer.Info) (iter.Seq[transfer.Range], bool) { return slices.Values(j.Changed), true }
	}
	_, err = transfer.Mirror(ctx, dst, src, o)
	return err
}
