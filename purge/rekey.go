package purge

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// A purge is read under the key policy that its site has now: what is purged by URL is
// also what is stored for the URL under that policy. What has been forgotten was
// read under the policy of then, and cannot be read again. So when a site's policy
// changes and something has been forgotten, whatever is stored of the site counts as
// purged, once.

// keyed is what the journal knows of a site's key policy.
type keyed struct {
	Policy string `json:"policy"`
	// Changed is the newest version in force when it was seen to have changed; 0 for
	// never, or when nothing had been forgotten.
	Changed uint64 `json:"changed,omitempty"`
}

// rekey writes down the policies of sites, and gives for each that changed the version
// up to which it counts as purged. A site that is not named keeps what is known of it.
func (j *Journal) rekey(policies map[string]string) (changed map[string]uint64, err error) {
	if err := j.flush(); err != nil {
		return nil, err
	}
	changed = make(map[string]uint64)
	known, dirty := make(map[string]keyed), false
	err = j.db.View(func(tx *bbolt.Tx) error {
		state := tx.Bucket(bucketState)
		if text := state.Get(keyKeys); len(text) > 0 {
			if err := json.Unmarshal(text, &known); err != nil {
				return fmt.Errorf("key policies: %w", err)
			}
		}
		for site, policy := range policies {
			now, seen := known[site]
			if seen && now.Policy == policy {
				continue
			}
			if seen && getVersion(state, keySwept) > 0 {
				now.Changed = getVersion(state, keyApplied)
			}
			now.Policy, dirty = policy, true
			known[site] = now
		}
		return nil
	})
	if err == nil && dirty {
		err = j.db.Update(func(tx *bbolt.Tx) error { return putKeyed(tx.Bucket(bucketState), known) })
	}
	for site, k := range known {
		if k.Changed > 0 {
			changed[site] = k.Changed
		}
	}
	return changed, journalError("read", err)
}

func putKeyed(state *bbolt.Bucket, known map[string]keyed) error {
	text, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return state.Put(keyKeys, text)
}

// forgetChanges is for another log, with which everything stored goes.
func forgetChanges(state *bbolt.Bucket) error {
	known := make(map[string]keyed)
	if text := state.Get(keyKeys); len(text) == 0 || json.Unmarshal(text, &known) != nil {
		return nil
	}
	for site, k := range known {
		known[site] = keyed{Policy: k.Policy}
	}
	return putKeyed(state, known)
}

// rekeyed puts a hard purge over each of the sites whose policy changed. It covers
// all that was not stored after it: no object is noted to have been compared with the
// newest version in force but by its own stamp.
func (x *Index) rekeyed(changed map[string]uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for site, version := range changed {
		x.site(site).all.raise(at(ModeHard, version))
	}
}
