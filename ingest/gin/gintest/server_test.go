package gintest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

var noon = time.Date(2024, 3, 15, 12, 0, 0, 0, time.UTC)

func start(t testing.TB, c gintest.Config) *gintest.Server {
	t.Helper()
	if c.Accounts == nil {
		c.Accounts = []gintest.Account{{User: "all", Password: "a", Stations: []string{"*"}}}
	}
	s, err := gintest.New(c)
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0", nil))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func client(t testing.TB, s *gintest.Server, user, password string) *gin.Client {
	t.Helper()
	c, err := gin.New(gin.Config{
		URL: s.URL(), User: user, Password: func(context.Context) (string, error) { return password, nil }, Settle: -1,
	})
	require.NoError(t, err)
	return c
}

func synthetic(t testing.TB, station string, start time.Time, seed int) gin.File {
	t.Helper()
	f, err := gintest.Synthetic(station, start, 5, seed)
	require.NoError(t, err)
	return f
}

func upload(t testing.TB, c *gin.Client, f gin.File) int64 {
	t.Helper()
	receipt, err := c.Upload(t.Context(), f.Name, f.Data)
	require.NoError(t, err)
	return receipt.ID
}

func requireRefused(t testing.TB, err error, says string) {
	t.Helper()
	e, ok := errors.AsType[*gin.RefusedError](err)
	require.True(t, ok, "%v", err)
	require.Contains(t, e.Text, says)
}

// When the reply says stored, file and id survive a crash of the process: whatever part
// of a later line of the index was written.
func TestServer_WhatIsStoredSurvives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, gintest.Config{Dir: dir})
	c := client(t, s, "all", "a")
	first, second := synthetic(t, "TST", noon, 1), synthetic(t, "TST", noon, 2)
	id := upload(t, c, first)
	whole, err := os.ReadFile(filepath.Join(dir, "index"))
	require.NoError(t, err)
	next := upload(t, c, second)
	more, err := os.ReadFile(filepath.Join(dir, "index"))
	require.NoError(t, err)
	files := s.Files()
	require.NoError(t, s.Close())
	unindexed := filepath.Join(dir, "TST", "2024-075", fmt.Sprintf("%d-%s", next, second.Name))

	for cut := len(more); cut >= len(whole); cut-- {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "index"), more[:cut], 0o644))
		s, err := gintest.New(gintest.Config{Dir: dir})
		require.NoError(t, err, "cut at %d", cut)
		want := files
		if cut < len(more) {
			want = files[:1]
			require.NoFileExists(t, unindexed)
		}
		require.Empty(t, cmp.Diff(want, s.Files()))
		data, err := s.Data(id)
		require.NoError(t, err)
		require.Equal(t, string(first.Data), string(data))
		require.NoError(t, s.Close())
	}
}

// Damage of the index that no crash leaves is an error, and nothing is removed.
func TestNew_ReportsADamagedIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, gintest.Config{Dir: dir})
	c := client(t, s, "all", "a")
	for i := range 3 {
		upload(t, c, synthetic(t, "TST", noon, i))
	}
	require.NoError(t, s.Close())
	index, err := os.ReadFile(filepath.Join(dir, "index"))
	require.NoError(t, err)
	lines := bytes.SplitAfter(index, []byte("\n"))
	for rule, damaged := range map[string][]byte{
		"a byte of a line is another": append([]byte{index[0] ^ 1}, index[1:]...),
		"a byte of the last line is":  append(append([]byte{}, index[:len(index)-2]...), 'x', '\n'),
		"a line is twice":             append(append([]byte{}, index...), lines[2]...),
		"lines have changed places":   bytes.Join([][]byte{lines[1], lines[0]}, nil),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "index"), damaged, 0o644))
		_, err := gintest.New(gintest.Config{Dir: dir})
		require.ErrorContains(t, err, "damaged", rule)
		left, err := filepath.Glob(filepath.Join(dir, "TST", "2024-075", "*"))
		require.NoError(t, err)
		require.Len(t, left, 3, rule)
	}
}

// Ids only rise, also through restarts.
func TestServer_IdsOnlyRise(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last int64
	for i := range 3 {
		s := start(t, gintest.Config{Dir: dir})
		for j := range 3 {
			id := upload(t, client(t, s, "all", "a"), synthetic(t, "TST", noon, 10*i+j))
			require.Greater(t, id, last)
			last = id
		}
		require.NoError(t, s.Close())
	}
}

