package chaos

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"

	"weir/internal/lab/ca"
)

// The limits of every node are short, so that a run of a minute sees them.
const (
	lagMax       = 4 * time.Second
	fillWait     = 10 * time.Second
	stallTimeout = 10 * time.Second
)

const siteName = "chaos"

// hosts are the site's.
var hosts = []string{"www.lab.test", "static.lab.test"}

// configuration is every node's: it sees the others through links of its own.
var configuration = template.Must(template.New("").Parse(`
state: {{.State}}
log: {level: info, access: false}
tokens: {api: {{.API}}, tier: {{.Tier}}, nats: {{.NATS}}}
control:
  name: control
  listen: {{.Control}}
  nats: {listen: {{.Log}}, url: "nats://{{.LogLink}}"}
  rates: {narrow: 100000, broad: 10000}
shields:
{{- range .Shields}}
  - {name: {{.Name}}, region: iad, listen: {{.Listen}}, url: "http://{{.Link}}", memory: 8MiB, disk: 128MiB}
{{- end}}
pops:
{{- range .PoPs}}
  - {name: {{.Name}}, region: {{.Region}}, lat: {{.Lat}}, lon: {{.Lon}}, http: {{.HTTP}}, https: {{.HTTPS}}, admin: {{.Admin}}, memory: 8MiB, disk: 128MiB}
{{- end}}
tls: {cert: cert.pem, key: key.pem}
sites:
  - name: {{.Site}}
    hosts: [{{.Hosts}}]
    origin: {http: {url: "http://{{.Origin}}"}}
    policy: {stale_if_error: 1m, stale_while_revalidate: {{.SWR}}}
limits: {max_lag: {{.LagMax}}, when_lagging: {{.Lagging}}, fill_wait: {{.FillWait}}, stall_timeout: {{.Stall}}}
`))

type shieldEntry struct{ Name, Listen, Link string }

type popEntry struct {
	Name, Region, HTTP, HTTPS, Admin string
	Lat, Lon                         float64
}

// configure writes the nodes' configurations, and the PoPs' certificate.
func (w *world) configure() (err error) {
	if w.authority, err = ca.Open(w.path("ca")); err != nil {
		return err
	}
	if err := errors.Join(w.writeCertificate(), w.loadRoots()); err != nil {
		return err
	}
	for name, c := range w.nodes {
		var text strings.Builder
		if err := configuration.Execute(&text, w.valuesFor(name)); err != nil {
			return err
		}
		c.file = w.path(name + ".yaml")
		if err := os.WriteFile(c.file, []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) valuesFor(name string) any {
	logLink := w.control.log
	if l := w.logLinks[name]; l != nil {
		logLink = l.address
	}
	var shields []shieldEntry
	for _, s := range w.shields {
		e := shieldEntry{s.name, s.address, s.address}
		if l := w.wayLinks[way{name, s.name}]; l != nil {
			e.Link = l.address
		}
		shields = append(shields, e)
	}
	var pops []popEntry
	for _, p := range w.pops {
		pops = append(pops, popEntry{p.name, p.region.Name, p.http, p.https, p.address, p.region.Lat, p.region.Lon})
	}
	return map[string]any{
		"State": w.state, "API": w.tokens.api, "Tier": w.tokens.tier, "NATS": w.tokens.nats,
		"Control": w.control.address, "Log": w.control.log, "LogLink": logLink, "Shields": shields, "PoPs": pops,
		"Site": siteName, "Hosts": strings.Join(hosts, ", "), "Origin": w.origin.address,
		"SWR": w.swr, "LagMax": lagMax, "Lagging": w.lagging, "FillWait": fillWait, "Stall": stallTimeout,
	}
}

func (w *world) writeCertificate() error {
	pair, err := w.authority.Server(append([]string{"127.0.0.1"}, hosts...)...)
	if err != nil {
		return err
	}
	var chain []byte
	for _, der := range pair.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return fmt.Errorf("the PoPs' key: %w", err)
	}
	if err := os.WriteFile(w.path("cert.pem"), chain, 0o600); err != nil {
		return err
	}
	return os.WriteFile(w.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
}
