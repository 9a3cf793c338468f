package sshstore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// After Close nothing runs any more: all tests close what they open.
func TestMain(m *testing.M) {
	if job := os.Getenv(mirrorJob); job != "" {
		os.Exit(runMirrorJob(job)) // a process of its own for the benchmarks
	}
	goleak.VerifyTestMain(m)
}