// A stored file is never changed, and a download has its bytes: what has been changed
// on the disk is not given out.
func TestServer_GivesBackWhatItGot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, gintest.Config{Dir: dir})
	c := client(t, s, "all", "a")
	f := synthetic(t, "TST", noon, 1)
	id := upload(t, c, f)
	data, err := c.Download(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, string(f.Data), string(data))
	onDisk := filepath.Join(dir, "TST", "2024-075", fmt.Sprintf("%d-%s", id, f.Name))
	raw, err := os.ReadFile(onDisk)
	require.NoError(t, err)
	require.Equal(t, string(f.Data), string(raw))
	_, err = c.Download(t.Context(), id+1)
	requireRefused(t, err, "There is no data file")
	_, err = s.Data(id + 1)
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, os.WriteFile(onDisk, append(raw, ' '), 0o644))
	_, err = c.Download(t.Context(), id)
	_, ok := errors.AsType[*gin.LaterError](err)
	require.True(t, ok, "%v", err)
}

// The same file is not stored twice: one with the same bytes, or with the same name,
// start and duration, as configured; and that is remembered.
func TestServer_RefusesTheSameFile(t *testing.T) {
	t.Parallel()
	f, otherBytes := synthetic(t, "TST", noon, 1), synthetic(t, "TST", noon, 2)
	longer, err := gintest.Synthetic("TST", noon, 6, 1)
	require.NoError(t, err)
	for repeats, wants := range map[gintest.Repeat][]bool{gintest.SameBytes: {false, true, true}, gintest.SameName: {false, false, true}} {
		dir := t.TempDir()
		s := start(t, gintest.Config{Dir: dir, Repeats: repeats})
		upload(t, client(t, s, "all", "a"), f)
		require.NoError(t, s.Close())
		s = start(t, gintest.Config{Dir: dir, Repeats: repeats})
		refused := 0
		for i, again := range []gin.File{f, otherBytes, longer} {
			_, err := client(t, s, "all", "a").Upload(t.Context(), again.Name, again.Data)
			if wants[i] {
				require.NoError(t, err)
				continue
			}
			requireRefused(t, err, "loaded before")
			refused++
		}
		require.Equal(t, refused, s.Identical())
		require.Len(t, s.Files(), 4-refused)
	}
}

// Of many who offer the same file at once one has it stored.
func TestServer_StoresTheSameFileOnceForMany(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{})
	var clients []*gin.Client
	for range 8 {
		c := client(t, s, "all", "a")
		_, err := c.Search(t.Context(), gin.Query{})
		require.NoError(t, err)
		clients = append(clients, c)
	}
	for i := range 5 {
		f := synthetic(t, "TST", noon, i)
		var wait sync.WaitGroup
		for _, c := range clients {
			wait.Go(func() { c.Upload(t.Context(), f.Name, f.Data) })
		}
		wait.Wait()
		require.Len(t, s.Files(), i+1)
		require.Equal(t, 7*(i+1), s.Identical())
	}
}

// A file that is not stored in whole is not stored at all, and is not in any listing.
func TestServer_StoresNoPartOfAFile(t *testing.T) {
	t.Parallel()
	for _, fault := range []gintest.Fault{gintest.CutBeforeBody, gintest.CutInBody, gintest.CutBeforeStore} {
		dir := t.TempDir()
		next := make(chan gintest.Fault, 1)
		next <- fault
		s := start(t, gintest.Config{Dir: dir, Fault: func(r gintest.Request) gintest.Fault {
			select {
			case f := <-next:
				return f
			default:
				return gintest.None
			}
		}})
		c := client(t, s, "all", "a")
		f := synthetic(t, "TST", noon, 1)
		_, err := c.Upload(t.Context(), f.Name, f.Data)
		require.Error(t, err)
		list, err := c.Search(t.Context(), gin.Query{})
		require.NoError(t, err)
		require.Empty(t, list)
		require.Empty(t, s.Files())
		left, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
		require.NoError(t, err)
		require.Empty(t, left)
		upload(t, c, f)
	}
}

// An observatory has no more than its daily number of uploads stored, by the days of the
// server's clock, through restarts; another observatory has its own.
func TestServer_KeepsTheDailyLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2024, 3, 15, 23, 59, 0, 0, time.UTC)
	config := gintest.Config{Dir: dir, Daily: 2, Now: func() time.Time { return now }}
	s := start(t, config)
	c := client(t, s, "all", "a")
	upload(t, c, synthetic(t, "TST", noon, 0))
	upload(t, c, synthetic(t, "TST", noon, 1))
	require.NoError(t, s.Close())
	s = start(t, config)
	c = client(t, s, "all", "a")
	f := synthetic(t, "TST", noon, 2)
	_, err := c.Upload(t.Context(), f.Name, f.Data)
	requireRefused(t, err, "2 uploads")
	upload(t, c, synthetic(t, "HYB", noon, 0))
	now = now.Add(time.Minute)
	upload(t, c, f)
}

