package main

import (
	"os"
	"os/exec"
	"testing"
	_ "time/tzdata" // the zones of testdata/script/now.txtar, in the command too

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"julianday": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"date", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
				t.Fatalf("%s is required: %v", program, err)
			}
			t.Skipf("%s is not installed: %v", program, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// Each process built with -race waits a second at its exit, for
			// other goroutines to report; this command has none.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
	})
}
