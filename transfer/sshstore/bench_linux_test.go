package sshstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// The benchmarks copy trees with this package and with the rsync of this
// machine, each in a process of its own, over the same sshd, taking turns. An
// iteration is one turn of each; medians and ratios are reported:
//
//	go test -run '^$' -bench . -benchtime 5x -timeout 1h ./transfer/sshstore
//
//	ours         the default: what was sent is fsynced, read back and compared
//	ours-none    VerifyNone: fsynced, not read back
//	rsync        rsync -a, which neither fsyncs nor reads back
//	rsync-fsync  rsync -a --fsync
//	rclone       rclone copy over SFTP
//
// The memory that is reported is the most that the first process has had; what it has
// read is that from disks and from the line together.
//
// OBSKEEP_CPUPROFILE names a file for the profile of the last process of ours.

// contest is one tree that is copied in one direction.
type contest struct {
	src     string
	push    bool
	prepare func() (dst string) // before each turn, not timed
	dst     string

	// begin leaves what an earlier run has left, with a command of whose turn it is.
	begin func(cmd *exec.Cmd, p *sshtest.Proxy)

	rate       int64 // of a link with a round trip of 50 ms, bytes per second; negative for one without a limit
	noRsync    bool  // on the far side, for us
	signatures bool  // of the destination are kept
	changed    []transfer.Range
	rsync      []string // options

	contenders []string // in the order of their turns; nil for the first three
}

// durable are the contenders where fsync costs most: for what is copied whole.
var durable = []string{"ours", "rsync", "ours-none", "rsync-fsync"}

func (c contest) run(b *testing.B) {
	sshtest.Need(b, "rsync", "ssh")
	contenders := c.contenders
	if contenders == nil {
		contenders = []string{"ours", "rsync", "ours-none"}
	}
	var lines []string
	if c.noRsync {
		lines = append(lines, sshtest.Instead(b, "rsync", "exit 127"))
	}
	d := sshtest.Start(b, lines...)
	p := sshtest.NewProxy(b, d.Addr)
	throughProxy := d.Via(b, p)
	cfg := d.Config()
	if c.rate != 0 {
		p.Slow(50*time.Millisecond, max(0, c.rate))
		cfg = throughProxy
	}
	times, wire, memory, read := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		for _, who := range contenders {
			c.ready(b, who, d, p, throughProxy)
			cmd := c.command(b, who, d, cfg)
			begun := time.Now()
			out, err := cmd.CombinedOutput()
			times[who] = append(times[who], time.Since(begun).Seconds())
			require.NoError(b, err, "%s: %s", who, out)
			memory[who] = append(memory[who], peak(cmd))
			var n float64
			if _, err := fmt.Sscanf(string(out), "rchar: %g", &n); err == nil { // of rsync it is not known
				read[who] = append(read[who], n/(1<<20))
			}
		}
	}
	b.StopTimer()
	for _, who := range contenders[:2] {
		c.ready(b, who, d, p, throughProxy)
		received, sent := p.Bytes()
		out, err := c.command(b, who, d, throughProxy).CombinedOutput()
		require.NoError(b, err, "%s: %s", who, out)
		r, s := p.Bytes()
		wire[who] = append(wire[who], float64(r-received+s-sent))
	}
	for _, who := range contenders {
		b.ReportMetric(median(times[who]), who+"-s")
	}
	for _, ours := range contenders {
		for _, theirs := range contenders {
			if strings.HasPrefix(ours, "ours") && !strings.HasPrefix(theirs, "ours") {
				b.ReportMetric(median(times[ours])/median(times[theirs]), ours+"/"+theirs)
			}
		}
	}
	for _, who := range contenders[:2] {
		b.ReportMetric(wire[who][0]/(1<<20), who+"-MiB-on-the-wire")
	}
	b.ReportMetric(median(memory["ours"]), "ours-MiB-of-memory")
	b.ReportMetric(median(read["ours"]), "ours-MiB-read")
	b.ReportMetric(0, "ns/op") // says nothing
}

