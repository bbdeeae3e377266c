package config

import "fmt"

// PoP is a place, and the one edge node there.
type PoP struct {
	Name   string  `yaml:"name"`
	Region string  `yaml:"region"`
	Lat    float64 `yaml:"lat"` // degrees north, -90 to 90
	Lon    float64 `yaml:"lon"` // degrees east, -180 to 180

	HTTP  string `yaml:"http"`  // HTTP/1.1 in clear; this or https is needed
	HTTPS string `yaml:"https"` // HTTP/1.1 and HTTP/2 on TCP, HTTP/3 on UDP
	Admin string `yaml:"admin"` // health and metrics; not for the public

	PublicHTTP  string `yaml:"public_http"`  // what the router sends clients to; default http://<http>
	PublicHTTPS string `yaml:"public_https"` // default https://<https>

	Memory Bytes  `yaml:"memory"` // default 256MiB
	Disk   Bytes  `yaml:"disk"`   // in the state folder; default 1GiB
	Shield string `yaml:"shield"` // all, the name of one, or none to ask the origins itself; default: all
	TLS    *TLS   `yaml:"tls"`    // default: the file's tls

	MemoryEviction Eviction `yaml:"memory_eviction"` // default objects

	Disks         []*Disk `yaml:"disks"`           // in place of disk
	DiskWriteMax  Bytes   `yaml:"disk_write_max"`  // bytes a second to each disk, over time; default 0: no bound
	DiskObjectMax Bytes   `yaml:"disk_object_max"` // longest body that is stored; default an eighth of the smallest disk
}

// TLS is where a certificate chain and its key are, in PEM. Relative paths
// start at the configuration file's folder.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

func (p *PoP) setDefaults() {
	*p = PoP{Memory: defaultMemory, Disk: defaultDisk, MemoryEviction: EvictionObjects}
}

// In place of a shield's name: NoShield makes a PoP ask the origins itself,
// AllShields asks of each key the shield that owns it.
const (
	NoShield   = "none"
	AllShields = "all"
)

// ShieldsOf gives the shields among which a PoP finds the owner of a key; none
// for a PoP that asks the origins itself.
func (c *Config) ShieldsOf(p *PoP) []*Shield {
	switch p.Shield {
	case NoShield:
		return nil
	case AllShields:
		return c.Shields
	}
	if s := c.Shield(p.Shield); s != nil {
		return []*Shield{s}
	}
	return nil
}

func (p *PoP) complete(c *Config) {
	follow(&p.PublicHTTP, "http", p.HTTP)
	follow(&p.PublicHTTPS, "https", p.HTTPS)
	if p.Shield == "" && len(c.Shields) > 0 {
		p.Shield = AllShields
	}
	if p.TLS == nil && p.HTTPS != "" {
		p.TLS = c.TLS
	}
}

func (p *PoP) check(at spot, c *Config) {
	checkName(at.field("name"), p.Name)
	checkRegion(at.field("region"), p.Region)
	checkDegrees(at.field("lat"), p.Lat, 90)
	checkDegrees(at.field("lon"), p.Lon, 180)
	checkBudget(at.field("memory"), p.Memory)
	checkDisks(at, p.Disk, p.Disks, p.DiskObjectMax)
	p.TLS.check(at.field("tls"))
	p.checkAddresses(at)
	p.checkHTTPS(at, c)
	p.checkShield(at.field("shield"), c)
}

func (p *PoP) checkAddresses(at spot) {
	if !at.field("http").given() && !at.field("https").given() {
		at.field("http").bad(fmt.Sprintf("%s has neither http nor https", at), "give it an address for clients, such as http: 127.0.0.1:7080")
	}
	var own addresses
	for _, a := range []struct {
		spot   spot
		listen string
	}{{at.field("http"), p.HTTP}, {at.field("https"), p.HTTPS}, {at.field("admin"), p.Admin}} {
		if a.spot.given() || a.spot.name() == "admin" {
			checkListen(a.spot, a.listen)
		}
		own.add(a.spot, a.listen)
	}
	if p.HTTP != "" || p.PublicHTTP != "" {
		checkURL(at.field("public_http"), p.PublicHTTP, p.HTTP, "http")
	}
	if p.HTTPS != "" || p.PublicHTTPS != "" {
		checkURL(at.field("public_https"), p.PublicHTTPS, p.HTTPS, "https")
	}
}

func (p *PoP) checkHTTPS(at spot, c *Config) {
	if p.HTTPS != "" && p.TLS == nil && c.TLS == nil {
		at.field("https").bad(fmt.Sprintf("%s has https, and there is no certificate for it", at),
			"add tls: {cert: PATH, key: PATH} here or at the top, or remove https")
	}
}

func (p *PoP) checkShield(at spot, c *Config) {
	if p.Shield == "" || p.Shield == NoShield || p.Shield == AllShields || c.Shield(p.Shield) != nil {
		return
	}
	known := make([]string, 0, len(c.Shields))
	for _, s := range c.Shields {
		known = append(known, s.Name)
	}
	at.bad(fmt.Sprintf("there is no shield %q", p.Shield), suggestion(p.Shield, known))
}

func (t *TLS) settle(baseDir string) {
	if t != nil {
		resolve(baseDir, &t.Cert)
		resolve(baseDir, &t.Key)
	}
}

func (t *TLS) check(at spot) {
	if t != nil {
		at.field("cert").needs(t.Cert != "", "write the path of the certificate chain, in PEM")
		at.field("key").needs(t.Key != "", "write the path of the certificate's key, in PEM")
	}
}
