package ingest

import "github.com/obskeep/obskeep/ingest/internal/disk"

// OpenOn is Open on a disk of the test.
func OpenOn(c Config, d disk.Disk) (*Feed, error) { return openOn(c, d) }