// ready leaves nothing to be written of what was done before.
func (c *contest) ready(b *testing.B, who string, d *sshtest.Sshd, p *sshtest.Proxy, throughProxy sshstore.Config) {
	c.dst = c.prepare()
	if c.begin != nil {
		c.begin(c.command(b, who, d, throughProxy), p)
	}
	sshtest.Shell(b, "", "sync")
}

func (c contest) command(b *testing.B, who string, d *sshtest.Sshd, cfg sshstore.Config) *exec.Cmd {
	b.Helper()
	switch who {
	case "ours":
		return c.ours(b, d, cfg, func(*job) {})
	case "ours-none":
		return c.ours(b, d, cfg, func(j *job) { j.Verify = transfer.VerifyNone })
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	require.NoError(b, err)
	if who == "rclone" {
		remote := fmt.Sprintf(":sftp,host=%s,port=%s,user=%s,key_file=%s,known_hosts_file=%s:", host, port, d.User, d.Key, cfg.KnownHosts[0])
		from, to := remote+c.src, c.dst
		if c.push {
			from, to = c.src, remote+c.dst
		}
		return exec.Command("rclone", "--config", os.DevNull, "copy", from, to)
	}
	shell := fmt.Sprintf("ssh -F none -i %s -p %s -o IdentitiesOnly=yes -o UserKnownHostsFile=%s", d.Key, port, cfg.KnownHosts[0])
	args := append([]string{"-a", "-e", shell, "--rsync-path=/usr/bin/rsync"}, c.rsync...)
	if who == "rsync-fsync" {
		args = append(args, "--fsync")
	}
	remote := d.User + "@" + host + ":"
	if c.push {
		return exec.Command("rsync", append(args, c.src+"/", remote+c.dst+"/")...)
	}
	return exec.Command("rsync", append(args, remote+c.src+"/", c.dst+"/")...)
}

func (c contest) ours(b *testing.B, d *sshtest.Sshd, cfg sshstore.Config, change func(j *job)) *exec.Cmd {
	b.Helper()
	j := job{
		Addr: cfg.Addr, User: d.User, Key: d.Key, KnownHosts: cfg.KnownHosts[0],
		Remote: c.src, Local: c.dst, Push: c.push,
	}
	if c.push {
		j.Remote, j.Local = c.dst, c.src
	}
	if c.signatures {
		j.Signatures = c.dst + ".signatures"
	}
	j.Changed = c.changed
	change(&j)
	text, err := json.Marshal(j)
	require.NoError(b, err)
	self, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), mirrorJob+"="+string(text))
	return cmd
}

// peak is the most memory that a process has had, MiB.
func peak(cmd *exec.Cmd) float64 {
	return float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func directions(b *testing.B, f func(b *testing.B, push bool)) {
	b.Run("pull", func(b *testing.B) { f(b, false) })
	b.Run("push", func(b *testing.B) { f(b, true) })
}

// random writes a file of random bytes.
func random(b *testing.B, file string, size int64) {
	b.Helper()
	f, err := os.Create(file)
	require.NoError(b, err)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	require.NoError(b, err)
	require.NoError(b, f.Close())
}

// smallFiles makes 20,000 files of 2 kB in 20 directories.
func smallFiles(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	r := rand.NewChaCha8([32]byte{})
	data := make([]byte, 2000)
	for i := range 20_000 {
		sub := filepath.Join(dir, fmt.Sprint(i/1000))
		require.NoError(b, os.MkdirAll(sub, 0o755))
		_, _ = r.Read(data) // never fails
		require.NoError(b, os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), data, 0o644))
	}
	return dir
}

// fresh makes a new directory each time. Nothing is removed meanwhile: for some
// seconds ext4 looks around every inode that was freed before it makes one. A big
// file, which is called x, is cut to nothing: or the disk is full in the end.
func fresh(b *testing.B) func() string {
	dst := ""
	return func() string {
		if err := os.Truncate(filepath.Join(dst, "x"), 0); !errors.Is(err, fs.ErrNotExist) {
			require.NoError(b, err)
		}
		dst = b.TempDir()
		return dst
	}
}

