package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"weir/internal/vfs"
	"weir/storage"
)

const (
	metaSuffix = ".meta"
	tempSuffix = ".temp"
	bodySuffix = ".body"

	metaMagic        = "weirmeta"
	metaFileVersion  = 1
	metaHeadBytes    = 48
	sumBytes         = 4
	metaFileBytesMax = metaHeadBytes + storage.MetaBytesMax + bodyBytesMax/blockBytes*sumBytes + sumBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// metaFile is what a meta file holds. Integers are little-endian:
//
//	offset  bytes  field
//	0       8      "weirmeta"
//	8       4      version, 1
//	12      16     key
//	28      8      N of this file
//	36      8      N of the body file
//	44      4      M
//	48      M      meta as storage.Meta.AppendBinary encodes it, with the body's id and length
//	48+M    4 × B  crc32c of each 64 KiB block of the body; B is its length by 64 KiB, rounded up
//	        4      crc32c of all of this file before it
type metaFile struct {
	key   storage.Key
	n     uint64
	bodyN uint64
	meta  *storage.Meta
	sums  []uint32
}

// metaFileBytes is the size of a meta file whose encoded meta has metaBytes and
// whose body has bodyBytes.
func metaFileBytes(metaBytes, bodyBytes int64) int64 {
	return metaHeadBytes + metaBytes + blocksOf(bodyBytes)*sumBytes + sumBytes
}

// append appends the file's bytes to b, which must be empty.
func (f *metaFile) append(b []byte) ([]byte, error) {
	b = append(b, metaMagic...)
	b = binary.LittleEndian.AppendUint32(b, metaFileVersion)
	b = append(b, f.key[:]...)
	b = binary.LittleEndian.AppendUint64(b, f.n)
	b = binary.LittleEndian.AppendUint64(b, f.bodyN)
	b = binary.LittleEndian.AppendUint32(b, 0) // M, once it is known
	b, err := f.meta.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b[metaHeadBytes-4:], uint32(len(b)-metaHeadBytes))
	for _, sum := range f.sums {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	return appendSum(b), nil
}

func appendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMetaFile reads what append wrote. Errors wrap storage.ErrCorrupt. It
// keeps no part of b.
func decodeMetaFile(b []byte) (*metaFile, error) {
	if len(b) < metaHeadBytes+sumBytes {
		return nil, fmt.Errorf("%d bytes: %w", len(b), storage.ErrCorrupt)
	}
	b, sum := b[:len(b)-sumBytes], binary.LittleEndian.Uint32(b[len(b)-sumBytes:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, storage.ErrCorrupt
	}
	if string(b[:8]) != metaMagic || binary.LittleEndian.Uint32(b[8:]) != metaFileVersion {
		return nil, fmt.Errorf("another format: %w", storage.ErrCorrupt)
	}
	f := &metaFile{
		key:   storage.Key(b[12:28]),
		n:     binary.LittleEndian.Uint64(b[28:]),
		bodyN: binary.LittleEndian.Uint64(b[36:]),
		meta:  new(storage.Meta),
	}
	metaBytes := int64(binary.LittleEndian.Uint32(b[44:]))
	b = b[metaHeadBytes:]
	if metaBytes > int64(len(b)) {
		return nil, fmt.Errorf("meta of %d bytes: %w", metaBytes, storage.ErrCorrupt)
	}
	if err := f.meta.UnmarshalBinary(b[:metaBytes]); err != nil {
		return nil, errors.Join(err, storage.ErrCorrupt)
	}
	b = b[metaBytes:]
	if n := f.meta.BodyBytes; n < 0 || n > bodyBytesMax || blocksOf(n)*sumBytes != int64(len(b)) {
		return nil, fmt.Errorf("body of %d bytes: %w", n, storage.ErrCorrupt)
	}
	for ; len(b) > 0; b = b[sumBytes:] {
		f.sums = append(f.sums, binary.LittleEndian.Uint32(b))
	}
	return f, nil
}

// readMetaFile reads meta file n of key k.
func (s *Store) readMetaFile(k storage.Key, n uint64) (*metaFile, error) {
	path := s.metaPath(k, n)
	b, _, err := readFile(s.fs, path)
	if err != nil {
		return nil, err
	}
	return decodeNamed(path, b, k, n)
}

// decodeNamed decodes the bytes of a file and checks that they are the ones
// meant for its name.
func decodeNamed(path string, b []byte, k storage.Key, n uint64) (*metaFile, error) {
	f, err := decodeMetaFile(b)
	if err == nil && (f.key != k || f.n != n) {
		err = fmt.Errorf("belongs elsewhere: %w", storage.ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// readFile reads a meta file as a whole.
func readFile(fsys vfs.FS, path string) (b []byte, status fs.FileInfo, err error) {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close() // it was only read
	status, err = file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if status.Size() > metaFileBytesMax {
		return nil, nil, fmt.Errorf("%s: %d bytes: %w", path, status.Size(), storage.ErrCorrupt)
	}
	b = make([]byte, status.Size())
	if _, err := file.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, nil, err
	}
	return b, status, nil
}

// writeMetaFile brings meta file n of key k into being in one step. After an
// error it is not there, and the bytes reserved for it are the caller's to give
// back but for stuckBytes, which a file that could not be removed goes on taking.
func (s *Store) writeMetaFile(k storage.Key, n uint64, b []byte) (stuckBytes int64, err error) {
	path := s.metaPath(k, n)
	temp := path + tempSuffix
	if err = s.writeFile(temp, b); err == nil {
		err = s.fs.Rename(temp, path)
	}
	if err == nil {
		return 0, nil
	}
	for _, name := range []string{temp, path} { // a rename that failed may nevertheless have been done
		if removeErr := s.remove(name); removeErr != nil {
			err = errors.Join(err, removeErr)
			bytes := roundUp(int64(len(b))) - stuckBytes // it is one file, whichever name it has
			s.keepStuck(name, bytes)
			stuckBytes += bytes
		}
	}
	return stuckBytes, err
}

func (s *Store) writeFile(path string, b []byte) error {
	file, err := s.createFile(path)
	if err != nil {
		return err
	}
	n, err := file.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return errors.Join(err, file.Close())
}

// createFile creates a file, and its directory if it is the first one there.
func (s *Store) createFile(path string) (vfs.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	file, err := s.fs.OpenFile(path, flags, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := s.fs.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return s.fs.OpenFile(path, flags, 0o600)
}
