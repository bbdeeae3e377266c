package deploy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"weir/origin/release"
)

const (
	attemptsMax        = 4
	storeHeaderTimeout = 60 * time.Second
	// storedMax bounds the contents that a bucket may have of all releases.
	storedMax = 4 * release.EntriesMax
)

var (
	errNotThere = errors.New("it is not there")
	// errCondition says that a write's condition does not hold.
	errCondition = errors.New("it has been written by somebody else")
)

// store is the site's bucket. Keys are below the site's prefix.
type store struct {
	core   minio.Core
	bucket string
	prefix string // ends with a slash, or is ""
	close  func()
}

func openStore(o Options) (*store, error) {
	s := &store{bucket: o.Bucket.Bucket, prefix: o.Bucket.KeyPrefix(), close: func() {}}
	transport := o.Transport
	if transport == nil {
		own := &http.Transport{
			MaxIdleConnsPerHost: o.Parallel, ResponseHeaderTimeout: storeHeaderTimeout,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment,
		}
		transport, s.close = own, own.CloseIdleConnections
	}
	client, err := o.Bucket.Client(transport, attemptsMax)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", o.Bucket, err)
	}
	s.core = minio.Core{Client: client}
	return s, nil
}

// get reads a small object; errNotThere if there is none.
func (s *store) get(ctx context.Context, key string, bytesMax int64) (content []byte, etag string, err error) {
	body, info, _, err := s.core.GetObject(ctx, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, known(err))
	}
	defer body.Close()
	content, err = io.ReadAll(io.LimitReader(body, bytesMax+1))
	if err == nil && int64(len(content)) > bytesMax {
		err = fmt.Errorf("longer than %d bytes", bytesMax)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	return content, strings.Trim(info.ETag, `"`), nil
}

// known gives the errors that callers act on a name.
func known(err error) error {
	switch r := minio.ToErrorResponse(err); {
	case r.Code == "NoSuchKey":
		return errNotThere
	case r.StatusCode == http.StatusPreconditionFailed, r.StatusCode == http.StatusConflict && r.Code == "ConditionalRequestConflict":
		return errCondition
	case r.Code == "NoSuchBucket":
		return errors.New("the bucket does not exist: make it, or correct its name in the configuration")
	}
	return err
}

// put writes an object that has the same content whoever writes it. S3 verifies
// it by its MD5.
func (s *store) put(ctx context.Context, key string, content []byte) error {
	_, err := s.write(ctx, key, content, minio.PutObjectOptions{})
	return err
}

// replace writes an object if it still has the entity tag given, "" for none.
// errCondition says that it has not.
func (s *store) replace(ctx context.Context, key string, content []byte, etag string) (string, error) {
	var o minio.PutObjectOptions
	if etag == "" {
		o.SetMatchETagExcept("*")
	} else {
		o.SetMatchETag(etag)
	}
	now, err := s.write(ctx, key, content, o)
	if etag != "" && errors.Is(err, errNotThere) {
		err = errCondition // so do some stores say that what should match is gone
	}
	return now, err
}

func (s *store) write(ctx context.Context, key string, content []byte, o minio.PutObjectOptions) (etag string, err error) {
	o.ContentType, o.SendContentMd5, o.DisableMultipart = "application/octet-stream", true, true
	// In clear, a body is sent in signed chunks, and no body as a last chunk alone.
	// There are servers that do not read that, and take it for the next request.
	o.DisableContentSha256 = len(content) == 0
	info, err := s.core.Client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(content), int64(len(content)), o)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, known(err))
	}
	return strings.Trim(info.ETag, `"`), nil
}

// keepsConditions says whether the store refuses a write whose condition does
// not hold, both where it asks for no object and where it asks for another.
func (s *store) keepsConditions(ctx context.Context) (bool, error) {
	content := []byte("what weir deploy tries out conditional writes on\n")
	_, err := s.replace(ctx, release.ProbeKey, content, "")
	if err == nil { // There was none, or the store does not look.
		_, err = s.replace(ctx, release.ProbeKey, content, "")
	}
	if err == nil {
		return false, nil
	}
	if errors.Is(err, errCondition) {
		_, err = s.replace(ctx, release.ProbeKey, content, strings.Repeat("0", 32))
	}
	switch {
	case errors.Is(err, errCondition):
		return true, nil
	case err == nil || minio.ToErrorResponse(err).StatusCode == http.StatusNotImplemented:
		return false, nil
	}
	return false, err
}

// object is one that a listing names.
type object struct {
	bytes    int64
	modified time.Time // by the store's clock
}

// list gives the objects of a folder that are named by a hash.
func (s *store) list(ctx context.Context, folder string) (map[release.Sum]object, error) {
	// Ends the goroutine behind the channel when this returns early.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := map[release.Sum]object{}
	for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + folder, Recursive: true}) {
		if o.Err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, known(o.Err))
		}
		sum, err := release.ParseSum(strings.TrimPrefix(o.Key, s.prefix+folder))
		if err != nil {
			continue // It is none of ours.
		}
		if len(all) == storedMax {
			return nil, fmt.Errorf("list %s: more than %d objects", folder, storedMax)
		}
		all[sum] = object{bytes: o.Size, modified: o.LastModified}
	}
	return all, ctx.Err() // minio-go ends a listing without a word when the context ends.
}

// begun gives uploads in parts that were begun before a moment. Stores that list
// none have rules of their own for them; MinIO forgets them after a day.
func (s *store) begun(ctx context.Context, before time.Time) (all []removal, err error) {
	list, err := s.core.ListMultipartUploads(ctx, s.bucket, s.prefix+release.ObjectsDir, "", "", "", 1000)
	if err != nil {
		return nil, ctx.Err()
	}
	for _, u := range list.Uploads {
		if key, ours := strings.CutPrefix(u.Key, s.prefix); ours && u.Initiated.Before(before) {
			all = append(all, removal{key, u.UploadID})
		}
	}
	return all, nil
}

func (s *store) remove(ctx context.Context, r removal) (err error) {
	if r.upload != "" {
		err = s.core.AbortMultipartUpload(ctx, s.bucket, s.prefix+r.key, r.upload)
	} else {
		err = s.core.RemoveObject(ctx, s.bucket, s.prefix+r.key, minio.RemoveObjectOptions{})
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", r.key, err)
	}
	return nil
}
