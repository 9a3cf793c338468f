package fetch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// runJob is the environment variable by which a test calls itself, to be killed: a job.
const runJob = "FETCH_JOB"

// job is a run in a process of its own.
type job struct {
	Addr, User, Key, KnownHosts string
	There, Here                 string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(runJob); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runChild(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	ctx := context.Background()
	source, err := sshstore.Open(ctx, sshstore.Config{Addr: j.Addr, User: j.User, Keys: []string{j.Key}, Agent: "none", KnownHosts: []string{j.KnownHosts}}, j.There)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := plain.Open(j.Here, nil)
	if err != nil {
		return err
	}
	defer target.Close()
	f, err := fetch.New(fetch.Config{
		Source: source, Keeper: vmimage.Keeper{Target: target, Policy: campaignPolicy},
		Transfer: &transfer.Options{Pause: time.Millisecond},
	})
	if err != nil {
		return err
	}
	p, err := f.Plan(ctx)
	if err != nil {
		return err
	}
	var failed error
	err = f.Run(ctx, p, func(r fetch.Result) {
		if r.Err != nil {
			failed = r.Err
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// campaignPolicy has the oldest image go when the others are there.
var campaignPolicy = vmimage.Policy{Last: 2}
