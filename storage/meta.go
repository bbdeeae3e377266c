package storage

import "weir/cache/rfc9111"

// Meta is all that is stored of a response besides its body. It is immutable
// once it has been given to a Store.
type Meta struct {
	// Site, Host, Target and Variant are the key's text. Host is lower case
	// and has no port; Target is the path with its query. Variant is what
	// cache/rfc9111 made of the request fields that Vary names, or "".
	Site, Host, Target, Variant string

	// BodyID names this body: a refresh applies to it and to no other. The
	// engine draws it at random for each fill.
	BodyID uint64
	// BodyBytes is the body's length; negative while it is not yet known.
	BodyBytes int64

	// Start and Size are for a part of a representation, Status 206: where the
	// body begins in it, and how long the whole is, both in bytes. A whole
	// response has 0 for both.
	Start, Size int64

	// Stamp is the purge version that this object is known to be as new as.
	Stamp uint64
	// Tags are the surrogate keys that purges of scope tag name.
	Tags []string

	// Groups are those of Cache-Groups (RFC 9875); GroupStamp is what the engine
	// counted of their invalidations when the response was asked for.
	Groups     []string
	GroupStamp uint64

	// Status is the response's status code. 0 marks an object that is no
	// response but the list of fields in Vary: the variants are stored under
	// keys of their own, and Header lists these, 16 bytes each, the oldest first. 206 marks a part, whose Header is the whole's.
	Status int
	// Vary lists the request fields, in lower case and sorted, that chose
	// this response among its variants.
	Vary []string
	// Header is the encoded header block: "Name: value\r\n" for each field
	// that is sent as stored, in canonical spelling and without an empty
	// line at the end. Age, Cache-Status and Via of this node are not in it.
	Header []byte
	// ETag and LastModified are the validators as received, or "".
	ETag, LastModified string

	// Stored is what the rules need to decide on reuse.
	Stored rfc9111.Stored
}
