package disk

import "fmt"

const (
	regionBytesMax = 32 << 20
	regionBytesMin = 16 << 10
	// regionsWanted is how many regions a budget is cut into at least: what
	// is lost when one is taken back is then no more than a sixteenth.
	regionsWanted = 16
	regionsMin    = 6
	regionsMax    = 1 << 20 // what a place has bits for
	// shortShare is how much shorter than in a store made anew regions may be, and
	// how small a part of the budget may be given up for that.
	shortShare = 64
	// chunkBytesMax is the longest stretch of a body in one record.
	chunkBytesMax = 1 << 20
	// bufferBytes is how much is gathered before it is written.
	bufferBytes = 4 << 20
	// bodyBytesMax bounds the head of an object, which names each chunk.
	bodyBytesMax = 128 << 30

	tableBytesMin    = 128 << 10 // of the region table, before it has many rows
	tableRegionBytes = 256       // more for each region: a row, in pages that are half empty

	pageBytes = 4096
)

// geometry is how a budget is cut up.
type geometry struct {
	regionBytes int64
	regions     int
	chunkBytes  int64 // of body in one record, at most
	recordMax   int64 // bytes of the longest record that a region takes
	bufferBytes int64
	// checkpointBytesMax is how long a checkpoint may be, of which two have room
	// beside the regions; 0: there are none.
	checkpointBytesMax int64
}

// tooShort says whether a store that exists, with some of its regions in use, is better
// made anew for a budget that has grown: so many short regions would make each change
// of one slow, or not fill the budget, and what is lost is little of what will fit.
func (g geometry) tooShort(budgetBytes int64, used int) bool {
	fresh, err := geometryOf(budgetBytes, 0)
	if err != nil || int64(used)*g.regionBytes > budgetBytes/shortShare {
		return false
	}
	return g.regionBytes*shortShare < fresh.regionBytes || g.regions == regionsMax && g.regionBytes < fresh.regionBytes
}

// geometryOf cuts a budget in bytes up. regionBytes is that of a store that
// exists already, or 0.
func geometryOf(budgetBytes, regionBytes int64) (geometry, error) {
	left := budgetBytes - tableBytesMin
	checkpoints := int64(0)
	if budgetBytes >= checkpointBudgetMin {
		checkpoints = left / checkpointShare
		left -= checkpoints
	}
	if regionBytes == 0 {
		regionBytes = min(max(left/regionsWanted/pageBytes*pageBytes, regionBytesMin), regionBytesMax)
	}
	regions := min(left/(regionBytes+tableRegionBytes), regionsMax)
	if regions < regionsMin {
		return geometry{}, fmt.Errorf("a budget of %d bytes is too small: %d are needed at least",
			budgetBytes, tableBytesMin+regionsMin*(regionBytes+tableRegionBytes))
	}
	g := geometry{regionBytes: regionBytes, regions: int(regions), checkpointBytesMax: checkpoints / 2}
	g.chunkBytes = min(chunkBytesMax, regionBytes/4)
	g.recordMax = regionBytes - footerBytes(1)
	g.bufferBytes = min(bufferBytes, regionBytes)
	return g, nil
}
