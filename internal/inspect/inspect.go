// Package inspect looks into the stores of running nodes: what they have, how much
// of it, whether its checksums hold, and one object whole.
//
//	weir cache --node ──GET /v1/cache/…──► control ──► the node     over the log's
//	   run.go           client.go          api.go      node.go      connections
//
// Every answer of a node is bounded, in bytes and in time: who wants more asks
// again, with the place to go on at that the answer before gave. So nothing is
// kept between two questions, and a node that is asked answers requests meanwhile.
package inspect

import "time"

// The operations of a question.
const (
	opList   = "ls"
	opStat   = "stat"
	opVerify = "verify"
	opMeta   = "meta"
	opRead   = "read"
)

const (
	// sliceMax bounds how long a node works on one answer, one block aside.
	sliceMax = 250 * time.Millisecond
	// pageObjectsMax and pageBytesMax bound the objects of one answer, pieceBytesMax
	// the body: NATS takes messages of 1 MiB where nobody says otherwise.
	pageObjectsMax = 500
	pageBytesMax   = 256 << 10
	pieceBytesMax  = 512 << 10
	// walkKeys is how many keys are asked of a store at a time.
	walkKeys = 64
	// verifyBytes is read at a time, and the least that an object counts for.
	verifyBytes, verifyBytesMin = 256 << 10, 4 << 10

	// RateDefault and RateMax bound what a node reads to verify, in bytes a second.
	RateDefault = 64 << 20
	RateMax     = 4 << 30
	rateMin     = 1 << 20
)

// question is what control asks a node, as JSON.
type question struct {
	Op     string `json:"op"`
	After  string `json:"after,omitempty"` // where to go on
	Limit  int    `json:"limit,omitempty"` // objects
	Rate   int64  `json:"rate,omitempty"`  // bytes a second
	Key    string `json:"key,omitempty"`   // of meta and read
	BodyID uint64 `json:"body_id,omitempty"`
	Offset int64  `json:"offset,omitempty"`
}

// reply is what a node answers, as JSON.
type reply struct {
	Error    string    `json:"error,omitempty"`
	NotFound bool      `json:"not_found,omitempty"`
	Page     *Page     `json:"page,omitempty"`
	Stat     *Stat     `json:"stat,omitempty"`
	Verified *Verified `json:"verified,omitempty"`
	Object   *Object   `json:"object,omitempty"`
	Body     []byte    `json:"body,omitempty"`
}

// Object is a stored object, without its body.
type Object struct {
	Key     string   `json:"key"`
	Tiers   []string `json:"tiers"` // that have it: memory, disk
	Site    string   `json:"site"`
	Host    string   `json:"host"`
	Target  string   `json:"target"`
	Variant string   `json:"variant,omitempty"`
	// Status is 0 for a list of variants.
	Status int    `json:"status"`
	Bytes  int64  `json:"bytes"` // of the body
	Stamp  uint64 `json:"stamp"`
	// AgeSeconds is missing for what has no age by itself: a block of an object that
	// is stored in part, and a list of variants.
	AgeSeconds *float64 `json:"age_seconds,omitempty"`
	// BodyID names the body, and Header is the stored header block; of one object
	// that was asked for by its key.
	BodyID uint64 `json:"body_id,omitempty,string"`
	Header string `json:"header,omitempty"`
}

// Page is a piece of a list of objects: those on disk, the newest first, then those
// in memory alone.
type Page struct {
	Objects []Object `json:"objects"`
	// Next is where the list goes on; "" at its end. A page may be empty and have
	// a next.
	Next string `json:"next,omitempty"`
}

// Stat is what a node's stores have.
type Stat struct {
	Tiers []TierStat `json:"tiers"`
	Disks []DiskStat `json:"disks"`
}

// TierStat is what one tier has; see storage.Stats.
type TierStat struct {
	Tier        string `json:"tier"`
	Objects     int    `json:"objects"`
	Bytes       int64  `json:"bytes"`
	BudgetBytes int64  `json:"budget_bytes"`
	Evictions   int64  `json:"evictions"`
	Corrupt     int64  `json:"corrupt"`
}

// DiskStat is how a directory is; see storage/disk.Health.
type DiskStat struct {
	Dir       string `json:"dir"`
	Device    string `json:"device,omitempty"`
	State     string `json:"state"`
	Errors    int64  `json:"errors"`
	LastError string `json:"last_error,omitempty"`
}

// Verified is a piece of the verification of the disk tier.
type Verified struct {
	Good  int    `json:"good"`  // objects that end in this piece
	Bytes int64  `json:"bytes"` // read
	Bad   []Bad  `json:"bad,omitempty"`
	Next  string `json:"next,omitempty"` // as a Page's
}

// Bad is an object that failed; it has been dropped.
type Bad struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}
