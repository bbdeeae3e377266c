package config

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
	Disk   Bytes  `yaml:"disk"`   // default 1GiB
}

func (s *Shield) setDefaults() { *s = Shield{Memory: defaultMemory, Disk: defaultDisk} }

func (s *Shield) complete() { follow(&s.URL, "http", s.Listen) }

func (s *Shield) check(at spot) {
	checkName(at.field("name"), s.Name)
	checkRegion(at.field("region"), s.Region)
	checkListen(at.field("listen"), s.Listen)
	checkURL(at.field("url"), s.URL, s.Listen, "http", "https")
	checkBudget(at.field("memory"), s.Memory)
	checkBudget(at.field("disk"), s.Disk)
}
