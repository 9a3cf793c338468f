package gintest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
)

// When the disk does not say whether a file was stored, neither does the service, until
// it is started again: the file is then there or not.
func TestServer_DoesNotTellWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := Config{Dir: dir, Accounts: []Account{{User: "all", Password: "a", Stations: []string{"*"}}}}
	s, err := New(config)
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0", nil))
	c, err := gin.New(gin.Config{
		URL: s.URL(), User: "all", Settle: -1, Password: func(context.Context) (string, error) { return "a", nil },
	})
	require.NoError(t, err)
	f, err := Synthetic("TST", time.Unix(0, 0), 5, 0)
	require.NoError(t, err)
	require.NoError(t, s.shelf.index.close())
	_, err = c.Upload(t.Context(), f.Name, f.Data)
	_, ok := errors.AsType[*gin.UnknownError](err)
	require.True(t, ok, "%v", err)
	_, _, err = c.Find(t.Context(), f, 0)
	require.Error(t, err)
	require.Error(t, s.Close())

	s, err = New(config)
	require.NoError(t, err)
	require.Empty(t, s.Files())
	require.NoError(t, s.Close())
}

// A nonce holds for its time, and only if this server gave it.
func TestNonces_HoldForTheirTime(t *testing.T) {
	t.Parallel()
	n := newNonces()
	now := time.Now()
	require.True(t, n.fresh(n.next()))
	require.True(t, n.fresh(n.at(now.Add(-nonceAge+time.Minute))))
	require.False(t, n.fresh(n.at(now.Add(-nonceAge-time.Second))))
	require.False(t, n.fresh(newNonces().next()))
	require.False(t, n.fresh(""))
}
