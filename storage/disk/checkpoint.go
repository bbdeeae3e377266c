package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"weir/internal/vfs"
	"weir/storage"
)

const (
	checkpointFile    = "index.checkpoint"
	checkpointNewFile = "index.checkpoint.new"
	checkpointMagic   = "weirckpt"
	checkpointVersion = 1

	checkpointHeadBytes   = 64
	checkpointRegionBytes = 12
	checkpointShardBytes  = 8
	slotBytes             = slotWords * 8

	// checkpointBudgetMin is the budget from which on there are checkpoints. In
	// a smaller one they would hold next to nothing.
	checkpointBudgetMin = 512 << 10
	// checkpointShare is the part of the budget that is set aside for the
	// checkpoint and its successor together. It is enough for objects of 2.5 KiB
	// on average; where it is not, a start reads the footers.
	checkpointShare = 64
	// checkpointWritesMin is how much has to be written to the log between two
	// checkpoints, as a multiple of their size.
	checkpointWritesMin = 16
)

// A checkpoint is the index as it was at one moment, so that a start need not
// make it anew out of all footers. It vouches for nothing by itself: what it says
// of a region counts if the region is still in the life that it was in then.
// Integers are little-endian:
//
//	offset  bytes    field
//	0       8        "weirckpt"
//	8       4        version, 1
//	12      4        R, regions
//	16      8        sequence: of what was written later, nothing is in it but by chance
//	24      36       zero
//	60      4        crc32c of the directory's salt, of all before this field, and of regions and shards
//	64      12 × R   regions that were sealed then: region (4), first sequence (8)
//	        8 × 256  shards: slots (4), crc32c of the directory's salt and of them (4)
//	        16 × …   slots of the first shard, in the order of the index; those of the next one …
//
// Why what was removed or replaced since does not return:
//
//	replaced, deleted   the new record or tombstone is in a region that was not
//	                    sealed then; its footer is applied before, and wins
//	evicted             its region is in another life, or free
//	cleared             the floor in the table is above the sequence
//	moved elsewhere     the set of directories changed: no checkpoint is used
type checkpoint struct {
	sequence uint64
	regions  []checkpointRegion
	shards   [indexShards]checkpointShard
}

type checkpointRegion struct {
	id            uint32
	firstSequence uint64
}

type checkpointShard struct {
	slots uint32
	sum   uint32
}

func (c *checkpoint) frontBytes() int64 {
	return checkpointHeadBytes + int64(len(c.regions))*checkpointRegionBytes + indexShards*checkpointShardBytes
}

// bytes is the length of the whole file.
func (c *checkpoint) bytes() int64 {
	n := c.frontBytes()
	for _, s := range c.shards {
		n += int64(s.slots) * slotBytes
	}
	return n
}

// append appends the front, with which the file begins.
func (c *checkpoint) append(b []byte, salt uint32) []byte {
	start := len(b)
	b = append(b, checkpointMagic...)
	b = binary.LittleEndian.AppendUint32(b, checkpointVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.regions)))
	b = binary.LittleEndian.AppendUint64(b, c.sequence)
	b = append(b, make([]byte, checkpointHeadBytes-24)...)
	for _, r := range c.regions {
		b = binary.LittleEndian.AppendUint32(b, r.id)
		b = binary.LittleEndian.AppendUint64(b, r.firstSequence)
	}
	for _, s := range c.shards {
		b = binary.LittleEndian.AppendUint32(b, s.slots)
		b = binary.LittleEndian.AppendUint32(b, s.sum)
	}
	binary.LittleEndian.PutUint32(b[start+60:], frontSum(b[start:], salt))
	return b
}

