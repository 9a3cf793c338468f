package vmimage

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Machine says how a machine is imaged.
type Machine struct {
	Name string

	// After are machines that have to be done and running before this one is
	// touched.
	After []string

	Mode Mode

	// Shutdown is how long the guest has to shut itself down, and Stubborn what
	// is done with one that does not. Zero means 3 minutes.
	Shutdown time.Duration
	Stubborn Stubborn
}

// Mode is how a machine is brought to a point in time.
type Mode uint8

// The modes.
const (
	Cold Mode = iota // shut down, and started again at once
	Live             // as it runs, its file systems held for a moment if it has an agent
)

var modeNames = []string{"cold", "live"}

func (m Mode) String() string { return name(modeNames, m) }

// MarshalText returns what String returns.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts "cold" and "live".
func (m *Mode) UnmarshalText(text []byte) error { return parse(modeNames, text, m) }

// Stubborn is what is done with a guest that does not shut down in its time.
type Stubborn uint8

// What is done with a stubborn guest.
const (
	TakeLive Stubborn = iota // its image is taken live
	Skip                     // there is no image this time
	Destroy                  // it is switched off, as pulling the plug would
)

var stubbornNames = []string{"live", "skip", "destroy"}

func (s Stubborn) String() string { return name(stubbornNames, s) }

// MarshalText returns what String returns.
func (s Stubborn) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts "live", "skip" and "destroy".
func (s *Stubborn) UnmarshalText(text []byte) error { return parse(stubbornNames, text, s) }

func name[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%d", v)
}

func parse[T ~uint8](names []string, text []byte, v *T) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("%q is none of: %s", text, strings.Join(names, ", "))
	}
	*v = T(i)
	return nil
}