func BenchmarkFirstCopyOf1GiB(b *testing.B) {
	src := b.TempDir()
	random(b, filepath.Join(src, "x"), 1<<30)
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: fresh(b), contenders: durable}.run(b)
	})
}

func BenchmarkFirstCopyOf20000Files(b *testing.B) {
	src := smallFiles(b)
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: fresh(b), contenders: durable}.run(b)
	})
}

func BenchmarkNothingToDoFor20000Files(b *testing.B) {
	src := smallFiles(b)
	directions(b, func(b *testing.B, push bool) {
		dst := holding(b, src)()
		contest{src: src, push: push, prepare: func() string { return dst }}.run(b)
	})
}

func BenchmarkAppendOf1MiBTo1GiB(b *testing.B) {
	src, old := b.TempDir(), b.TempDir()
	random(b, filepath.Join(src, "x"), 1<<30+1<<20)
	random(b, filepath.Join(old, "x"), 1<<30)
	sshtest.Shell(b, "", "touch -d yesterday "+old+"/x")
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: holding(b, old)}.run(b)
	})
}

// scattered changes one block of 4 KiB in a hundred, and returns which.
func scattered(b *testing.B, file string) (changed []transfer.Range) {
	b.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(b, err)
	fi, err := f.Stat()
	require.NoError(b, err)
	r := rand.New(rand.NewPCG(1, 2))
	for i := int64(0); i < fi.Size()/4096; i++ {
		if r.IntN(100) == 0 {
			_, err := f.WriteAt([]byte("changed"), i*4096+int64(r.IntN(4000)))
			require.NoError(b, err)
			changed = append(changed, transfer.Range{Off: i * 4096, Len: 4096})
		}
	}
	require.NoError(b, f.Close())
	return changed
}

// versions makes a file of 1 GiB, and another version of it.
func versions(b *testing.B, change func(b *testing.B, file string)) (src, old string) {
	src, old = b.TempDir(), b.TempDir()
	random(b, filepath.Join(old, "x"), 1<<30)
	sshtest.Shell(b, "", "cp "+old+"/x "+src+"/x && touch -d yesterday "+old+"/x")
	change(b, filepath.Join(src, "x"))
	return src, old
}

// holding makes a directory that holds a copy of old.
func holding(b *testing.B, old string) func() string {
	anew := fresh(b)
	return func() string {
		dst := anew()
		sshtest.Shell(b, "", "cp -a "+old+"/. "+dst)
		return dst
	}
}

func BenchmarkScatteredChangesIn1GiB(b *testing.B) {
	src, old := versions(b, func(b *testing.B, file string) { scattered(b, file) })
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: holding(b, old)}.run(b)
	})
}

func BenchmarkNothingInCommonIn1GiB(b *testing.B) {
	src, old := versions(b, func(b *testing.B, file string) {
		b.Helper()
		f, err := os.Create(file)
		require.NoError(b, err)
		_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), 1<<30)
		require.NoError(b, errors.Join(err, f.Close()))
	})
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: holding(b, old)}.run(b)
	})
}

// The far side has no rsync for us, but the signature of what it has is here.
func BenchmarkKeptSignatureOf1GiB(b *testing.B) {
	var changed []transfer.Range
	src, old := versions(b, func(b *testing.B, file string) { changed = scattered(b, file) })
	after := func(old string, then func(dst string)) contest {
		c := contest{src: src, push: true, noRsync: true, signatures: true}
		dst := ""
		anew := fresh(b)
		c.prepare = func() string { dst = anew(); return dst }
		c.begin = func(cmd *exec.Cmd, _ *sshtest.Proxy) {
			// What goes first is the old version, by the same means.
			sshtest.Shell(b, "", "mv "+src+" "+src+".new && mv "+old+" "+src)
			out, err := cmd.CombinedOutput()
			require.NoError(b, err, "%s", out)
			sshtest.Shell(b, "", "mv "+src+" "+old+" && mv "+src+".new "+src)
			then(dst)
		}
		return c
	}
	nothing := func(string) {}
	b.Run("scattered changes", func(b *testing.B) { after(old, nothing).run(b) })
	b.Run("scattered changes, known", func(b *testing.B) {
		c := after(old, nothing)
		c.changed = changed
		c.run(b)
	})
	same := src + ".new" // what src is called while something else has its name
	b.Run("unchanged", func(b *testing.B) { after(same, nothing).run(b) })
	b.Run("unchanged, but for the time on the far side", func(b *testing.B) {
		after(same, func(dst string) { sshtest.Shell(b, "", "touch "+dst+"/x") }).run(b)
	})
}

