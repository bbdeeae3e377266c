package storage

// Compare is what a sweep asks of an object that is stored under k. known is the
// version with whose hard purges the object has been compared before; what it
// gives is the version with which it has been now, or 0 for an object that was
// covered and has been deleted. An error ends the sweep. The meta is shared: read
// only, and good until the call returns.
type Compare func(k Key, m *Meta, known uint64) (compared uint64, err error)
