// Package ca is the lab's certificate authority. It is made at the first start,
// kept in a folder, and the same ever after, so that a user has to tell curl or
// a browser about it only once.
//
// Trusting it is harmless: name constraints (RFC 5280 section 4.2.1.10), which
// every client must check, keep it to localhost, lab.test and the names below
// them, 127.0.0.0/8 and ::1, and it may vouch for servers only.
//
//	ca.pem        its certificate, for clients: curl --cacert ca.pem
//	ca-key.pem    its key, readable by its owner alone
//	server*.pem   a leaf certificate and its key, renewed by itself
//
// Several processes may open one folder at one time. A file appears whole, and
// of those who make the same file the first one wins and the others take its.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caFile  = "ca.pem"
	keyFile = "ca-key.pem"

	caYears       = 10
	leafLife      = 90 * 24 * time.Hour
	leafRenewLeft = 30 * 24 * time.Hour
	backdate      = time.Hour // for clients whose clock is late
)

// CA is an open certificate authority. Its methods may be called concurrently.
type CA struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open opens the authority in dir, and makes it, and dir, if it is not there.
// An error about a file that is damaged says which files to delete; whatever
// was told to trust the authority must then be told again.
func Open(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab CA: %w", err)
	}
	if err := orphan(dir); err != nil {
		return nil, fmt.Errorf("lab CA: %w", err)
	}
	key, err := openKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("lab CA: %w", err)
	}
	cert, err := openCert(filepath.Join(dir, caFile), key)
	if err != nil {
		return nil, fmt.Errorf("lab CA: %w", err)
	}
	return &CA{dir: dir, cert: cert, key: key}, nil
}

// File is the path of the authority's certificate, in PEM, for clients to trust.
func (ca *CA) File() string { return filepath.Join(ca.dir, caFile) }

// Pool is a new pool of the authority's certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// orphan refuses a certificate without its key: a new key would make a new
// authority behind the back of clients that trust the old one. The key is
// made first, so that its absence is looked at last.
func orphan(dir string) error {
	_, err := os.Stat(filepath.Join(dir, caFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, keyFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has lost its key %s: delete %s to make a new authority",
			filepath.Join(dir, caFile), keyFile, caFile)
	}
	return nil
}

// openKey reads the key, which it makes first if there is none.
func openKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := keep(path, 0o600, func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return encodeKey(key)
	})
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(data)
	if err != nil {
		return nil, damaged(path, err, "delete it and "+caFile)
	}
	return key, nil
}

// openCert reads the certificate, which it makes first, from the key, if there
// is none.
func openCert(path string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	data, err := keep(path, 0o644, func() ([]byte, error) { return makeCert(key) })
	if err != nil {
		return nil, err
	}
	cert, err := decodeCert(data)
	if err != nil {
		return nil, damaged(path, err, "delete it, and it is made anew")
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, damaged(path, fmt.Errorf("it does not belong to %s", keyFile), "delete both")
	}
	if time.Now().After(cert.NotAfter) {
		return nil, damaged(path, fmt.Errorf("it ended at %s", cert.NotAfter.Format(time.RFC3339)), "delete it, and it is made anew")
	}
	return cert, nil
}

func makeCert(key *ecdsa.PrivateKey) ([]byte, error) {
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		// The key's number in the name keeps two labs apart in a trust store.
		Subject:                     pkix.Name{Organization: []string{"weir"}, CommonName: "weir lab CA " + hex.EncodeToString(id[:4])},
		NotBefore:                   now.Add(-backdate),
		NotAfter:                    now.AddDate(caYears, 0, 0),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		SubjectKeyId:                id,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost", "lab.test"},
		PermittedIPRanges:           permittedIPs(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), nil
}

func permittedIPs() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}

// keyID is RFC 7093 section 2, method 1.
func keyID(key *ecdsa.PrivateKey) ([]byte, error) {
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(public)
	return sum[:20], nil
}

func damaged(path string, err error, cure string) error {
	return fmt.Errorf("%s is damaged: %w: %s", path, err, cure)
}