// An account uploads, finds and downloads files of its own stations alone.
func TestServer_KeepsAccountsApart(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{Accounts: []gintest.Account{
		{User: "imo-cpl", Password: "c", Stations: []string{"CPL"}},
		{User: "imo-hyb", Password: "h", Stations: []string{"HYB"}},
		{User: "centre", Password: "z", Stations: []string{"*"}},
	}})
	cpl, hyb, centre := client(t, s, "imo-cpl", "c"), client(t, s, "imo-hyb", "h"), client(t, s, "centre", "z")
	id := upload(t, cpl, synthetic(t, "CPL", noon, 0))
	other := upload(t, hyb, synthetic(t, "HYB", noon, 0))
	f := synthetic(t, "HYB", noon, 1)
	_, err := cpl.Upload(t.Context(), f.Name, f.Data)
	_, ok := errors.AsType[*gin.ConfigError](err)
	require.True(t, ok, "%v", err)
	for c, want := range map[*gin.Client][]int64{cpl: {id}, hyb: {other}, centre: {id, other}} {
		list, err := c.Search(t.Context(), gin.Query{})
		require.NoError(t, err)
		var ids []int64
		for _, e := range list {
			ids = append(ids, e.ID)
		}
		require.Equal(t, want, ids)
	}
	_, err = cpl.Download(t.Context(), other)
	requireRefused(t, err, "There is no data file")
	_, err = centre.Download(t.Context(), other)
	require.NoError(t, err)
}

// A later file's samples take the place of earlier ones in Holdings, and those that come
// again with an equal value are counted.
func TestHoldings_LaterSamplesTakeThePlaceOfEarlierOnes(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{})
	c := client(t, s, "all", "a")
	first := synthetic(t, "TST", noon, 0)
	upload(t, c, first)
	h, err := s.Holdings()
	require.NoError(t, err)
	require.Len(t, h.Values, 5*4)
	require.Zero(t, h.Repeated)
	key := gintest.Sample{Station: "TST", Format: 'B', Type: 'P', Element: "X", Time: noon.Add(4 * time.Minute).UnixMilli()}
	old := h.Values[key]
	upload(t, c, synthetic(t, "TST", noon.Add(4*time.Minute), 7)) // one row again, with another X
	h, err = s.Holdings()
	require.NoError(t, err)
	require.Len(t, h.Values, 9*4)
	require.Equal(t, old+7, h.Values[key])
	require.Equal(t, 3, h.Repeated) // Y, Z and F
}

// Without TLS it listens on the loopback alone.
func TestStart_ListensOnTheLoopbackAlone(t *testing.T) {
	t.Parallel()
	s, err := gintest.New(gintest.Config{})
	require.NoError(t, err)
	require.ErrorContains(t, s.Start("0.0.0.0:0", nil), "without TLS")
	require.NoError(t, s.Close())
}

// A folder belongs to one server at a time.
func TestNew_LocksItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, gintest.Config{Dir: dir})
	_, err := gintest.New(gintest.Config{Dir: dir})
	require.ErrorIs(t, err, gintest.ErrLocked)
	require.NoError(t, s.Close())
	start(t, gintest.Config{Dir: dir})
}

// Who has no account, a wrong password, or none, gets nothing.
func TestServer_AsksForCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{})
	resp, err := http.Get(s.URL() + "Cache?Request=Search")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	require.Len(t, resp.Header.Values("WWW-Authenticate"), 3)
	for _, c := range []*gin.Client{client(t, s, "all", "b"), client(t, s, "nobody", "a")} {
		_, err := c.Search(t.Context(), gin.Query{})
		_, ok := errors.AsType[*gin.ConfigError](err)
		require.True(t, ok, "%v", err)
	}
	for _, a := range [][]gintest.Account{
		{{User: "a b", Password: "x", Stations: []string{"TST"}}}, {{User: "a", Stations: []string{"TST"}}}, {{User: "a", Password: "x"}},
		{{User: "a", Password: "x", Stations: []string{"TST"}}, {User: "a", Password: "y", Stations: []string{"HYB"}}},
	} {
		_, err := gintest.New(gintest.Config{Accounts: a})
		require.ErrorContains(t, err, "account")
	}
}

// A closed server stores nothing, and a hash says what it holds.
func TestServer_StoresNothingOnceClosed(t *testing.T) {
	t.Parallel()
	s := start(t, gintest.Config{})
	f := synthetic(t, "TST", noon, 0)
	upload(t, client(t, s, "all", "a"), f)
	require.NoError(t, s.Shutdown(t.Context()))
	_, err := client(t, s, "all", "a").Upload(t.Context(), f.Name, f.Data)
	require.Error(t, err)
	require.Equal(t, sha256.Sum256(f.Data), s.Files()[0].SHA256)
}
