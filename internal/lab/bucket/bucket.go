// Package bucket fills an S3 bucket from a directory: the lab's own store, a
// MinIO or any other. It uploads what has changed and says what that was.
package bucket

import (
	"context"
	"crypto/md5" //nolint:gosec // S3 defines a single upload's ETag as its MD5.
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"weir/internal/sitefiles"
	"weir/origin/release"
)

const (
	uploadsMaxDefault = 8
	attemptsMax       = 3
	headerTimeout     = 30 * time.Second
)

// marker is the object metadata that says an object is Sync's own, and may be
// removed by it: x-amz-meta-weir-sync: 1.
const marker = "Weir-Sync"

// Options says which bucket to fill, and how.
type Options struct {
	// S3 is the bucket, and the keys to it.
	S3 S3URL
	// Delete removes objects whose files are gone, if an earlier Sync had
	// uploaded them. Objects from elsewhere are never touched.
	Delete bool
	// FollowLinks uploads what symbolic links out of the directory lead to,
	// and leaves out links that lead nowhere. Without it both are errors.
	FollowLinks bool
	// Log is told of what was left out. Default: nobody is.
	Log *slog.Logger
	// UploadsMax is the number of uploads at a time. Default 8.
	UploadsMax int
	// Transport carries the requests. Default: one of Sync's own.
	Transport http.RoundTripper
}

// Sync makes the bucket, if it is not there, and brings it to the state of the
// directory: every regular file becomes the object of its relative path, with a
// Content-Type by its ending. Objects of the same size and MD5 stay as they are.
// What version control, editors and desktops leave about is passed over.
//
// It returns the URL paths, encoded and sorted, of the objects that were added,
// changed or removed; on an error, of those that were up to then.
func Sync(ctx context.Context, opts Options, dir string) ([]string, error) {
	skipped := func(link string, err error) {
		if opts.Log != nil {
			opts.Log.Warn("link that leads nowhere is left out", "link", link, "error", err)
		}
	}
	files, err := sitefiles.List(dir, sitefiles.Options{FollowLinks: opts.FollowLinks, Skipped: skipped})
	if err != nil {
		return nil, fmt.Errorf("sync bucket: %w", err)
	}
	s, err := newSyncer(opts)
	if err != nil {
		return nil, fmt.Errorf("sync %v: %w", opts.S3, err)
	}
	defer s.close()
	err = s.sync(ctx, files)
	slices.Sort(s.changed)
	if err != nil {
		return s.changed, fmt.Errorf("sync %q to %v: %w", dir, opts.S3, err)
	}
	return s.changed, nil
}

// Exists says whether the bucket is there.
func Exists(ctx context.Context, opts Options) (bool, error) {
	s, err := newSyncer(opts)
	if err != nil {
		return false, fmt.Errorf("look for %v: %w", opts.S3, err)
	}
	defer s.close()
	exists, err := s.client.BucketExists(ctx, s.opts.S3.Bucket)
	if err != nil {
		return false, fmt.Errorf("look for %v: %w", opts.S3, err)
	}
	return exists, nil
}

// HasReleases says whether weir deploy has filled the bucket: then that is what
// is served. A bucket that is not there has none.
func HasReleases(ctx context.Context, opts Options) (bool, error) {
	s, err := newSyncer(opts)
	if err != nil {
		return false, fmt.Errorf("look for releases in %v: %w", opts.S3, err)
	}
	defer s.close()
	_, err = s.client.StatObject(ctx, s.opts.S3.Bucket, s.prefix+release.PointerKey, minio.StatObjectOptions{})
	if status := minio.ToErrorResponse(err).StatusCode; status == http.StatusNotFound || status == http.StatusForbidden {
		return false, nil // Stores may say Forbidden of what is not there; the next request tells.
	}
	if err != nil {
		return false, fmt.Errorf("look for releases in %v: %w", opts.S3, err)
	}
	return true, nil
}

type syncer struct {
	opts   Options
	client *minio.Client
	prefix string // ends with a slash, or is ""
	close  func()

	lock    sync.Mutex // guards changed
	changed []string
}

func newSyncer(opts Options) (*syncer, error) {
	s := &syncer{opts: opts, prefix: opts.S3.KeyPrefix(), close: func() {}}
	if s.opts.UploadsMax <= 0 {
		s.opts.UploadsMax = uploadsMaxDefault
	}
	if s.opts.Transport == nil {
		own := &http.Transport{
			MaxIdleConnsPerHost:   s.opts.UploadsMax,
			ResponseHeaderTimeout: headerTimeout,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		}
		s.opts.Transport, s.close = own, own.CloseIdleConnections
	}
	var err error
	s.client, err = opts.S3.Client(s.opts.Transport, attemptsMax)
	return s, err
}

