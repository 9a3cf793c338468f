package sum

// Algorithm is a checksum of the protocol. Values can be compared; the zero
// Algorithm is none of them.
type Algorithm struct{ id uint8 }

const (
	idXXH128 = iota + 1
	idXXH3
	idXXH64
	idMD5
	idMD4
	idSHA1
)

// algorithms stand in the order in which the reference program offers them.
// Some releases choose by the client's order and some by each side's own, so
// any other order makes the two sides choose differently.
var algorithms = [...]struct {
	id   uint8
	name string
	size int
}{
	{idXXH128, "xxh128", 16},
	{idXXH3, "xxh3", 8},
	{idXXH64, "xxh64", 8},
	{idMD5, "md5", 16},
	{idMD4, "md4", 16},
	{idSHA1, "sha1", 20},
}

// ByName returns the algorithm that is negotiated by name: one of [Names], or
// "xxhash", which is xxh64. It does not know "none".
func ByName(name string) (Algorithm, bool) {
	if name == "xxhash" {
		name = "xxh64"
	}
	for _, a := range algorithms {
		if a.name == name {
			return Algorithm{a.id}, true
		}
	}
	return Algorithm{}, false
}

// Names returns the names to offer to a peer, in the reference order: the best first.
func Names() []string {
	names := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return names
}

// Name returns the name of a on the wire, "" for the zero Algorithm.
func (a Algorithm) Name() string {
	if a.id == 0 {
		return ""
	}
	return algorithms[a.id-1].name
}

// Size returns the length of a full sum in bytes, 0 for the zero Algorithm.
func (a Algorithm) Size() int {
	if a.id == 0 {
		return 0
	}
	return algorithms[a.id-1].size
}
