package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
)

// The report of a run that fetched one day and could not fetch another.
func Example() {
	begin := time.Date(2026, 9, 25, 6, 0, 0, 0, time.UTC)
	r := report.Report{
		Name: "supim",
		Host: "backup1",
		Day:  julian.Date{Year: 2026, Day: 268},
		Jobs: []report.Job{
			{
				Name: "2026-268", Start: begin, End: begin.Add(90 * time.Second),
				Files: 312, Bytes: 1 << 30, Literal: 1 << 30, Verified: 312,
			},
			{Name: "2026-267", Outcome: report.Failed, Err: errors.New("transfer: connection lost")},
		},
	}
	fmt.Println(r.Subject())
	fmt.Println()
	if err := r.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// [FAILED] supim 2026-268: 1 ok, 1 failed
	//
	// FAILED: supim 2026-268 on backup1
	// 1 ok, 1 failed
	//
	// Trouble
	//
	// FAILED   2026-267
	//          transfer: connection lost
	//
	// All jobs
	//
	// OUTCOME  JOB       FILES   SIZE   WIRE       SPEED   TIME  VERIFIED
	// failed   2026-267      -      -      -           -      -         -
	// ok       2026-268    312  1 GiB  1 GiB  11.4 MiB/s  1m30s   312/312
	// total    2 jobs      312  1 GiB  1 GiB                      312/312
	//
	// Size is the data now held, wire what crossed the network for it.
	// Verified files were read back and compared.
}

// A program that watches reports reads their JSON.
func ExampleReadJSON() {
	var mailbox bytes.Buffer
	sent := report.Report{Name: "supim", Jobs: []report.Job{{Name: "2026-268", Bytes: 812}}}
	if err := sent.WriteJSON(&mailbox); err != nil {
		fmt.Println(err)
		return
	}
	r, err := report.ReadJSON(&mailbox)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Name, r.Outcome(), r.Jobs[0].Bytes)
	// Output: supim ok 812
}
