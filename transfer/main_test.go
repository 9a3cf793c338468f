package transfer_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
)

// childEnv makes the test binary a mirror of its own: see killed.
const childEnv = "OBSKEEP_TEST_MIRROR"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := mirrorSlowly(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// mirrorSlowly mirrors one directory into another, and prints how many bytes
// have been sent.
func mirrorSlowly(from, to string) error {
	src, err := dirstore.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := dirstore.Open(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	_, err = transfer.Mirror(context.Background(), dst, src, &transfer.Options{
		Bandwidth: 20 << 20,
		Progress:  func(s transfer.Stats) { fmt.Println(s.Literal) },
	})
	return err
}
