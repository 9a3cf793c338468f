package libvirt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// A call returns soon after its context ends, also when libvirtd hangs, and is then ErrLost
// and the context's error. The next call connects anew.
func TestHost_ReturnsWhenItsContextEndsThoughLibvirtdHangs(t *testing.T) {
	h := open(t)
	require.NoError(t, bed.StopDaemon())
	t.Cleanup(func() { require.NoError(t, bed.ContinueDaemon()) })
	for _, what := range []string{"a connection it has", "a new one"} {
		ctx, cancel := context.WithTimeout(limit(t), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := h.Machines(ctx)
		require.ErrorIs(t, err, virt.ErrLost, what)
		require.ErrorIs(t, err, context.DeadlineExceeded, what)
		require.Less(t, time.Since(began), 5*time.Second, what)
	}
	ctx, cancel := context.WithTimeout(limit(t), 200*time.Millisecond)
	defer cancel()
	_, err := libvirt.Open(ctx, bed.URI(), nil)
	require.ErrorIs(t, err, virt.ErrLost)
	for _, err := range h.Watch(ctx) {
		require.Fail(t, "an event", "%v", err)
	}

	require.NoError(t, bed.ContinueDaemon())
	_, err = h.Machines(limit(t))
	require.NoError(t, err)
}

// A call that hangs holds up no other.
func TestHost_OneCallHoldsUpNoOther(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "deaf", Agent: true}, false)
	eventually(t, "the agent answers", func() bool { return h.Ping(limit(t), g.UUID) == nil })
	_, err := g.Run(limit(t), "kill -STOP $(cat /run/qga.pid)")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(limit(t))
	var pings sync.WaitGroup
	defer pings.Wait()
	defer stop()
	// libvirt waits 5 s for each, one after the other, and works on five calls of one
	// connection at a time.
	for range 12 {
		pings.Go(func() {
			if err := h.Ping(ctx, g.UUID); err == nil {
				t.Error("the agent answers")
			}
		})
	}
	began := time.Now()
	for range 10 {
		_, err := h.Machine(limit(t), g.UUID)
		require.NoError(t, err)
		_, err = h.Files(limit(t), g.UUID, "vda")
		require.NoError(t, err)
	}
	require.Less(t, time.Since(began), 20*time.Second)
}

// The text of an error is libvirt's own, whatever sentinel it also is.
func TestHost_ErrorsKeepWhatLibvirtSays(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "text"}, true)
	_, freeze := h.Freeze(limit(t), g.UUID)
	_, unknown := h.Machine(limit(t), "5bb2bb15-6f1c-4f52-9d3e-3a2f2bfa9a30")
	for sentinel, err := range map[error]error{
		virt.ErrState:    h.Resume(limit(t), g.UUID),
		virt.ErrAgent:    freeze,
		virt.ErrNotFound: unknown,
	} {
		require.ErrorIs(t, err, sentinel)
		said, ok := errors.AsType[golibvirt.Error](err)
		require.True(t, ok, "%v", err)
		require.NotEmpty(t, said.Message)
		require.ErrorContains(t, err, said.Message)
	}
}

// A job of the machine as a whole has the name that libvirt has for it.
func TestHost_NamesAJobOfTheMachine(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "job"}, true)
	require.NoError(t, h.Start(limit(t), g.UUID, true))
	job, err := h.Job(limit(t), g.UUID)
	require.NoError(t, err)
	require.Empty(t, job)
	backup := filepath.Join(t.TempDir(), "backup.xml")
	text := fmt.Sprintf("<domainbackup mode='pull'><server transport='unix' socket='%s'/></domainbackup>", filepath.Join(bed.Images(), "nbd"))
	require.NoError(t, os.WriteFile(backup, []byte(text), 0o644))
	out, err := exec.CommandContext(limit(t), "virsh", "-c", bed.URI(), "backup-begin", g.Name, backup).CombinedOutput()
	require.NoError(t, err, "%s", out)
	job, err = h.Job(limit(t), g.UUID)
	require.NoError(t, err)
	require.Equal(t, "backup", job)
}

// Nothing runs after Close.
func TestHost_NothingRunsAfterClose(t *testing.T) {
	open(t) // for what the process as a whole needs
	before := goleak.IgnoreCurrent()
	h, err := libvirt.Open(limit(t), bed.URI(), nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(limit(t))
	var calls sync.WaitGroup
	defer calls.Wait()
	defer stop()
	for range 3 {
		calls.Go(func() {
			for _, err := range h.Watch(ctx) {
				if err != nil {
					return
				}
			}
		})
		calls.Go(func() {
			for range 20 {
				if _, err := h.Machines(limit(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	require.NoError(t, bed.StopDaemon())
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = h.Hostname(short)
	require.ErrorIs(t, err, virt.ErrLost)
	late := make(chan error)
	go func() {
		_, err := h.Hostname(ctx)
		late <- err
	}()
	require.NoError(t, bed.ContinueDaemon())
	<-late
	stop()
	calls.Wait()

	// What is under way when it is closed ends with ErrLost.
	require.NoError(t, bed.StopDaemon())
	go func() {
		_, err := h.Hostname(context.WithoutCancel(ctx))
		late <- err
	}()
	<-time.After(50 * time.Millisecond) // nobody can see that it waits
	require.NoError(t, h.Close())
	require.ErrorIs(t, <-late, virt.ErrLost)
	require.NoError(t, bed.ContinueDaemon())
	_, err = h.Hostname(limit(t))
	require.ErrorIs(t, err, virt.ErrLost)
	goleak.VerifyNone(t, before)
}

// A host behind SSH is reached through the Dial that was given, and found again when the
// connection was cut.
func TestHost_IsReachedThroughAnotherHost(t *testing.T) {
	open(t)
	var mu sync.Mutex
	var dialed []string
	var conns []net.Conn
	h, err := libvirt.Open(limit(t), "qemu+ssh://backup@far.example/session?socket="+bed.Socket(), &libvirt.Options{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			near, far := net.Pipe()
			daemon, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			dialed, conns = append(dialed, network+" "+address), append(conns, near)
			for _, way := range [][2]net.Conn{{far, daemon}, {daemon, far}} {
				go func() {
					io.Copy(way[0], way[1])
					way[0].Close()
				}()
			}
			return near, nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	_, err = h.Machines(limit(t))
	require.NoError(t, err)
	require.Equal(t, []string{"unix " + bed.Socket()}, dialed)

	require.NoError(t, conns[0].Close())
	_, err = h.Machines(limit(t))
	if err != nil {
		require.ErrorIs(t, err, virt.ErrLost)
	}
	_, err = h.Machines(limit(t))
	require.NoError(t, err)
	require.False(t, slices.Contains(dialed, "tcp"))
	require.Len(t, dialed, 2)
}

// A libvirtd on another host is reached through a real sshd.
func TestOpen_ThroughSSH(t *testing.T) {
	h := open(t)
	sshd := sshtest.Start(t)
	far, err := sshstore.Open(limit(t), sshd.Config(), t.TempDir())
	require.NoError(t, err)
	defer far.Close()
	through, err := libvirt.Open(limit(t), "qemu+ssh://"+sshd.User+"@"+sshd.Addr+"/session?socket="+bed.Socket(), &libvirt.Options{Dial: far.Dial})
	require.NoError(t, err)
	defer through.Close()
	want, err := h.Machines(limit(t))
	require.NoError(t, err)
	got, err := through.Machines(limit(t))
	require.NoError(t, err)
	require.Equal(t, want, got)
}
