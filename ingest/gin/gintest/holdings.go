package gintest

import (
	"io"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Sample says which sample a value is of.
type Sample struct {
	Station      string
	Format, Type byte // as in [gin.Entry]
	Element      string
	Time         int64 // milliseconds since 1970-01-01 in UTC
}

// Holdings is what all files together say.
type Holdings struct {
	Values   map[Sample]sample.Value // of the newest file that has the sample; what is not observed is left out
	Repeated int                     // values that came again and were equal; missing ones do not count
}

// Holdings reads all files in the order of their ids. Each takes the place of what
// earlier ones said of the same samples.
func (s *Server) Holdings() (Holdings, error) {
	h := Holdings{Values: map[Sample]sample.Value{}}
	for _, f := range s.Files() {
		data, err := s.Data(f.ID)
		if err != nil {
			return Holdings{}, err
		}
		if err := h.add(f, data); err != nil {
			return Holdings{}, err
		}
	}
	return h, nil
}

func (h *Holdings) add(f File, data []byte) error {
	r, _ := open(f.Name, data, nil)
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for i, element := range r.Series().Elements {
			key := Sample{f.Station, f.Format, f.Type, element.Name, row.Time}
			v := row.Values[i]
			if v == sample.NotObserved {
				continue
			}
			if old, ok := h.Values[key]; ok && old == v && v.Measured() {
				h.Repeated++
			}
			h.Values[key] = v
		}
	}
}

// Identical returns how many times the same file was offered again, and refused, since
// the server was made.
func (s *Server) Identical() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identical
}