func (s *syncer) sync(ctx context.Context, files []sitefiles.File) error {
	if err := s.makeBucket(ctx); err != nil {
		return err
	}
	stored, err := s.list(ctx)
	if err != nil {
		return err
	}
	if err := s.uploadAll(ctx, files, stored); err != nil {
		return err
	}
	if !s.opts.Delete {
		return nil
	}
	for _, f := range files {
		delete(stored, s.prefix+f.Key)
	}
	return s.removeAll(ctx, stored)
}

func (s *syncer) makeBucket(ctx context.Context) error {
	exists, err := s.client.BucketExists(ctx, s.opts.S3.Bucket)
	if err != nil {
		return fmt.Errorf("look for bucket: %w", err)
	}
	if exists {
		return nil
	}
	err = s.client.MakeBucket(ctx, s.opts.S3.Bucket, minio.MakeBucketOptions{Region: s.opts.S3.region()})
	if err != nil && minio.ToErrorResponse(err).Code != "BucketAlreadyOwnedByYou" { // Another Sync was faster.
		return fmt.Errorf("make bucket: %w", err)
	}
	return nil
}

// state is what a listing says of an object's content.
type state struct {
	md5   string // in hex; for multipart uploads something else, which equals no MD5
	bytes int64
}

// list asks for all objects below the prefix. They are as many as the site has
// files, which is within sitefiles.Max unless the bucket has much besides.
func (s *syncer) list(ctx context.Context) (map[string]state, error) {
	// Ends the goroutine behind the channel when this returns early.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stored := make(map[string]state)
	for object := range s.client.ListObjects(ctx, s.opts.S3.Bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true}) {
		if object.Err != nil {
			return nil, fmt.Errorf("list objects: %w", object.Err)
		}
		if len(stored) == sitefiles.Max {
			return nil, fmt.Errorf("list objects: more than %d of them", sitefiles.Max)
		}
		stored[object.Key] = state{md5: strings.Trim(object.ETag, `"`), bytes: object.Size}
	}
	// minio-go ends the listing without a word when the context ends.
	return stored, ctx.Err()
}

func (s *syncer) uploadAll(ctx context.Context, files []sitefiles.File, stored map[string]state) error {
	group, uploading := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.UploadsMax)
	for _, f := range files {
		if uploading.Err() != nil {
			break // One has failed: it is the error that Wait returns.
		}
		group.Go(func() error {
			if err := s.uploadChanged(uploading, f, stored); err != nil {
				return fmt.Errorf("upload %q: %w", f.Key, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (s *syncer) uploadChanged(ctx context.Context, f sitefiles.File, stored map[string]state) error {
	body, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	err = s.upload(ctx, f, body, stored)
	return errors.Join(err, body.Close())
}

func (s *syncer) upload(ctx context.Context, f sitefiles.File, body *os.File, stored map[string]state) error {
	key := s.prefix + f.Key
	if old, ok := stored[key]; ok && old.bytes == f.Bytes {
		sum := md5.New() //nolint:gosec // It is compared with what S3 computed.
		if _, err := io.Copy(sum, body); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) == old.md5 {
			return nil
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	// A single upload, however large, since the ETag of one in parts is no MD5.
	_, err := s.client.PutObject(ctx, s.opts.S3.Bucket, key, body, f.Bytes, minio.PutObjectOptions{
		ContentType:      sitefiles.ContentType(f.Key),
		UserMetadata:     map[string]string{marker: "1"},
		DisableMultipart: true,
	})
	if err != nil {
		return err
	}
	s.note(f.Key)
	return nil
}

// note records a change under the object's URL path.
func (s *syncer) note(key string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.changed = append(s.changed, (&url.URL{Path: "/" + key}).EscapedPath())
}

func (s *syncer) removeAll(ctx context.Context, gone map[string]state) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.UploadsMax)
	for key := range gone {
		group.Go(func() error {
			if err := s.removeOwn(ctx, key); err != nil {
				return fmt.Errorf("remove %q: %w", key, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// removeOwn removes an object that carries the marker.
func (s *syncer) removeOwn(ctx context.Context, key string) error {
	object, err := s.client.StatObject(ctx, s.opts.S3.Bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return err
	}
	if object.UserMetadata[marker] != "1" {
		return nil
	}
	if err := s.client.RemoveObject(ctx, s.opts.S3.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
		return err
	}
	s.note(strings.TrimPrefix(key, s.prefix))
	return nil
}
