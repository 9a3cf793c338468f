package columns

import (
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Embrace returns the layout of the minutes of a magnetometer of INPE's EMBRACE
// network (embracedata.inpe.br/magnetometer/readme_magnetometer.html): four lines
// of header, then day, month, year, hour, minute, D, H, Z, I and F, with D and I
// in degrees. The description names no text for a missing value.
func Embrace(station string) Layout {
	deg := func(name string) Field {
		return Field{Element: sample.Element{Name: name, Unit: "deg", Decimals: 4}}
	}
	nT := func(name string) Field {
		return Field{Element: sample.Element{Name: name, Unit: "nT", Decimals: 1}}
	}
	return Layout{
		Station: station, Cadence: time.Minute, Level: sample.Variation, Skip: 4,
		Fields: []Field{
			{Time: "%d"}, {Time: "%m"}, {Time: "%Y"}, {Time: "%H"}, {Time: "%M"},
			deg("D"), nT("H"), nT("Z"), deg("I"), nT("F"),
		},
	}
}
