package diskspace_test

import (
	"errors"
	"fmt"
	"log"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/diskspace"
)

// Before a night's backups: does all of it fit, with a tenth left free?
func Example() {
	reserve, err := diskspace.ParseReserve("10%")
	if err != nil {
		log.Fatal(err)
	}
	p := &diskspace.Planner{Reserve: reserve}
	err = p.Fits(
		diskspace.Need{Path: "2026/268", Bytes: 1 << 62},
		diskspace.Need{Path: "images/web01", Bytes: 40 << 30},
	)
	if errors.Is(err, syscall.ENOSPC) {
		fmt.Println("it does not fit")
	}
	// Output: it does not fit
}

func ExamplePlanner_Fits() {
	p := &diskspace.Planner{
		Reserve: diskspace.Reserve{Bytes: 20 << 30},
		Stat: func(string) (diskspace.Usage, error) { // instead of the disk of this machine
			return diskspace.Usage{Volume: 1, Total: 100 << 30, Free: 9 << 30, Avail: 4 << 30}, nil
		},
	}
	fmt.Println(p.Fits(
		diskspace.Need{Path: "/backup/268", Bytes: 10 << 30},
		diskspace.Need{Path: "/backup/269", Bytes: 2 << 30},
	))
	// Output: diskspace: /backup/268: need 12 GiB, have 4 GiB, keep 20 GiB free: 28 GiB short
}

func ExamplePlanner_Relief() {
	p := &diskspace.Planner{
		Stat: func(string) (diskspace.Usage, error) {
			return diskspace.Usage{Volume: 1, Total: 100 << 30, Avail: 4 << 30}, nil
		},
	}
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	kept := []diskspace.Item{
		{Path: "/backup/266", Bytes: 3 << 30, Time: at(266)},
		{Path: "/backup/265", Bytes: 3 << 30, Time: at(265)},
		{Path: "/backup/264", Bytes: 3 << 30, Time: at(264), LastGood: true},
	}
	err := p.Fits(diskspace.Need{Path: "/backup/267", Bytes: 6 << 30})
	if short, ok := errors.AsType[*diskspace.ShortfallError](err); ok {
		items, err := p.Relief(short, kept)
		if err != nil {
			log.Fatal(err)
		}
		for _, item := range items {
			fmt.Println(item.Path)
		}
	}
	// Output: /backup/265
}

func ExampleTimeToFull() {
	var history []diskspace.Sample
	for day := range 30 {
		history = append(history, diskspace.Sample{
			At:   time.Date(2026, 9, 1+day, 6, 0, 0, 0, time.UTC),
			Used: uint64(100+2*day) << 30,
		})
	}
	if left, ok := diskspace.TimeToFull(history, 200<<30); ok {
		fmt.Printf("full in %.0f days\n", left.Hours()/24)
	}
	// Output: full in 21 days
}
