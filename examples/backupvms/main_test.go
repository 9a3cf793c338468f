package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/scripttest"
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
	scripttest.Run(t, "backupvms", map[string]string{
		"SSHD":    sshd.Addr,
		"SSHUSER": sshd.User,
		"KEY":     sshd.Key,
		"KNOWN":   sshd.KnownHosts,
		"SMTP":    mta.Addr,
		"MAILDIR": mta.Maildir(),
		"DOMAIN":  mailtest.Domain,
	}, map[string]scripttest.Cmd{"image": cmdImage})
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
