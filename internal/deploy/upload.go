package deploy

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3 verifies uploads by it, and names parts by it.
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"weir/internal/purgecli"
	"weir/internal/sitefiles"
	"weir/origin/release"
)

// partBytes is how much of a file is in memory at once: files up to it go up in
// one request, larger ones in parts.
const partBytes = 8 << 20

// uploadAll brings the contents into the bucket that it does not have yet, assets
// before pages. One listing says what is there; so a deploy that was stopped goes
// on where it was.
//
// What the listing has may be relied on: it was taken after the base was read,
// and contents are removed only under a pointer that says so. Then the switch
// fails.
func (d *deployer) uploadAll(ctx context.Context, files []sitefiles.File, entries []release.Entry) (sent int, err error) {
	stored, err := d.store.list(ctx, release.ObjectsDir)
	if err != nil {
		return 0, err
	}
	var missing []int
	var total int64
	distinct := make(map[release.Sum]bool, len(entries)) // Two files may have one content.
	for _, pages := range []bool{false, true} {
		for i := range entries {
			e := &entries[i]
			if (e.Kind == release.KindPage) != pages {
				continue
			}
			if distinct[e.Sum] {
				continue
			}
			distinct[e.Sum] = true
			if had, ok := stored[e.Sum]; ok && had.bytes == e.Bytes {
				continue
			}
			missing = append(missing, i)
			total += e.Bytes
		}
	}
	p := startProgress(d.Options, len(missing), total)
	group, uploading := errgroup.WithContext(ctx)
	group.SetLimit(d.Parallel)
	for _, i := range missing {
		if uploading.Err() != nil {
			break // One has failed: it is the error that Wait returns.
		}
		group.Go(func() error {
			if err := d.upload(uploading, files[i], &entries[i], p); err != nil {
				return fmt.Errorf("upload %q: %w", files[i].Path, err)
			}
			p.file()
			return nil
		})
	}
	err = group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	p.stop()
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	return len(missing), d.say("uploaded %s, %s; already in the bucket: %d", purgecli.Counted(len(missing), "content"), inUnits(total), len(distinct)-len(missing))
}

// upload sends a file's content. It becomes an object only if it has the hash
// that is the object's name, so that what is there under a hash has it.
func (d *deployer) upload(ctx context.Context, f sitefiles.File, e *release.Entry, p *progress) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	if e.Bytes > partBytes {
		return d.uploadParts(ctx, file, e, p)
	}
	content := make([]byte, e.Bytes+1)
	n, err := io.ReadFull(file, content)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if content = content[:n]; release.SumOf(content) != e.Sum {
		return ErrChanging
	}
	if err := d.store.put(ctx, release.ObjectKey(e.Sum), content); err != nil {
		return err
	}
	p.bytes(e.Bytes)
	return nil
}

// uploadParts sends a large file. Parts that an earlier try has sent are left as
// they are, if they are what the file has there.
func (d *deployer) uploadParts(ctx context.Context, file io.Reader, e *release.Entry, p *progress) error {
	u := &partsUpload{store: d.store, key: d.store.prefix + release.ObjectKey(e.Sum), sent: map[int]minio.ObjectPart{}}
	if err := u.open(ctx); err != nil {
		return err
	}
	whole, buf := sha256.New(), make([]byte, partBytes)
	var parts []minio.CompletePart
	for left := e.Bytes; left > 0; {
		part := buf[:min(left, partBytes)]
		if _, err := io.ReadFull(file, part); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrChanging
			}
			return err
		}
		_, _ = whole.Write(part) // never fails
		done, err := u.send(ctx, len(parts)+1, part)
		if err != nil {
			return err
		}
		parts = append(parts, done)
		left -= int64(len(part))
		p.bytes(int64(len(part)))
	}
	if release.Sum(whole.Sum(nil)) != e.Sum {
		return errors.Join(ErrChanging, d.store.core.AbortMultipartUpload(ctx, d.store.bucket, u.key, u.id))
	}
	if _, err := d.store.core.CompleteMultipartUpload(ctx, d.store.bucket, u.key, u.id, parts, minio.PutObjectOptions{}); err != nil {
		return fmt.Errorf("complete: %w", err)
	}
	return nil
}

// partsUpload is one object that goes up in parts.
type partsUpload struct {
	store *store
	key   string
	id    string
	sent  map[int]minio.ObjectPart // by an earlier try
}

// open goes on with an upload that was begun, or begins one. Where a store does
// not list them, it begins.
func (u *partsUpload) open(ctx context.Context) (err error) {
	core, bucket := &u.store.core, u.store.bucket
	list, err := core.ListMultipartUploads(ctx, bucket, u.key, "", "", "", 10)
	if err != nil && ctx.Err() != nil {
		return err
	}
	for _, begun := range list.Uploads {
		if begun.Key == u.key {
			u.id = begun.UploadID
		}
	}
	if u.id == "" {
		u.id, err = core.NewMultipartUpload(ctx, bucket, u.key, minio.PutObjectOptions{ContentType: "application/octet-stream"})
		if err != nil {
			return fmt.Errorf("begin: %w", known(err))
		}
		return nil
	}
	for after := 0; ; {
		page, err := core.ListObjectParts(ctx, bucket, u.key, u.id, after, 1000)
		if err != nil {
			return fmt.Errorf("list parts: %w", err)
		}
		for _, part := range page.ObjectParts {
			u.sent[part.PartNumber] = part
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= after {
			return nil
		}
		after = page.NextPartNumberMarker
	}
}

func (u *partsUpload) send(ctx context.Context, number int, content []byte) (minio.CompletePart, error) {
	sum := md5.Sum(content) //nolint:gosec // as above
	if had, ok := u.sent[number]; ok && had.Size == int64(len(content)) && strings.Trim(had.ETag, `"`) == hex.EncodeToString(sum[:]) {
		return minio.CompletePart{PartNumber: number, ETag: had.ETag}, nil
	}
	part, err := u.store.core.PutObjectPart(ctx, u.store.bucket, u.key, u.id, number, bytes.NewReader(content), int64(len(content)),
		minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:])})
	if err != nil {
		return minio.CompletePart{}, fmt.Errorf("part %d: %w", number, err)
	}
	return minio.CompletePart{PartNumber: number, ETag: part.ETag}, nil
}
