package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
)

// plan prints what a run would do.
func (j *job) plan(ctx context.Context) (int, error) {
	s, err := j.open(ctx)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	p, err := s.Plan(ctx)
	if err != nil {
		return 0, err
	}
	code := script.ExitCode(p.Short)
	for _, m := range p.Machines {
		if m.Late {
			code = script.Worse(code, script.ExitWarnings)
		}
	}
	for _, d := range p.Damaged {
		level := script.ExitWarnings
		if d.Here {
			level = script.ExitFailed
		}
		code = script.Worse(code, level)
	}
	if j.flags.JSON {
		return code, writePlan(j.stdout, j.Name, p)
	}
	return code, printPlan(j.stdout, p)
}

func printPlan(w io.Writer, p *fetch.Plan) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "machine\tat the source\tnewest\tage\tto fetch\t")
	for _, m := range p.Machines {
		late := ""
		if m.Late {
			late = "TOO OLD, OR GONE"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%d\t%s\n", m.Name, m.Images, m.Newest.ID, m.Age.Round(time.Minute), m.Fetch, late)
	}
	for _, i := range p.Fetch {
		fmt.Fprintf(tw, "fetched would be %s/%s, %s, of which %s have come already\n", i.Machine, i.ID, units.Bytes(i.Allocated()), units.Bytes(i.Staged))
	}
	for _, i := range p.MakeRoom {
		fmt.Fprintf(tw, "to make room %s/%s of %s goes first\n", i.Machine, i.ID, units.Bytes(i.Allocated()))
	}
	for _, i := range p.Remove {
		fmt.Fprintf(tw, "removed then %s/%s of %s\n", i.Machine, i.ID, units.Bytes(i.Allocated()))
	}
	for _, d := range p.Damaged {
		fmt.Fprintln(tw, d)
	}
	fmt.Fprintf(tw, "%s needs %s\n", p.Need.Path, units.Bytes(int64(p.Need.Bytes)))
	if p.Short != nil {
		fmt.Fprintln(tw, "it does not fit, so nothing would be fetched:", p.Short)
	}
	return tw.Flush()
}

// writePlan prints a plan as one JSON object.
func writePlan(w io.Writer, name string, p *fetch.Plan) error {
	type machine struct {
		Name   string  `json:"name"`
		Images int     `json:"images_at_source"`
		Newest string  `json:"newest,omitempty"`
		Age    float64 `json:"age_seconds"`
		Late   bool    `json:"late"`
	}
	type image struct {
		Image     string `json:"image"`
		Allocated int64  `json:"allocated_bytes"`
		Staged    int64  `json:"staged_bytes"`
	}
	out := struct {
		Schema   string    `json:"schema"`
		Name     string    `json:"name"`
		Machines []machine `json:"machines"`
		Fetch    []image   `json:"fetch"`
		MakeRoom []string  `json:"make_room"`
		Remove   []string  `json:"remove"`
		Damaged  []string  `json:"damaged"`
		Need     uint64    `json:"need_bytes"`
		Fits     bool      `json:"fits"`
		Why      string    `json:"why,omitempty"`
	}{
		Schema: "obskeep/images-plan/v1", Name: name, Machines: []machine{}, Fetch: []image{},
		MakeRoom: names(p.MakeRoom), Remove: names(p.Remove), Damaged: []string{}, Need: p.Need.Bytes, Fits: p.Short == nil,
	}
	for _, m := range p.Machines {
		out.Machines = append(out.Machines, machine{m.Name, m.Images, m.Newest.ID, m.Age.Seconds(), m.Late})
	}
	for _, i := range p.Fetch {
		out.Fetch = append(out.Fetch, image{i.Machine + "/" + i.ID, i.Allocated(), i.Staged})
	}
	for _, d := range p.Damaged {
		out.Damaged = append(out.Damaged, d.Error())
	}
	if p.Short != nil {
		out.Why = p.Short.Error()
	}
	return json.NewEncoder(w).Encode(out)
}

func names(images []vmimage.Image) []string {
	list := []string{}
	for _, i := range images {
		list = append(list, i.Machine+"/"+i.ID)
	}
	return list
}
