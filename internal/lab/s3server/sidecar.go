package s3server

import (
	"os"
	"strings"

	"github.com/versity/versitygw/backend/meta"
)

// sidecar keeps objects' attributes in files beside the buckets. The backend
// names a bucket by its whole path; here it is stored by what is below root, so
// that the server's directory can be moved.
type sidecar struct {
	files meta.SideCar
	root  string // ends with a slash
}

func (s sidecar) name(bucket string) string { return strings.TrimPrefix(bucket, s.root) }

func (s sidecar) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	return s.files.RetrieveAttribute(f, s.name(bucket), object, attribute)
}

func (s sidecar) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	return s.files.StoreAttribute(f, s.name(bucket), object, attribute, value)
}

func (s sidecar) DeleteAttribute(bucket, object, attribute string) error {
	return s.files.DeleteAttribute(s.name(bucket), object, attribute)
}

func (s sidecar) ListAttributes(bucket, object string) ([]string, error) {
	return s.files.ListAttributes(s.name(bucket), object)
}

func (s sidecar) DeleteAttributes(bucket, object string) error {
	return s.files.DeleteAttributes(s.name(bucket), object)
}

func (s sidecar) RenameObject(bucket, oldObject, newObject string) error {
	return s.files.RenameObject(s.name(bucket), oldObject, newObject)
}
