package keep_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/keep"
)

// A target remembers whose days it holds. Those of another source are refused
// before anything is done, with both named; they would be revisions.
func TestPlan_DoesNotMixTheDaysOfTwoSources(t *testing.T) {
	t.Parallel()
	s := newSite()
	s.config.Origin = "/data/supim on a"
	s.writes(today, "a.dat", "a")
	k, err := keep.New(s.config)
	require.NoError(t, err)
	_, err = k.Plan(t.Context(), today, today, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"."}, s.target.Names(), "a plan claims nothing")
	s.run(t)
	s.run(t)

	s.writes(today, "a.dat", "of another instrument")
	s.config.Origin = "/data/supim on b"
	_, err = s.try(t.Context())
	e, ok := errors.AsType[*keep.OriginError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "/data/supim on a", e.Holds)
	require.ErrorContains(t, err, "/data/supim on b")
	require.ErrorContains(t, err, e.File)
	require.Equal(t, map[string]string{"supim/2026/268/a.dat": "a", e.File: string(s.target.Data(e.File))}, s.holds())

	// Other folders in the same target may have another source.
	s.config.TargetDays = julian.MustParsePattern("other/%Y/%j")
	s.run(t)
	s.config.TargetDays, s.config.Origin = julian.MustParsePattern("supim/%Y/%j"), "/data/supim on a"
	s.run(t)

	// Whoever says that they are the same days may go on.
	require.NoError(t, s.target.Remove(t.Context(), e.File))
	s.config.Origin = "/data/supim on b"
	s.run(t)
	s.config.Origin = "/data/supim on a"
	_, err = s.try(t.Context())
	require.Error(t, err)
}

// A file that does not say whose days they are is no reason to mix them.
func TestPlan_RefusesAnOriginThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "null", "[]"} {
		s := newSite()
		s.config.Origin = "a"
		s.target.Put(transfer.Info{Name: ".obskeep-origin"}, []byte(text))
		_, err := s.try(t.Context())
		require.ErrorContains(t, err, ".obskeep-origin", "%q", text)
	}
}
