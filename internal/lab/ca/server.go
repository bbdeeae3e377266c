package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// labNames are in every leaf.
var labNames = [...]string{"localhost", "lab.test", "*.lab.test", "127.0.0.1", "::1"}

// Server returns a certificate for localhost, lab.test, *.lab.test, 127.0.0.1,
// ::1 and hosts, which are more names or addresses within what the authority
// may vouch for. It lasts 90 days. It is kept, and the same is returned until
// it has less than 30 days left, or no longer fits the authority.
func (ca *CA) Server(hosts ...string) (tls.Certificate, error) {
	names := slices.Concat(labNames[:], hosts)
	slices.Sort(names)
	names = slices.Compact(names)
	path := filepath.Join(ca.dir, leafFile(names))
	if leaf, err := ca.keptLeaf(path, names); err == nil {
		return leaf, nil
	}
	// Missing, old or damaged: nobody depends on a leaf, so it is replaced.
	data, err := ca.makeLeaf(names)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("lab CA: server certificate: %w", err)
	}
	leaf, err := ca.useLeaf(data, names)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("lab CA: server certificate: %w", err)
	}
	if err := replace(path, 0o600, data); err != nil {
		return tls.Certificate{}, fmt.Errorf("lab CA: server certificate: %w", err)
	}
	return leaf, nil
}

// leafFile gives each set of names a file of its own, so that two programs with
// different names do not replace each other's.
func leafFile(names []string) string {
	if len(names) == len(labNames) {
		return "server.pem"
	}
	sum := sha256.Sum256([]byte(strings.Join(names, " ")))
	return "server-" + hex.EncodeToString(sum[:8]) + ".pem"
}

func (ca *CA) keptLeaf(path string, names []string) (tls.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := ca.useLeaf(data, names)
	if err == nil && time.Until(leaf.Leaf.NotAfter) < leafRenewLeft {
		err = errors.New("it ends soon")
	}
	return leaf, err
}

// useLeaf parses a leaf and its key, and verifies the leaf for each name just
// as a client will.
func (ca *CA) useLeaf(data []byte, names []string) (tls.Certificate, error) {
	leaf, err := tls.X509KeyPair(data, data)
	if err != nil {
		return tls.Certificate{}, err
	}
	pool := ca.Pool()
	for _, name := range names {
		if net.ParseIP(name) == nil { // an address is asked for as it is
			name = strings.Replace(name, "*", "any", 1)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			return tls.Certificate{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return leaf, nil
}

// makeLeaf is the PEM text of a new leaf and its key.
func (ca *CA) makeLeaf(names []string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"weir"}, CommonName: "weir lab"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), keyText...), nil
}
