package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"

	"weir/internal/vfs"
)

// Format of a device: a label of 4 KiB, and behind it the regions, as in
// regions.log. Integers are little-endian:
//
//	"weircach" (8)  format, 1 (4)  salt of the directory that it belongs to, 0: of none yet (4)
//	crc32c of all this (4)  zeros to 4096
//
// The label is what tells a device that may be written to from one that has
// somebody's data. It is written last when a directory begins on a device, so that
// a crash before that begins anew.
const (
	labelBytes  = 4096
	labelMagic  = "weircach"
	labelFormat = 1
	labelSumAt  = 16
	// probeBytes are looked at, at either end of a device without a label: file
	// systems, partition tables and arrays have their own labels there.
	probeBytes = 1 << 20
)

// ErrForeign says that a device has data that weir did not write.
var ErrForeign = errors.New("the device has data of somebody else")

// device is an open block device, or a file of a fixed length, without its label:
// what a volume sees of it begins at the first region.
type device struct {
	vfs.File
	path string
	lock io.Closer
	size int64  // in bytes, with the label
	salt uint32 // of the label; 0: there is none, or it belongs to no directory
}

// openDevice opens a device for a store of budget bytes. ErrForeign if somebody
// else's data are on it.
func openDevice(fsys vfs.FS, path string, budget int64) (*device, error) {
	d, err := lockDevice(fsys, path)
	if err != nil {
		return nil, err
	}
	if d.size < budget {
		err = fmt.Errorf("device %s has %d bytes, and the budget is %d: make the budget no larger, or leave it out", path, d.size, budget)
	}
	if err == nil {
		err = d.wantLabelled()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockDevice opens a device for this process alone.
func lockDevice(fsys vfs.FS, path string) (_ *device, err error) {
	file, err := openExisting(fsys, path)
	if err != nil {
		return nil, err
	}
	d := &device{File: file, path: path}
	if d.lock, err = fsys.Lock(path); err == nil {
		d.size, err = file.Size()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openExisting never makes a file: a device whose name is wrong would become one, in
// memory. A block device that is mounted, or part of an array, is refused by the
// kernel (O_EXCL).
func openExisting(fsys vfs.FS, path string) (vfs.File, error) {
	probe, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: name a block device, or make a file: fallocate -l 10GiB %s", err, path)
	}
	if err != nil {
		return nil, err
	}
	status, err := probe.Stat()
	if err = errors.Join(err, probe.Close()); err != nil {
		return nil, err
	}
	flag := os.O_RDWR
	switch mode := status.Mode(); {
	case mode.IsRegular():
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		flag |= os.O_EXCL
	default:
		return nil, fmt.Errorf("%s is neither a block device nor a file", path)
	}
	file, err := fsys.OpenFile(path, flag, 0)
	if errors.Is(err, syscall.EBUSY) {
		err = fmt.Errorf("%w: it is mounted, or %w", err, vfs.ErrLocked)
	}
	return file, err
}

// wantLabelled reads the label, or sees to it that there is nothing else.
func (d *device) wantLabelled() error {
	labelled, err := d.readLabel()
	if err == nil && !labelled {
		err = d.wantEmpty()
	}
	return err
}

// readLabel says whether there is a label, and keeps its salt. ErrFormat for one of
// another version.
func (d *device) readLabel() (labelled bool, err error) {
	b := make([]byte, labelBytes)
	if n, err := d.File.ReadAt(b, 0); n < len(b) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("device %s has %d bytes: that is too small", d.path, d.size)
		}
		return false, err
	}
	salt, err := decodeLabel(b)
	switch {
	case errors.Is(err, ErrFormat):
		return false, fmt.Errorf("device %s: %w", d.path, err)
	case err != nil:
		return false, nil // who asks looks whether anything else is there
	}
	d.salt = salt
	return true, nil
}

var errNoLabel = errors.New("no label")

func encodeLabel(salt uint32) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(labelMagic), labelFormat)
	b = binary.LittleEndian.AppendUint32(b, salt)
	b = append(b, sumOfLabel(b)...)
	return append(b, make([]byte, labelBytes-len(b))...)
}

func sumOfLabel(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b[:labelSumAt], castagnoli))
}

func decodeLabel(b []byte) (salt uint32, err error) {
	if len(b) < labelSumAt+4 || string(b[:len(labelMagic)]) != labelMagic || !bytes.Equal(b[labelSumAt:labelSumAt+4], sumOfLabel(b)) {
		return 0, errNoLabel
	}
	if format := binary.LittleEndian.Uint32(b[8:]); format != labelFormat {
		return 0, fmt.Errorf("label of format %d, and this weir knows only %d: %w", format, labelFormat, ErrFormat)
	}
	return binary.LittleEndian.Uint32(b[12:]), nil
}

// setLabel makes the device belong to the directory that has the salt.
func (d *device) setLabel(salt uint32) error {
	if _, err := d.File.WriteAt(encodeLabel(salt), 0); err != nil {
		return err
	}
	if err := d.File.Sync(); err != nil {
		return err
	}
	d.salt = salt
	return nil
}

// wantEmpty gives ErrForeign unless both ends of the device are zeros.
func (d *device) wantEmpty() error {
	b := make([]byte, min(probeBytes, d.size))
	for _, off := range []int64{0, d.size - int64(len(b))} {
		if n, err := d.File.ReadAt(b, off); n < len(b) && err != nil {
			return err
		}
		if i := bytes.IndexFunc(b, func(r rune) bool { return r != 0 }); i >= 0 {
			return fmt.Errorf("device %s, byte %d: %w: if it is not needed any more, run: weir cache format --erase %s",
				d.path, off+int64(i), ErrForeign, d.path)
		}
	}
	return nil
}

// ReadAt, WriteAt and Allocate are those of the regions.
func (d *device) ReadAt(p []byte, off int64) (int, error)  { return d.File.ReadAt(p, off+labelBytes) }
func (d *device) WriteAt(p []byte, off int64) (int, error) { return d.File.WriteAt(p, off+labelBytes) }
func (d *device) Allocate(off, n int64) error              { return d.File.Allocate(off+labelBytes, n) }

// Truncate leaves a device as long as it is.
func (d *device) Truncate(int64) error { return nil }

// Close gives the device back.
func (d *device) Close() error {
	err := d.File.Close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// budgetOf is what a directory may take; what cannot be found out is for the
// opening of the directory to say.
func budgetOf(fsys vfs.FS, path string, budget int64) int64 {
	if path == "" || budget > 0 {
		return positiveOr(budget, budgetBytesDefault)
	}
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return budgetBytesDefault
	}
	defer file.Close() // only its length is read
	size, err := file.Size()
	if err != nil {
		return budgetBytesDefault
	}
	return size
}

// Format writes an empty label to a device that no Store has open, so that a Store
// takes it: what was there is lost. Without erase, ErrForeign for a device that has
// somebody else's data, and ErrFormat for one of another version of weir.
func Format(path string, erase bool) error {
	d, err := lockDevice(vfs.OS(), path)
	if err != nil {
		return fmt.Errorf("disk: format: %w", err)
	}
	if !erase {
		err = d.wantLabelled()
	}
	if err == nil {
		err = d.setLabel(0)
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("disk: format: %w", err)
	}
	return nil
}
