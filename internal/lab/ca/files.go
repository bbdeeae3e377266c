package ca

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Types of PEM blocks, RFC 7468 sections 5 and 10.
const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// keep reads the file at path. If there is none it writes what fresh makes,
// unless somebody else is faster, and reads what is there then.
func keep(path string, mode fs.FileMode, fresh func() ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if data, err = fresh(); err != nil {
		return nil, err
	}
	temp, err := writeTemp(filepath.Dir(path), mode, data)
	if err != nil {
		return nil, err
	}
	// A hard link, unlike a rename, never replaces what is there.
	err = os.Link(temp, path)
	if err = errors.Join(err, os.Remove(temp)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// replace puts data at path in one step.
func replace(path string, mode fs.FileMode, data []byte) error {
	temp, err := writeTemp(filepath.Dir(path), mode, data)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// writeTemp writes data, on the disk and not only on its way there, to a new
// file in dir, and leaves nothing behind when it fails.
func writeTemp(dir string, mode fs.FileMode, data []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".ca-*") // for its owner alone until Chmod
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

func decodeKey(data []byte) (*ecdsa.PrivateKey, error) {
	der, err := block(data, keyBlock)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return ec, nil
	}
	return nil, errors.New("not an ECDSA key")
}

func decodeCert(data []byte) (*x509.Certificate, error) {
	der, err := block(data, certBlock)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// block is the content of the first PEM block of the type.
func block(data []byte, kind string) ([]byte, error) {
	for {
		b, rest := pem.Decode(data)
		switch {
		case b == nil:
			return nil, errors.New("no " + kind + " in it")
		case b.Type == kind:
			return b.Bytes, nil
		}
		data = rest
	}
}
