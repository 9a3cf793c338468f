package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is the length that RFC 5322, section 2.1.1 asks of a line of mail.
const width = 78

// WriteText writes the report as plain text in UTF-8, with a newline at the
// end of each line: what is in trouble, a table of all jobs, and notes. The
// only error is that of w, to which it writes once.
func (r *Report) WriteText(w io.Writer) error {
	v := r.view()
	var b bytes.Buffer

	head := strings.ToUpper(v.Outcome.String()) + ": " + v.Title
	if v.Host != "" && v.Host != v.Title {
		head += " on " + v.Host
	}
	wrap(&b, "", head)
	wrap(&b, "", v.Counts)
	if v.Window != "" {
		wrap(&b, "", v.Window)
	}
	writeEntries(&b, "Trouble", v.Trouble)
	writeTable(&b, v)
	if len(v.Notes) > 0 {
		b.WriteString("\nNotes\n\n")
		for _, note := range v.Notes {
			wrap(&b, "- ", note)
		}
	}
	writeEntries(&b, "Details", v.Details)
	if v.Version != "" {
		b.WriteString("\n")
		wrap(&b, "", "Written by "+v.Version+".")
	}
	_, err := w.Write(b.Bytes())
	if err != nil {
		return fmt.Errorf("report: write text: %w", err)
	}
	return nil
}

func writeEntries(b *bytes.Buffer, title string, entries []entry) {
	if len(entries) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n\n", title)
	indent := strings.Repeat(" ", len("warning  "))
	for _, e := range entries {
		outcome := e.Outcome.String()
		if e.Outcome != OK {
			outcome = strings.ToUpper(outcome)
		}
		wrap(b, fmt.Sprintf("%-*s", len(indent), outcome), e.Label)
		for _, err := range e.Errors {
			wrap(b, indent, err)
		}
		for _, note := range e.Notes {
			wrap(b, indent+"- ", note)
		}
		if e.Window != "" {
			wrap(b, indent, e.Window)
		}
	}
}

func writeTable(b *bytes.Buffer, v *view) {
	if len(v.Rows) == 0 {
		return
	}
	const job, gap = 1, 2
	lines := make([][]string, 0, len(v.Rows)+2)
	heads := make([]string, len(v.Columns))
	for i, name := range v.Columns {
		heads[i] = strings.ToUpper(name)
	}
	lines = append(lines, heads)
	for _, r := range v.Rows {
		lines = append(lines, r.Cells)
	}
	if v.Total != nil {
		lines = append(lines, v.Total)
	}
	widths := make([]int, len(v.Columns))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	others := gap * (len(widths) - 1)
	for i, w := range widths {
		if i != job {
			others += w
		}
	}
	// The whole name of a job in trouble stands above the table, and of one
	// that ran below it.
	widths[job] = min(widths[job], max(width-others, leastName))

	b.WriteString("\nAll jobs\n\n")
	for _, cells := range lines {
		var line strings.Builder
		for i, cell := range cells {
			cell = cutMiddle(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > job {
				cell = pad + cell
			} else {
				cell += pad
			}
			if i > 0 {
				line.WriteString(strings.Repeat(" ", gap))
			}
			line.WriteString(cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if v.Legend != nil {
		fmt.Fprintf(b, "\n%s\n", strings.Join(v.Legend, "\n"))
	}
}

// leastName is the width that the names of jobs have in the narrowest table:
// enough for a day at the end, and as much before it.
const leastName = 17

// cutMiddle returns s in at most n characters, and keeps the end, where many
// names have their day.
func cutMiddle(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	tail := n / 2
	return string(runes[:n-1-tail]) + "…" + string(runes[len(runes)-tail:])
}

// wrap writes text in lines of the given width, broken at spaces. The first
// line begins with lead. The others are indented, so that a long name cannot
// put words of its own where a line begins.
func wrap(b *bytes.Buffer, lead, text string) {
	indent := strings.Repeat(" ", max(utf8.RuneCountInString(lead), 2))
	for {
		room := width - utf8.RuneCountInString(lead)
		end, runes, space := len(text), 0, -1
		for i, r := range text {
			// The first space is taken however far it is: words are not broken.
			if r == ' ' && i > 0 && (runes <= room || space < 0) {
				space = i
			}
			if runes++; runes > room && space >= 0 {
				end = space
				break
			}
		}
		b.WriteString(strings.TrimRight(lead+text[:end], " ") + "\n")
		text = strings.TrimLeft(text[end:], " ")
		if text == "" {
			return
		}
		lead = indent
	}
}
