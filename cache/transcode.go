package cache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weir/cache/rfc9111"
	"weir/storage"
)

var (
	errNotWorth = errors.New("the text does not shrink by a tenth")
	errBomb     = errors.New("the decoded body is longer than is allowed")
	errBroken   = errors.New("the body is not what its Content-Encoding says")
)

// The levels. A body is compressed once and sent often, but each miss of a cold
// site is compressed too, on a processor that also answers requests. These are
// the levels at which the next one would cost twice the time for about one
// percent of the bytes. On 7.7 MB of HTML and JavaScript, of which remain:
//
//	zstd 3 (better)   19 %   94 MB/s    zstd 2  20 %  160 MB/s    zstd 4  18 %  17 MB/s
//	brotli 5          17.5 % 43 MB/s    br 4    19 %   61 MB/s    br 6    17 %  35 MB/s
//	gzip 6            20.5 % 138 MB/s   gzip 5  21 %  153 MB/s    gzip 9  20 %  36 MB/s
//
// The windows bound what an encoder holds to less than 10 MB, and each is
// within what every client must take (8 MB for zstd: RFC 9659 section 3).
const (
	zstdLevel       = zstd.SpeedBetterCompression
	zstdWindowBytes = 1 << 20
	brotliLevel     = 5
	brotliWindow    = 20 // log2 of bytes
	gzipLevel       = 6
)

// Limits of decoding. The sum of ratio and floor lets through any text that a
// person would keep; gzip alone can reach a ratio of 1,000.
const (
	decodedBytesMax    = 32 << 20
	decodedRatioMax    = 100
	decodedFloorBytes  = 1 << 20 // a body below it is no bomb, whatever its ratio
	zstdDecoderBytes   = 8 << 20 // the largest window of the coding: RFC 9659 section 3
	transcodeChunkSize = 64 << 10
)

// transcode writes a stored body to w in another coding, one of the two being
// identity, and gives the bytes written. Equal bodies give equal bytes on every
// node: chunks are of one size, and nothing runs in parallel.
func transcode(ctx context.Context, w io.Writer, body storage.Object, from, to rfc9111.Coding) (written int64, err error) {
	// The decoders read what anybody may have put into a bucket. A bug in one
	// of them must cost this body and not the node.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	bytes := body.Meta().BodyBytes
	source := &chunks{ctx: ctx, from: body, left: bytes}
	out := &bounded{to: w}
	if to == rfc9111.CodingIdentity {
		out.left, out.over = min(decodedBytesMax, max(decodedFloorBytes, decodedRatioMax*bytes)), errBomb
		err = decode(out, source, from)
	} else {
		out.left, out.over = bytes-bytes/10, errNotWorth
		err = encode(out, source, to)
	}
	return out.written, err
}

func encode(w io.Writer, source io.Reader, to rfc9111.Coding) error {
	encoder, err := newEncoder(w, to)
	if err != nil {
		return err
	}
	buffer := make([]byte, transcodeChunkSize)
	// Neither side's own way of copying: their chunks would be of other sizes.
	_, err = io.CopyBuffer(struct{ io.Writer }{encoder}, struct{ io.Reader }{source}, buffer)
	return errors.Join(err, encoder.Close())
}

func newEncoder(w io.Writer, to rfc9111.Coding) (io.WriteCloser, error) {
	switch to {
	case rfc9111.CodingZstd:
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstdLevel), zstd.WithWindowSize(zstdWindowBytes),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	case rfc9111.CodingBrotli:
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow}), nil
	default:
		return gzip.NewWriterLevel(w, gzipLevel)
	}
}

// decode copies the decoded source to w. An error is errBroken unless the
// source or w has failed by itself.
func decode(w io.Writer, source *chunks, from rfc9111.Coding) error {
	decoder, err := newDecoder(source, from)
	if err == nil {
		defer decoder.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{decoder}, make([]byte, transcodeChunkSize))
	}
	switch out, _ := w.(*bounded); {
	case err == nil && source.left > 0:
		return fmt.Errorf("%w: %d bytes follow its end", errBroken, source.left)
	case err == nil, source.err != nil, out != nil && out.err != nil:
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

func newDecoder(source io.Reader, from rfc9111.Coding) (io.ReadCloser, error) {
	switch from {
	case rfc9111.CodingZstd:
		decoder, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdDecoderBytes))
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	case rfc9111.CodingBrotli:
		return io.NopCloser(brotli.NewReader(source)), nil
	default:
		return gzip.NewReader(source)
	}
}

// chunks reads a body, as long as ctx allows.
type chunks struct {
	ctx  context.Context
	from io.ReaderAt
	at   int64
	left int64
	err  error // of the store or ctx
}

// Read gives the next bytes.
func (c *chunks) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.err = c.ctx.Err(); c.err != nil {
		return 0, c.err
	}
	n, err := c.from.ReadAt(p[:min(int64(len(p)), c.left)], c.at)
	c.at += int64(n)
	c.left -= int64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return 0, err
}

// bounded passes bytes on until there are more than are allowed.
type bounded struct {
	to      io.Writer
	left    int64
	over    error // for the byte that is one too many
	written int64
	err     error // over, or that of to
}

// Write passes p on whole, or not at all.
func (b *bounded) Write(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left -= int64(len(p)); b.left < 0 {
		b.err = b.over
		return 0, b.err
	}
	n, err := b.to.Write(p)
	b.written += int64(n)
	b.err = err
	return n, err
}
