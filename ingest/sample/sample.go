package sample

import (
	"math"
	"time"
)

// Value is one measurement in units of its element's last decimal: 39500.10 nT
// with two decimals is 3950010. Every Value but [Missing] and [NotObserved] is
// a number.
type Value int32

const (
	// Missing stands for a value that was to be measured and is not there.
	Missing Value = math.MinInt32
	// NotObserved stands for a value of an element that is not measured.
	NotObserved Value = math.MinInt32 + 1
)

// Measured reports whether v is a number.
func (v Value) Measured() bool { return v > NotObserved }

// MaxElements is how many elements a Row can hold.
const MaxElements = 8

// Row is what was measured at one time. Rows may be compared with ==.
type Row struct {
	Time   int64              // milliseconds since 1970-01-01 in UTC, without leap seconds
	Values [MaxElements]Value // in the order of Series.Elements; NotObserved behind them
}

// RowAt returns a Row at t, to the millisecond, in which nothing is observed.
func RowAt(t int64) Row {
	return Row{t, [MaxElements]Value{
		NotObserved, NotObserved, NotObserved, NotObserved, NotObserved, NotObserved, NotObserved, NotObserved,
	}}
}

// UTC returns the time of the row.
func (r Row) UTC() time.Time { return time.UnixMilli(r.Time).UTC() }

// Series says what the values of a file are.
type Series struct {
	Station  string        // IAGA code, "TST"; empty if the file does not say
	Elements []Element     // as many as a Row has values, in its order
	Cadence  time.Duration // between rows; zero if the file does not say
	Level    Level         // zero if the file does not say
}

// Element is a measured quantity and how its values are written.
type Element struct {
	Name     string // "X", "Y", "Z", "H", "D", "I", "F", "G", "E", "V", or a layout's own name
	Unit     string // "nT", "arcmin", "deg", or a layout's own unit
	Decimals int    // of Unit that a Value counts
}

// Level is how finished data are: the publication level of INTERMAGNET's MQTT
// payload and of ImagCDF.
type Level uint8

const (
	Variation       Level = iota + 1 // raw, without a baseline; "reported" in IMF
	Provisional                      // "adjusted" in IMF
	QuasiDefinitive                  // close to final
	Definitive                       // final
)

func (l Level) String() string {
	if l > Definitive {
		l = 0
	}
	return [...]string{"unknown", "variation", "provisional", "quasi-definitive", "definitive"}[l]
}
