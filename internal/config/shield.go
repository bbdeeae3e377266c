package config

import "fmt"

// Budgets for what a node stores, where the file does not say.
const (
	defaultMemory = 256 * Bytes(1<<20)
	defaultDisk   = Bytes(1 << 30)
	budgetMin     = Bytes(1 << 20) // less than this holds no object worth keeping
)

// Shield is a node of the tier between the edges and the origin.
type Shield struct {
	Name   string `yaml:"name"`
	Region string `yaml:"region"`
	Listen string `yaml:"listen"`
	URL    string `yaml:"url"`    // where edges reach it; default http://<listen>
	Memory Bytes  `yaml:"memory"` // default 256MiB
	Disk   Bytes  `yaml:"disk"`   // in the state folder; default 1GiB

	MemoryEviction Eviction `yaml:"memory_eviction"` // default objects

	// As a PoP's.
	Disks         []*Disk `yaml:"disks"`
	DiskWriteMax  Bytes   `yaml:"disk_write_max"`
	DiskObjectMax Bytes   `yaml:"disk_object_max"`
}

// Eviction names the policy of a memory tier, as storage/evict.Kind does.
type Eviction string

// The policies: the one for the most requests answered from memory, the one for
// the most bytes, and those to compare with.
const (
	EvictionObjects Eviction = "objects"
	EvictionBytes   Eviction = "bytes"
	EvictionLRU     Eviction = "lru"
	EvictionS3FIFO  Eviction = "s3-fifo"
	EvictionGDSF    Eviction = "gdsf"
)

func (e *Eviction) parse(text string) (problem, fix string) {
	switch Eviction(text) {
	case EvictionObjects, EvictionBytes, EvictionLRU, EvictionS3FIFO, EvictionGDSF:
		*e = Eviction(text)
		return "", ""
	}
	return fmt.Sprintf("%q is not a policy", text), "write objects, bytes, lru, s3-fifo or gdsf"
}

func (s *Shield) setDefaults() {
	*s = Shield{Memory: defaultMemory, Disk: defaultDisk, MemoryEviction: EvictionObjects}
}

func (s *Shield) complete() { follow(&s.URL, "http", s.Listen) }

func (s *Shield) check(at spot) {
	checkName(at.field("name"), s.Name)
	if s.Name == AllShields || s.Name == NoShield {
		at.field("name").bad(fmt.Sprintf("a shield cannot be called %q: PoPs say that of their shields", s.Name), "give it another name")
	}
	checkRegion(at.field("region"), s.Region)
	checkListen(at.field("listen"), s.Listen)
	checkURL(at.field("url"), s.URL, s.Listen, "http", "https")
	checkBudget(at.field("memory"), s.Memory)
	checkDisks(at, s.Disk, s.Disks, s.DiskObjectMax)
}
