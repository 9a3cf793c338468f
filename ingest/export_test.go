package ingest

import "github.com/obskeep/obskeep/ingest/internal/disk"

// OpenOn is Open on a disk of the test.
func OpenOn(c Config, d disk.Disk) (*Feed, error) { return openOn(c, d) }

// WithoutAnchor makes f believe that a file that is longer has only grown.
func (f *Feed) WithoutAnchor() { f.anchored = 0 }