func BenchmarkResumeOf1GiBAtHalf(b *testing.B) {
	src := b.TempDir()
	random(b, filepath.Join(src, "x"), 1<<30)
	directions(b, func(b *testing.B, push bool) {
		c := contest{src: src, push: push, prepare: fresh(b), rsync: []string{"--partial"}}
		c.begin = func(cmd *exec.Cmd, p *sshtest.Proxy) {
			p.CutAt(512 << 20)
			go func() {
				for p.CutsLeft() > 0 {
					time.Sleep(time.Millisecond)
				}
				_ = cmd.Process.Kill() // before it goes on by itself
			}()
			out, err := cmd.CombinedOutput()
			require.Error(b, err, "%s", out)
		}
		c.run(b)
	})
}

func BenchmarkOnePercentOf20000FilesChanged(b *testing.B) {
	old := smallFiles(b)
	src := b.TempDir()
	sshtest.Shell(b, "", "cp -a "+old+"/. "+src)
	for i := 0; i < 20_000; i += 100 {
		random(b, filepath.Join(src, fmt.Sprint(i/1000), fmt.Sprint(i)), 2001)
	}
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: holding(b, old)}.run(b)
	})
}

func BenchmarkFirstCopyOf20000FilesOver50ms(b *testing.B) {
	src := smallFiles(b)
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, rate: 100_000_000 / 8, prepare: fresh(b)}.run(b)
	})
}

func BenchmarkNothingToDoFor20000FilesOver50ms(b *testing.B) {
	src := smallFiles(b)
	directions(b, func(b *testing.B, push bool) {
		dst := holding(b, src)()
		contest{src: src, push: push, rate: 100_000_000 / 8, prepare: func() string { return dst }}.run(b)
	})
}

func BenchmarkFirstCopyOf1GiBOver50ms(b *testing.B) {
	src := b.TempDir()
	random(b, filepath.Join(src, "x"), 1<<30)
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, rate: -1, prepare: fresh(b)}.run(b)
	})
}

func BenchmarkRcloneFirstCopyOf20000Files(b *testing.B) {
	sshtest.Need(b, "rclone")
	src := smallFiles(b)
	directions(b, func(b *testing.B, push bool) {
		contest{src: src, push: push, prepare: fresh(b), contenders: []string{"ours", "rclone"}}.run(b)
	})
}

// The file takes next to nothing on the disk of either side.
func BenchmarkMemoryOfASparseFileOf100GiB(b *testing.B) {
	src := b.TempDir()
	sshtest.Shell(b, "", "truncate -s 100G "+src+"/x && printf data | dd conv=notrunc status=none bs=1M seek=77777 of="+src+"/x")
	directions(b, func(b *testing.B, push bool) {
		alone(b, contest{src: src, push: push, dst: b.TempDir()}, func(*job) {})
	})
}

func BenchmarkMemoryOfAMillionFilesListed(b *testing.B) {
	src := b.TempDir()
	sshtest.Shell(b, "", "cd "+src+` && for d in $(seq 1000); do mkdir $d && (cd $d && seq -f "station-%g.dat" 1000 | xargs touch); done`)
	alone(b, contest{src: src, dst: b.TempDir()}, func(j *job) { j.Walk = true })
}

// alone measures one process of ours.
func alone(b *testing.B, c contest, change func(j *job)) {
	sshtest.Need(b, "rsync")
	d := sshtest.Start(b)
	for b.Loop() {
		cmd := c.ours(b, d, d.Config(), change)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		b.ReportMetric(peak(cmd), "MiB-of-memory")
	}
}
