package s3server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// rooted is versitygw's POSIX backend without its hold on the process. That
// backend changes the working directory to its own and takes each bucket's name
// as a path relative to it. rooted gives it absolute paths instead, so that the
// working directory stays everybody's and a process may run several servers.
//
// Methods that are not here are the embedded BackendUnsupported's: falling
// through to the POSIX backend would mean a path in the wrong directory.
type rooted struct {
	backend.BackendUnsupported

	posix   *posix.Posix
	root    string // the absolute directory that has the buckets, ends with a slash
	sidecar bool   // attributes are kept in files
}

// startLock is held while the working directory is not what it should be.
var startLock sync.Mutex

func openRooted(dir string) (*rooted, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &rooted{root: filepath.Join(dir, "buckets") + "/"}
	if err := os.MkdirAll(r.root, 0o755); err != nil {
		return nil, err
	}
	var attributes meta.MetadataStorer = meta.XattrMeta{}
	metaDir := filepath.Join(dir, "meta")
	if r.sidecar = needsSidecar(r.root, metaDir); r.sidecar {
		if err := os.MkdirAll(metaDir, 0o755); err != nil {
			return nil, err
		}
		files, err := meta.NewSideCar(metaDir)
		if err != nil {
			return nil, err
		}
		attributes = sidecar{files: files, root: r.root}
	}
	r.posix, err = openPosix(r.root, attributes)
	return r, err
}

// needsSidecar says whether attributes have to be kept in files: they are
// already, or the file system stores none on a directory.
func needsSidecar(root, metaDir string) bool {
	if _, err := os.Stat(metaDir); err == nil {
		return true
	}
	const probe = "weir-probe"
	if err := (meta.XattrMeta{}).StoreAttribute(nil, root, "", probe, []byte("1")); err != nil {
		return true
	}
	return (meta.XattrMeta{}).DeleteAttribute(root, "", probe) != nil
}

// openPosix opens the backend and puts the working directory back.
func openPosix(root string, attributes meta.MetadataStorer) (_ *posix.Posix, err error) {
	startLock.Lock()
	defer startLock.Unlock()
	here, err := os.Open(".")
	if err != nil {
		return nil, fmt.Errorf("working directory: %w", err)
	}
	defer func() { err = errors.Join(err, here.Chdir(), here.Close()) }()
	return posix.New(root, attributes, posix.PosixOpts{})
}

// at turns a bucket's name into its path. The front has checked the name, yet a
// path must not be made of anything that could leave the root.
func (r *rooted) at(bucket *string) (string, error) {
	if bucket == nil || *bucket == "" || strings.ContainsAny(*bucket, `/\`) || strings.HasPrefix(*bucket, ".") {
		return "", s3err.GetAPIError(s3err.ErrInvalidBucketName)
	}
	path := r.root + *bucket
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", s3err.GetBucketErr(s3err.ErrNoSuchBucket, *bucket)
	}
	return path, nil
}

// checkKey hides the directory in each bucket where the backend builds objects.
func checkKey(key *string) error {
	if key == nil {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimLeft(filepath.Clean(*key), "/"), "/")
	if first == posix.MetaTmpDir {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return nil
}

// segmentBytesMax is the longest name of a file. The backend calls longer ones
// an error, to which a HEAD has no words; it can simply not have them.
const segmentBytesMax = 255

// checkReadable is checkKey for a key that is asked for.
func checkReadable(key *string) error {
	if key != nil {
		for segment := range strings.SplitSeq(*key, "/") {
			if len(segment) > segmentBytesMax {
				return s3err.GetAPIError(s3err.ErrNoSuchKey)
			}
		}
	}
	return checkKey(key)
}

// endOfSecond moves a date from a request to the end of the second that it
// names. Dates in fields count seconds (RFC 9110 section 5.6.7), the backend
// compares them to times of files that are finer, and would otherwise call every
// object newer than its own Last-Modified.
func endOfSecond(date *time.Time) *time.Time {
	if date == nil {
		return nil
	}
	end := date.Add(time.Second - 1)
	return &end
}

// within runs a call of the backend's with its bucket's name replaced by the
// bucket's path, and puts the name back.
func within[Out any](r *rooted, bucket **string, key *string, call func() (Out, error)) (Out, error) {
	var none Out
	path, err := r.at(*bucket)
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return none, err
	}
	name := *bucket
	*bucket = &path
	defer func() { *bucket = name }()
	return call()
}

func (r *rooted) Shutdown()      { r.posix.Shutdown() }
func (r *rooted) String() string { return "POSIX backend in " + r.root }

// NormalizeObjectKey answers for any bucket alike: the key is all that counts.
func (r *rooted) NormalizeObjectKey(bucket, object string) string {
	return r.posix.NormalizeObjectKey(bucket, object)
}

func (r *rooted) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	_, err := r.at(in.Bucket)
	if err == nil {
		return s3err.GetBucketErr(s3err.ErrBucketAlreadyOwnedByYou, *in.Bucket)
	}
	var missing s3err.BucketError
	if !errors.As(err, &missing) {
		return err
	}
	rooted := *in
	path := r.root + *in.Bucket
	rooted.Bucket = &path
	return r.posix.CreateBucket(ctx, &rooted, acl)
}

func (r *rooted) DeleteBucket(ctx context.Context, bucket string) error {
	path, err := r.at(&bucket)
	if err != nil {
		return err
	}
	return r.posix.DeleteBucket(ctx, path)
}

func (r *rooted) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	return within(r, &in.Bucket, nil, func() (*s3.HeadBucketOutput, error) { return r.posix.HeadBucket(ctx, in) })
}

func (r *rooted) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	return within(r, &in.Bucket, nil, func() ([]byte, error) { return r.posix.GetBucketAcl(ctx, in) })
}

func (r *rooted) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, bucket)
}

func (r *rooted) GetBucketCors(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchCORSConfiguration, bucket)
}

func (r *rooted) GetObjectLockConfiguration(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrObjectLockConfigurationNotFound, bucket)
}

func (r *rooted) GetBucketVersioning(_ context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	_, err := r.at(&bucket)
	return s3response.GetBucketVersioningOutput{}, err
}
