package diskspace_test

import (
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/obskeep/obskeep/diskspace"
	"github.com/stretchr/testify/require"
)

func TestParseReserve(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, text string
		want       diskspace.Reserve
	}{
		{"binary units", "20 GiB", diskspace.Reserve{Bytes: 20 * gib}},
		{"decimal units", "500 MB", diskspace.Reserve{Bytes: 500_000_000}},
		{"bytes alone", "500", diskspace.Reserve{Bytes: 500}},
		{"a share", "10%", diskspace.Reserve{Percent: 10}},
		{"a share with a fraction and blanks", " 2.5 % ", diskspace.Reserve{Percent: 2.5}},
		{"nothing", "0", diskspace.Reserve{}},
		{"no share", "0%", diskspace.Reserve{}},
		{"all", "100%", diskspace.Reserve{Percent: 100}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			got, err := diskspace.ParseReserve(tc.text)
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestParseReserve_RefusesWhatIsNoAmount(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "%", "-1%", "101%", "NaN%", "Inf%", "10%%", "-1", "ten", "20 G", "10% 20 GiB"} {
		r := diskspace.Reserve{Bytes: 7}
		require.Error(t, r.UnmarshalText([]byte(text)), "%q", text)
		require.Equal(t, diskspace.Reserve{Bytes: 7}, r, "%q leaves the reserve as it was", text)
	}
}

func TestReserve_IsReadFromAConfigurationFile(t *testing.T) {
	t.Parallel()
	var config struct{ Reserve diskspace.Reserve }
	_, err := toml.Decode(`reserve = "10%"`, &config)
	require.NoError(t, err)
	require.Equal(t, diskspace.Reserve{Percent: 10}, config.Reserve)
}

func FuzzParseReserve(f *testing.F) {
	for _, text := range []string{"20 GiB", "10%", "", "1e309%", "9999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := diskspace.ParseReserve(text)
		if err == nil && !(r.Percent >= 0 && r.Percent <= 100 && (r.Bytes == 0 || r.Percent == 0)) {
			t.Fatalf("%q is %+v", text, r)
		}
	})
}
