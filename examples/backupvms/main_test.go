package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer/mailtest"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"backupvms": main})
}

// The scripts run the command as cron does, against a real sshd with rsync and a real
// postfix.
func TestScripts(t *testing.T) {
	sshtest.Need(t, "sh", "sha256sum", "mount", "umount", "rsync")
	sshd := sshtest.Start(t)
	mta := mailtest.Postfix(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"GORACE":  "atexit_sleep_ms=0",
				"HOME":    env.WorkDir,
				"SSHD":    sshd.Addr,
				"SSHUSER": sshd.User,
				"KEY":     sshd.Key,
				"KNOWN":   sshd.KnownHosts,
				"SMTP":    mta.Addr,
				"MAILDIR": mta.Maildir(),
				"DOMAIN":  mailtest.Domain,
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"image":  cmdImage,
			"config": cmdConfig,
			"tmpfs":  cmdTmpfs,
			"code":   cmdCode,
			"await":  cmdAwait,
		},
	})
}

// image DIR MACHINE DAYS SIZE makes an image, so many days old, of a disk that is another in
// one block of a hundred for each age. $DAYS is then its ID, as ID7 for 7.
func cmdImage(ts *testscript.TestScript, _ bool, args []string) {
	days, err := strconv.Atoi(args[2])
	ts.Check(err)
	size, err := strconv.Atoi(args[3])
	ts.Check(err)
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	for off := 0; off+8 < size; off += 100 << 12 {
		binary.LittleEndian.PutUint64(data[off:], uint64(days))
	}
	raw := ts.MkAbs("disk.raw")
	ts.Check(os.WriteFile(raw, data, 0o600))
	source, err := disk.Open(raw, "raw")
	ts.Check(err)
	defer source.Close()
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	target, err := plain.Open(dir, nil)
	ts.Check(err)
	defer target.Close()
	taken := time.Now().UTC().Add(time.Duration(-days) * 24 * time.Hour)
	image, err := target.Store(context.Background(), vmimage.Image{
		Machine: args[1], ID: vmimage.NewID(taken), Taken: taken, Consistency: vmimage.Clean, Down: 6 * time.Second, Shutdown: 4 * time.Second,
	}, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
	ts.Check(err)
	_, err = target.Verify(context.Background(), image)
	ts.Check(err)
	ts.Setenv("ID"+args[2], image.ID)
}

// config FILE replaces the variables in a configuration.
func cmdConfig(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		if v := ts.Getenv(name); v != "" {
			return v
		}
		return "$" + name
	})
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// tmpfs DIR OPTIONS mounts a file system of its own, until the script ends.
func cmdTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", args[1], "tmpfs", dir).CombinedOutput(); err != nil {
		ts.Fatalf("mount: %v: %s", err, out)
	}
	ts.Defer(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			ts.Logf("umount: %v: %s", err, out)
		}
	})
}

// code N ARGS... runs backupvms and wants this exit code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("backupvms", args[1:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await GLOB waits until there is such a file.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(found) > 0 {
			return
		}
	}
	ts.Fatalf("%s does not come", args[0])
}

// The disks of the demonstration say what they are, so that nobody takes them for a
// machine's.
func TestSynthesize_SaysThatItIsSynthetic(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, synthesize(path, "web01", 1))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(text[:100]), "synthetic, of no machine: block 0 of web01, generation 1")
}
