package vmtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// newHost is a host with one machine.
func newHost(t *testing.T, c vmtest.Config) (host *vmtest.Host, uuid string) {
	t.Helper()
	host = vmtest.New(t.TempDir())
	c.Name = "web01"
	return host, host.Add(c)
}

func state(t *testing.T, host *vmtest.Host, uuid string) virt.State {
	t.Helper()
	m, err := host.Other().Machine(t.Context(), uuid)
	require.NoError(t, err)
	return m.State
}

// Each fault happens at the call it is set for, and at no other.
func TestFail_HappensAtItsCallAndNoOther(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fault  vmtest.Fault
		lost   []bool     // of start, suspend, resume, suspend
		states virt.State // in the end
	}{
		{vmtest.Fault{N: 1, Kind: vmtest.Lost}, []bool{true, false, false, false}, virt.Off},
		{vmtest.Fault{N: 2, Kind: vmtest.Lost}, []bool{false, true, false, false}, virt.Paused},
		{vmtest.Fault{N: 2, Method: "Suspend", Kind: vmtest.Lost}, []bool{false, false, false, true}, virt.Running},
		{vmtest.Fault{N: 2, Method: "Suspend", Kind: vmtest.Applied}, []bool{false, false, false, true}, virt.Paused},
		{vmtest.Fault{N: 1, Kind: vmtest.Applied}, []bool{true, false, false, false}, virt.Paused},
		{vmtest.Fault{N: 2, Kind: vmtest.KillBefore}, []bool{false, true, true, true}, virt.Running},
		{vmtest.Fault{N: 2, Kind: vmtest.KillAfter}, []bool{false, true, true, true}, virt.Paused},
		{vmtest.Fault{N: 1, Method: "Resume", Kind: vmtest.KillAfter}, []bool{false, false, true, true}, virt.Running},
		{vmtest.Fault{N: 100, Kind: vmtest.KillBefore}, []bool{false, false, false, false}, virt.Paused},
	} {
		t.Run(fmt.Sprintf("%v at call %d of %q", row.fault.Kind, row.fault.N, row.fault.Method), func(t *testing.T) {
			host, uuid := newHost(t, vmtest.Config{})
			kills := 0
			host.OnKill = func() { kills++ }
			host.Fail(row.fault)
			lost := []bool{}
			for _, err := range []error{
				host.Start(t.Context(), uuid, false), host.Suspend(t.Context(), uuid),
				host.Resume(t.Context(), uuid), host.Suspend(t.Context(), uuid),
			} {
				require.True(t, err == nil || errorIsOneOf(err, virt.ErrLost, virt.ErrState), "%v", err)
				lost = append(lost, errorIsOneOf(err, virt.ErrLost))
			}
			require.Equal(t, row.lost, lost)
			require.Equal(t, row.states, state(t, host, uuid))
			require.Equal(t, row.fault.N < 5, host.Failed())
			killed := row.fault.N < 5 && (row.fault.Kind == vmtest.KillBefore || row.fault.Kind == vmtest.KillAfter)
			require.Equal(t, killed, kills == 1)

			host.Revive()
			host.Fail(vmtest.Fault{N: 2, Kind: vmtest.Lost}) // counted from now
			_, err := host.Machine(t.Context(), uuid)
			require.NoError(t, err)
		})
	}
}

func errorIsOneOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// Calls that are made after a kill are not counted, nor are those of others.
func TestCalls_AreThoseOfTheProgram(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{})
	require.NoError(t, host.Start(t.Context(), uuid, false))
	require.NoError(t, host.Other().Suspend(t.Context(), uuid))
	require.NoError(t, host.Close())
	require.ErrorIs(t, host.Ping(t.Context(), uuid), virt.ErrLost)
	host.Revive()
	_, err := host.Machines(t.Context())
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]string{"Start", "Machines"}, host.Calls()))
}

// A hang lasts until Revive; a call that waits in it returns when its context ends.
func TestFail_HangsUntilRevived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host, uuid := newHost(t, vmtest.Config{})
		host.Fail(vmtest.Fault{N: 2, Kind: vmtest.Hang})
		_, err := host.Machine(t.Context(), uuid)
		require.NoError(t, err)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			began := time.Now()
			err = host.Start(ctx, uuid, false)
			cancel()
			require.ErrorIs(t, err, virt.ErrLost)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Minute, time.Since(began))
		}
		require.Equal(t, virt.Off, state(t, host, uuid))
		go func() {
			time.Sleep(time.Second)
			host.Revive()
		}()
		require.ErrorIs(t, host.Start(t.Context(), uuid, false), virt.ErrLost)
		require.Equal(t, virt.Off, state(t, host, uuid))
		require.NoError(t, host.Start(t.Context(), uuid, false))
	})
}

// Somebody else can act right before a call.
func TestBefore_SomebodyElseActs(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{})
	host.Before("Start", 2, func() { require.NoError(t, host.Other().Start(t.Context(), uuid, false)) })
	require.NoError(t, host.Start(t.Context(), uuid, false))
	require.NoError(t, host.Destroy(t.Context(), uuid))
	require.ErrorIs(t, host.Start(t.Context(), uuid, false), virt.ErrState)
	require.NoError(t, host.Destroy(t.Context(), uuid))
	require.NoError(t, host.Start(t.Context(), uuid, false))
}

// Who watches is told when the connection is lost, however that comes.
func TestWatch_EndsWithTheConnection(t *testing.T) {
	t.Parallel()
	for rule, lose := range map[string]func(host *vmtest.Host){
		"the daemon is restarted":  (*vmtest.Host).DaemonRestart,
		"the power is lost":        (*vmtest.Host).PowerLoss,
		"the connection is closed": func(host *vmtest.Host) { _ = host.Close() },
		"the program is killed": func(host *vmtest.Host) {
			host.Fail(vmtest.Fault{N: 1, Kind: vmtest.KillBefore})
			_, _ = host.Hostname(context.Background())
		},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host, uuid := newHost(t, vmtest.Config{State: virt.Running})
				var kinds []virt.Kind
				var last error
				go func() {
					for e, err := range host.Watch(t.Context()) {
						last = err
						if err == nil {
							require.Equal(t, uuid, e.UUID)
							kinds = append(kinds, e.Kind)
						}
					}
				}()
				synctest.Wait()
				require.NoError(t, host.Suspend(t.Context(), uuid))
				synctest.Wait()
				require.Equal(t, []virt.Kind{virt.StateChanged}, kinds)
				lose(host)
				synctest.Wait()
				require.ErrorIs(t, last, virt.ErrLost)
				host.Revive()
				_, err := host.Machine(t.Context(), uuid)
				require.NoError(t, err)
			})
		})
	}
}
