package purge

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A transaction of bbolt waits for the disk twice, and a purge is not confirmed before
// it is on disk. So the newest records go, with one write and one sync, into a file
// beside the journal that has all its length from the start, purges.db.tail. When it is full its
// records go into the journal, in one transaction. Entries, integers little-endian:
//
//	bytes  field
//	4      N
//	4      crc32c of the journal's salt, of N, version and record
//	8      version
//	N      record, as EncodeRecord writes it
//	0–7    zeros, up to a multiple of 8
//
// The transaction that takes the records over draws a new salt too, so that what is in
// the tail then counts no more: nothing has to be erased, and the tail of another
// journal is nobody's. It ends where there is no entry; one that a power cut has torn was
// never confirmed. Where an entry follows one that is damaged, everything up to it is
// distrusted.
const (
	tailSuffix     = ".tail"
	tailBytes      = 256 << 10
	tailHeadBytes  = 16
	tailAlignBytes = 8
)

// tail is the file. Journal.mu guards it.
type tail struct {
	file *os.File
	salt uint32
	end  int64 // where the next entry goes
	buf  []byte
}

// openTail opens the file and makes it, unless there has to be one.
func openTail(path string, has bool) (*tail, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	t := &tail{file: file}
	status, err := file.Stat()
	switch {
	case err != nil:
	case status.Size() >= tailBytes:
	case has:
		err = fmt.Errorf("%s is missing or cut off, and with it the newest purges", filepath.Base(path))
	default:
		err = t.make(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// make gives the file its length, in bytes that were written: a sync of what is
// written in place of them has nothing else to bring to the disk.
func (t *tail) make(dir string) error {
	if _, err := t.file.WriteAt(make([]byte, tailBytes), 0); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// put writes records and waits until they are on disk; false if there is no room.
func (t *tail) put(records []Record) (ok bool, err error) {
	t.buf = t.buf[:0]
	for _, r := range records {
		body, err := EncodeRecord(r)
		if err != nil {
			return false, err
		}
		if t.end+int64(len(t.buf)+tailHeadBytes+len(body)+tailAlignBytes) > tailBytes {
			return false, nil
		}
		t.buf = appendTailEntry(t.buf, r.Version, body, t.salt)
	}
	if _, err := t.file.WriteAt(t.buf, t.end); err != nil {
		return false, err
	}
	if err := syncData(t.file); err != nil {
		return false, err
	}
	t.end += int64(len(t.buf))
	return true, nil
}

func appendTailEntry(b []byte, version uint64, body []byte, salt uint32) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, version)
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[start+4:], tailSum(b[start:], salt))
	for (len(b)-start)%tailAlignBytes > 0 {
		b = append(b, 0)
	}
	return b
}

// tailSum is the checksum of an entry, its own four bytes left out.
func tailSum(entry []byte, salt uint32) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, entry[:4]), castagnoli, entry[8:])
}

// records reads what put wrote.
func (t *tail) records() ([]Record, error) {
	b := make([]byte, tailBytes)
	if _, err := t.file.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return decodeTail(b, t.salt), nil
}

// decodeTail gives the records of the entries in b.
func decodeTail(b []byte, salt uint32) (records []Record) {
	whole := true
	for at := 0; at+tailHeadBytes <= len(b); {
		version, body := tailEntry(b[at:], salt)
		if body == nil {
			whole = false
			at += tailAlignBytes
			continue
		}
		r, err := DecodeRecord(version, body)
		if err != nil {
			r = Distrust(version, "record in the journal's tail cannot be read")
		}
		if !whole {
			records = append(records, Distrust(version-1, "records in the journal's tail are damaged"))
			whole = true
		}
		records = append(records, r)
		at += (tailHeadBytes + len(body) + tailAlignBytes - 1) / tailAlignBytes * tailAlignBytes
	}
	return records
}

// tailEntry reads the entry that b begins with; no body if there is none.
func tailEntry(b []byte, salt uint32) (version uint64, body []byte) {
	n := int64(binary.LittleEndian.Uint32(b))
	if n == 0 || tailHeadBytes+n > int64(len(b)) || binary.LittleEndian.Uint32(b[4:]) != tailSum(b[:tailHeadBytes+n], salt) {
		return 0, nil
	}
	return binary.LittleEndian.Uint64(b[8:]), b[tailHeadBytes : tailHeadBytes+n]
}

// newTailSalt draws a salt, never 0: that is a journal that has none yet.
func newTailSalt() (uint32, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a salt: %w", err)
	}
	return binary.LittleEndian.Uint32(b[:]) | 1, nil
}
