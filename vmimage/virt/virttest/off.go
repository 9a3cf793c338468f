package virttest

import (
	"context"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// nobody is the UUID of no machine.
const nobody = "5bb2bb15-6f1c-4f52-9d3e-3a2f2bfa9a30"

func (s *suite) listed(t *testing.T) {
	name, err := s.Host.Hostname(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, name)
	all, err := s.Host.Machines(t.Context())
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(all, func(a, b virt.Machine) int { return strings.Compare(a.Name, b.Name) }))
	i := slices.IndexFunc(all, func(m virt.Machine) bool { return m.UUID == s.UUID })
	require.GreaterOrEqual(t, i, 0, "the machine is listed")
	one, err := s.Host.Machine(t.Context(), s.UUID)
	require.NoError(t, err)
	if diff := cmp.Diff(all[i], one); diff != "" {
		t.Errorf("machine (-listed +found):\n%s", diff)
	}
	require.Equal(t, virt.Off, one.State)
	require.True(t, one.Persistent)
	d := s.parsed(t, true)
	require.Equal(t, one.Name, d.Name)
	require.Equal(t, s.UUID, d.UUID)
	require.True(t, d.Agent)
	for _, disk := range []string{"vda", "vdb"} {
		require.Empty(t, diskOf(t, d, disk).Refusal())
		info, err := s.Host.BlockInfo(t.Context(), s.UUID, disk)
		require.NoError(t, err)
		require.Positive(t, info.Capacity)
	}
	job, err := s.Host.Job(t.Context(), s.UUID)
	require.NoError(t, err)
	require.Empty(t, job)
}

// calls are all that can be asked about a machine, by method.
func (s *suite) calls(uuid string) map[string]func(ctx context.Context) error {
	h := s.Host
	return map[string]func(ctx context.Context) error{
		"Machine":  func(ctx context.Context) error { _, err := h.Machine(ctx, uuid); return err },
		"XML":      func(ctx context.Context) error { _, err := h.XML(ctx, uuid, true); return err },
		"Undefine": func(ctx context.Context) error { return h.Undefine(ctx, uuid) },
		"Start":    func(ctx context.Context) error { return h.Start(ctx, uuid, true) },
		"Shutdown": func(ctx context.Context) error { return h.Shutdown(ctx, uuid, virt.ACPI) },
		"Destroy":  func(ctx context.Context) error { return h.Destroy(ctx, uuid) },
		"Suspend":  func(ctx context.Context) error { return h.Suspend(ctx, uuid) },
		"Resume":   func(ctx context.Context) error { return h.Resume(ctx, uuid) },
		"Snapshot": func(ctx context.Context) error {
			return h.Snapshot(ctx, uuid, []virt.Overlay{{Disk: "vda", Path: filepath.Join(s.Dir, "none")}})
		},
		"Commit":        func(ctx context.Context) error { return h.Commit(ctx, uuid, "vda", 0) },
		"BlockJob":      func(ctx context.Context) error { _, err := h.BlockJob(ctx, uuid, "vda"); return err },
		"Pivot":         func(ctx context.Context) error { return h.Pivot(ctx, uuid, "vda") },
		"AbortBlockJob": func(ctx context.Context) error { return h.AbortBlockJob(ctx, uuid, "vda") },
		"Files":         func(ctx context.Context) error { _, err := h.Files(ctx, uuid, "vda"); return err },
		"BlockInfo":     func(ctx context.Context) error { _, err := h.BlockInfo(ctx, uuid, "vda"); return err },
		"Job":           func(ctx context.Context) error { _, err := h.Job(ctx, uuid); return err },
		"Ping":          func(ctx context.Context) error { return h.Ping(ctx, uuid) },
		"Freeze":        func(ctx context.Context) error { _, err := h.Freeze(ctx, uuid); return err },
		"Thaw":          func(ctx context.Context) error { return h.Thaw(ctx, uuid) },
		"Metadata":      func(ctx context.Context) error { _, err := h.Metadata(ctx, uuid, namespace); return err },
		"SetMetadata":   func(ctx context.Context) error { return h.SetMetadata(ctx, uuid, prefix, namespace, "<a/>") },
	}
}

// hostCalls are all that can be asked about the host.
func (s *suite) hostCalls() map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Hostname": func(ctx context.Context) error { _, err := s.Host.Hostname(ctx); return err },
		"Machines": func(ctx context.Context) error { _, err := s.Host.Machines(ctx); return err },
		"Define":   func(ctx context.Context) error { _, err := s.Host.Define(ctx, []byte("<domain/>")); return err },
	}
}

func (s *suite) unknown(t *testing.T) {
	for method, call := range s.calls(nobody) {
		require.ErrorIs(t, call(t.Context()), virt.ErrNotFound, method)
	}
	require.NoFileExists(t, filepath.Join(s.Dir, "none"))
}

func (s *suite) ended(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, calls := range []map[string]func(context.Context) error{s.calls(nobody), s.hostCalls()} {
		for method, call := range calls {
			began := time.Now()
			require.ErrorIs(t, call(ended), virt.ErrLost, method)
			require.Less(t, time.Since(began), 5*time.Second, method)
		}
	}
	require.Equal(t, virt.Off, s.state(t))
}

func (s *suite) stable(t *testing.T) {
	for _, inactive := range []bool{true, false} {
		first, err := s.Host.XML(t.Context(), s.UUID, inactive)
		require.NoError(t, err)
		second, err := s.Host.XML(t.Context(), s.UUID, inactive)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	}
}

