package fixed

// Field is a part of a line.
type Field struct {
	Text   []byte
	Column int // of its first byte, counted from 1
}

// End returns the column behind the field.
func (f Field) End() int { return f.Column + len(f.Text) }

// Fields finds what stands between blanks and tabs. It returns how many fields
// there are, and sets as many of fields as there is room for.
func Fields(line []byte, fields []Field) (n int) {
	start := -1
	for i := range len(line) + 1 {
		blank := i == len(line) || line[i] == ' ' || line[i] == '\t'
		switch {
		case !blank && start < 0:
			start = i
		case blank && start >= 0:
			if n < len(fields) {
				fields[n] = Field{line[start:i], start + 1}
			}
			n++
			start = -1
		}
	}
	return n
}
