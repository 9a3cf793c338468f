package imf_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
)

// Minutes that are left out of an hour are written as missing.
func ExampleWriter() {
	h := imf.Header{Code: "TST", Elements: "HDZF", Type: 'A', GIN: "EDI", Colatitude: 727, Longitude: 789, DecBas: 5527}
	at := time.Date(2024, 3, 15, 4, 1, 0, 0, time.UTC)
	fmt.Println(h.Name(at))

	var file strings.Builder
	w := imf.NewWriter(&file, &h)
	row := sample.RowAt(at.UnixMilli())
	row.Values[0], row.Values[1], row.Values[2] = 395001, -999, 173005
	if err := w.Write(row); err != nil {
		fmt.Println(err)
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.ReplaceAll(file.String()[:128], "\r", ""))
	// Output:
	// MAR1524.TST
	// TST MAR1524 075 04 HDZF A EDI 07270789 005527 RRRRRRRRRRRRRRRR
	//  999999  999999  999999 888888   395001    -999  173005 888888
}