// checkpointFrontBytes reads from the first 64 bytes how long the front is, for a
// store of a number of regions.
func checkpointFrontBytes(head []byte, regions int) (int64, error) {
	if len(head) != checkpointHeadBytes || string(head[:8]) != checkpointMagic {
		return 0, fmt.Errorf("no checkpoint: %w", storage.ErrCorrupt)
	}
	if version := binary.LittleEndian.Uint32(head[8:]); version != checkpointVersion {
		return 0, fmt.Errorf("checkpoint of version %d: %w", version, storage.ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(head[12:])
	if int64(n) > int64(regions) {
		return 0, fmt.Errorf("checkpoint of %d regions: %w", n, storage.ErrCorrupt)
	}
	return checkpointHeadBytes + int64(n)*checkpointRegionBytes + indexShards*checkpointShardBytes, nil
}

// decodeCheckpoint reads what append wrote; b is that exactly. Errors wrap
// storage.ErrCorrupt.
func decodeCheckpoint(b []byte, salt uint32, regions int) (*checkpoint, error) {
	front, err := checkpointFrontBytes(b[:min(len(b), checkpointHeadBytes)], regions)
	if err != nil {
		return nil, err
	}
	if front != int64(len(b)) || frontSum(b, salt) != binary.LittleEndian.Uint32(b[60:]) {
		return nil, fmt.Errorf("front of the checkpoint: %w", storage.ErrCorrupt)
	}
	c := &checkpoint{sequence: binary.LittleEndian.Uint64(b[16:]), regions: make([]checkpointRegion, binary.LittleEndian.Uint32(b[12:]))}
	b = b[checkpointHeadBytes:]
	for i := range c.regions {
		c.regions[i] = checkpointRegion{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])}
		b = b[checkpointRegionBytes:]
	}
	for i := range c.shards {
		c.shards[i] = checkpointShard{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
		b = b[checkpointShardBytes:]
	}
	return c, nil
}

// checkpoints is the goroutine that writes them when they are due.
func (v *volume) checkpoints() {
	for {
		select {
		case <-v.stopping:
			return
		case <-v.checkpointDue:
			v.writeCheckpoint()
		}
	}
}

// sealedOne counts a region that has been sealed, and asks for a checkpoint once
// it is due.
func (v *volume) sealedOne() {
	written := v.sinceCheckpoint.Add(v.geometry.regionBytes)
	if v.geometry.checkpointBytesMax == 0 || written < checkpointWritesMin*slotBytes*v.index.live.Load() {
		return
	}
	select {
	case v.checkpointDue <- struct{}{}:
	default:
	}
}

// writeCheckpoint writes one. A directory without has a slower start, so what goes
// wrong is counted against the disk, and otherwise left.
func (v *volume) writeCheckpoint() {
	c := v.beginCheckpoint()
	if c == nil {
		return
	}
	v.sinceCheckpoint.Store(0)
	name := filepath.Join(v.dir, checkpointNewFile)
	err := v.saveCheckpoint(c, name)
	if err == nil {
		// What it says is in the log must not be lost when it is not.
		if err = v.file.Sync(); err == nil {
			err = v.fs.Rename(name, filepath.Join(v.dir, checkpointFile))
		}
	}
	if err == nil {
		v.admission.wrote(c.bytes())
		return
	}
	if !errors.Is(err, errCheckpointTooLong) && !errors.Is(err, storage.ErrClosed) {
		v.failed(err)
		v.log.Warn("disk: checkpoint", "dir", v.dir, "error", err)
	}
	_ = v.fs.Remove(name) // if it is there
}

// beginCheckpoint notes where the log is; nil if the index is not complete.
func (v *volume) beginCheckpoint() *checkpoint {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.loading || v.offline || v.geometry.checkpointBytesMax == 0 {
		return nil
	}
	c := &checkpoint{sequence: v.sequence}
	for _, r := range v.ring {
		if r.is(regionSealed) {
			c.regions = append(c.regions, checkpointRegion{r.id, r.firstSequence.Load()})
		}
	}
	return c
}

var errCheckpointTooLong = errors.New("the index is longer than what is set aside for its checkpoint")

// saveCheckpoint writes the index to a file, shard by shard, and then the front.
func (v *volume) saveCheckpoint(c *checkpoint, name string) (err error) {
	if c.frontBytes()+v.index.live.Load()*slotBytes > v.geometry.checkpointBytesMax {
		return errCheckpointTooLong
	}
	f, err := v.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	off := c.frontBytes()
	var b []byte
	for i := range c.shards {
		b = v.index.appendShard(b[:0], i)
		c.shards[i] = checkpointShard{slots: uint32(len(b) / slotBytes), sum: crc32.Update(v.salt, castagnoli, b)}
		if off+int64(len(b)) > v.geometry.checkpointBytesMax {
			return errCheckpointTooLong
		}
		if err := writeFull(f, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	if err := writeFull(f, c.append(nil, v.salt), 0); err != nil {
		return err
	}
	return f.Sync()
}

func writeFull(f vfs.File, p []byte, off int64) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// openCheckpoint reads the front of the checkpoint; nil if there is none that can
// be used. Whoever gets one closes the file.
func (v *volume) openCheckpoint() (*checkpoint, vfs.File) {
	if v.mine != nil {
		return nil, nil // keys have moved between directories, and it knows only half of each
	}
	f, err := v.fs.OpenFile(filepath.Join(v.dir, checkpointFile), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var c *checkpoint
	if err == nil {
		c, err = readCheckpoint(f, v.salt, v.geometry.regions)
	}
	if err == nil && c.sequence >= v.loadFloor {
		return c, f
	}
	if err != nil {
		v.failed(err)
		v.log.Info("disk: the footers are read, since the checkpoint cannot be used", "dir", v.dir, "error", err)
	}
	if f != nil {
		_ = f.Close() // it was only read
	}
	return nil, nil
}

func readCheckpoint(f vfs.File, salt uint32, regions int) (*checkpoint, error) {
	head := make([]byte, checkpointHeadBytes)
	if err := readFullAt(f, head, 0); err != nil {
		return nil, err
	}
	n, err := checkpointFrontBytes(head, regions)
	if err != nil {
		return nil, err
	}
	front := make([]byte, n)
	if err := readFullAt(f, front, 0); err != nil {
		return nil, err
	}
	c, err := decodeCheckpoint(front, salt, regions)
	if err != nil {
		return nil, err
	}
	if status, err := f.Stat(); err != nil || status.Size() != c.bytes() {
		return nil, errors.Join(err, fmt.Errorf("checkpoint of %d bytes is not as long: %w", c.bytes(), storage.ErrCorrupt))
	}
	return c, nil
}

// covered says which of the regions are as they were at the checkpoint, by their id.
func (c *checkpoint) covered(regions []region) []bool {
	covered := make([]bool, len(regions))
	for _, cr := range c.regions {
		if int(cr.id) < len(regions) {
			r := &regions[cr.id]
			covered[cr.id] = r.is(regionSealed) && r.firstSequence.Load() == cr.firstSequence
		}
	}
	return covered
}

// applyCheckpoint puts into the index what the checkpoint has of regions that are
// covered, shards side by side. False: some of it cannot be read.
func (v *volume) applyCheckpoint(c *checkpoint, f io.ReaderAt, covered []bool) bool {
	var offsets [indexShards]int64
	off := c.frontBytes()
	for i, s := range c.shards {
		offsets[i] = off
		off += int64(s.slots) * slotBytes
	}
	var workers sync.WaitGroup
	var next atomic.Int64
	var bad atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			var b []byte
			for i := next.Add(1) - 1; i < indexShards; i = next.Add(1) - 1 {
				n := int(c.shards[i].slots) * slotBytes
				if cap(b) < n {
					b = make([]byte, n, n+n/8)
				}
				b = b[:n]
				err := readFullAt(f, b, offsets[i])
				if err == nil && crc32.Update(v.salt, castagnoli, b) != c.shards[i].sum {
					err = fmt.Errorf("shard %d of the checkpoint: %w", i, storage.ErrCorrupt)
				}
				if err != nil {
					bad.Store(true)
					v.failed(err)
					v.log.Info("disk: the footers are read as well, since the checkpoint is damaged", "dir", v.dir, "error", err)
					continue
				}
				v.index.loadShard(int(i), b, covered, &v.void)
			}
		})
	}
	workers.Wait()
	return !bad.Load()
}