func (s *suite) defined(t *testing.T) {
	was, err := s.Host.XML(t.Context(), s.UUID, true)
	require.NoError(t, err)
	original := s.parsed(t, true)
	for _, file := range []string{"restored.img", "elsewhere.img"} {
		path := filepath.Join(s.Dir, file)
		copied, err := virt.Edit(was, virt.Changes{
			Name: original.Name + "-copy", UUID: nobody, MACs: true, Disks: map[string]virt.Source{"vda": {Path: path}, "vdb": {Path: path + "2"}},
		})
		require.NoError(t, err)
		m, err := s.Host.Define(t.Context(), copied)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(virt.Machine{UUID: nobody, Name: original.Name + "-copy", Persistent: true}, m), "-want +got")
		found, err := s.Host.Machine(t.Context(), nobody)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(m, found), "-defined +found")
		xml, err := s.Host.XML(t.Context(), nobody, true)
		require.NoError(t, err)
		d, err := virt.Parse(xml)
		require.NoError(t, err)
		require.Equal(t, path, diskOf(t, d, "vda").Path)
		require.Equal(t, path+"2", diskOf(t, d, "vdb").Path)
		require.Equal(t, "raw", diskOf(t, d, "vdb").Format)
	}
	require.NoError(t, s.Host.Undefine(t.Context(), nobody))
	_, err = s.Host.Machine(t.Context(), nobody)
	require.ErrorIs(t, err, virt.ErrNotFound)
	now, err := s.Host.XML(t.Context(), s.UUID, true)
	require.NoError(t, err)
	require.Equal(t, string(was), string(now), "the original")
}

func (s *suite) off(t *testing.T) {
	for _, method := range []string{"Shutdown", "Destroy", "Suspend", "Resume", "Snapshot"} {
		require.ErrorIs(t, s.calls(s.UUID)[method](t.Context()), virt.ErrState, method)
	}
	for _, method := range []string{"Ping", "Freeze"} {
		require.ErrorIs(t, s.calls(s.UUID)[method](t.Context()), virt.ErrAgent, method)
	}
	for _, method := range []string{"Commit", "Pivot", "AbortBlockJob", "Files"} {
		require.Error(t, s.calls(s.UUID)[method](t.Context()), method)
	}
	_, err := s.Host.BlockJob(t.Context(), s.UUID, "vda")
	require.ErrorIs(t, err, virt.ErrNotFound)
	require.NoFileExists(t, filepath.Join(s.Dir, "none"))
	require.Equal(t, virt.Off, s.state(t))
}

// The name space of the suite's own metadata.
const (
	prefix    = "suite"
	namespace = "https://obskeep.example/suite"
)

// node is an element whatever its name space and quotes.
type node struct {
	XMLName xml.Name
	Job     string `xml:"job,attr"`
	Text    string `xml:"step"`
}

func (s *suite) metadata(t *testing.T) {
	get := func() (element string) {
		element, err := s.Host.Metadata(t.Context(), s.UUID, namespace)
		require.NoError(t, err)
		return element
	}
	require.Empty(t, get())
	for _, element := range []string{`<lock job="one"><step>1</step></lock>`, `<held job="&lt;two&gt;"/>`} {
		require.NoError(t, s.Host.SetMetadata(t.Context(), s.UUID, prefix, namespace, element))
		var want, got node
		require.NoError(t, xml.Unmarshal([]byte(element), &want))
		require.NoError(t, xml.Unmarshal([]byte(get()), &got))
		got.XMLName.Space = ""
		require.Empty(t, cmp.Diff(want, got), "-want +got")
		other, err := s.Host.Metadata(t.Context(), s.UUID, namespace+"/other")
		require.NoError(t, err)
		require.Empty(t, other)
		lasting, err := s.Host.XML(t.Context(), s.UUID, true)
		require.NoError(t, err)
		require.Contains(t, string(lasting), namespace)
	}
	for range 2 {
		require.NoError(t, s.Host.SetMetadata(t.Context(), s.UUID, prefix, namespace, ""))
		require.Empty(t, get())
	}
	for _, inactive := range []bool{true, false} {
		xml, err := s.Host.XML(t.Context(), s.UUID, inactive)
		require.NoError(t, err)
		require.NotContains(t, string(xml), namespace)
	}
}

func (s *suite) destroyed(t *testing.T) {
	require.NoError(t, s.Host.Start(t.Context(), s.UUID, true))
	require.NoError(t, s.Host.Destroy(t.Context(), s.UUID))
	s.waitOff(t)
	require.ErrorIs(t, s.Host.Destroy(t.Context(), s.UUID), virt.ErrState)
}

func (s *suite) closed(t *testing.T) {
	w := watch(t.Context(), s.Host)
	require.NoError(t, s.Host.Start(t.Context(), s.UUID, true))
	s.subscribed(t, w)
	require.NoError(t, s.Host.Destroy(t.Context(), s.UUID))
	s.waitOff(t)
	require.NoError(t, s.Host.Close())
	until(t, "Watch has ended", w.ended)
	require.ErrorIs(t, w.error(), virt.ErrLost)
	for _, calls := range []map[string]func(context.Context) error{s.calls(s.UUID), s.hostCalls()} {
		for method, call := range calls {
			require.ErrorIs(t, call(t.Context()), virt.ErrLost, method)
		}
	}
	_, err := os.Stat(filepath.Join(s.Dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
