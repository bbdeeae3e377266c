package s3server

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"
)

// withoutChunking removes "aws-chunked" from the content codings to remember. It
// says how the upload came; S3 forgets it with the upload, the backend does not.
func withoutChunking(codings *string) *string {
	if codings == nil {
		return nil
	}
	var kept []string
	for coding := range strings.SplitSeq(*codings, ",") {
		if coding = strings.TrimSpace(coding); coding != "" && coding != "aws-chunked" {
			kept = append(kept, coding)
		}
	}
	joined := strings.Join(kept, ",")
	return &joined
}

func (r *rooted) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.ContentEncoding = withoutChunking(in.ContentEncoding)
	return within(r, &in.Bucket, in.Key, func() (s3response.PutObjectOutput, error) { return r.posix.PutObject(ctx, in) })
}

func (r *rooted) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if err := checkReadable(in.Key); err != nil {
		return nil, err
	}
	in.IfModifiedSince, in.IfUnmodifiedSince = endOfSecond(in.IfModifiedSince), endOfSecond(in.IfUnmodifiedSince)
	return within(r, &in.Bucket, in.Key, func() (*s3.HeadObjectOutput, error) { return r.posix.HeadObject(ctx, in) })
}

func (r *rooted) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	if err := checkReadable(in.Key); err != nil {
		return nil, err
	}
	in.IfModifiedSince, in.IfUnmodifiedSince = endOfSecond(in.IfModifiedSince), endOfSecond(in.IfUnmodifiedSince)
	return within(r, &in.Bucket, in.Key, func() (*s3.GetObjectOutput, error) { return r.posix.GetObject(ctx, in) })
}

func (r *rooted) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	return within(r, &in.Bucket, in.Key, func() (*s3.DeleteObjectOutput, error) { return r.posix.DeleteObject(ctx, in) })
}

func (r *rooted) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	if in.Delete != nil {
		for _, object := range in.Delete.Objects {
			if err := checkKey(object.Key); err != nil {
				return s3response.DeleteResult{}, err
			}
		}
	}
	return within(r, &in.Bucket, nil, func() (s3response.DeleteResult, error) { return r.posix.DeleteObjects(ctx, in) })
}

func (r *rooted) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	bucket := in.Bucket
	out, err := within(r, &in.Bucket, nil, func() (s3response.ListObjectsResult, error) { return r.posix.ListObjects(ctx, in) })
	out.Name = bucket
	return out, err
}

func (r *rooted) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	bucket := in.Bucket
	out, err := within(r, &in.Bucket, nil, func() (s3response.ListObjectsV2Result, error) { return r.posix.ListObjectsV2(ctx, in) })
	out.Name = bucket
	return out, err
}

func (r *rooted) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	bucket := in.Bucket
	out, err := within(r, &in.Bucket, in.Key, func() (s3response.InitiateMultipartUploadResult, error) {
		return r.posix.CreateMultipartUpload(ctx, in)
	})
	out.Bucket = *bucket
	return out, err
}

func (r *rooted) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	bucket := in.Bucket
	out, err := within(r, &in.Bucket, nil, func() (s3response.ListMultipartUploadsResult, error) { return r.posix.ListMultipartUploads(ctx, in) })
	out.Bucket = *bucket
	return out, err
}

func (r *rooted) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	return within(r, &in.Bucket, in.Key, func() (*s3.UploadPartOutput, error) { return r.posix.UploadPart(ctx, in) })
}

func (r *rooted) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	bucket := in.Bucket
	out, err := within(r, &in.Bucket, in.Key, func() (s3response.ListPartsResult, error) { return r.posix.ListParts(ctx, in) })
	out.Bucket = *bucket
	return out, err
}

func (r *rooted) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	bucket, version := in.Bucket, ""
	out, err := within(r, &in.Bucket, in.Key, func() (out s3response.CompleteMultipartUploadResult, err error) {
		out, version, err = r.posix.CompleteMultipartUpload(ctx, in)
		return out, err
	})
	out.Bucket = bucket
	return out, version, err
}

func (r *rooted) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	_, err := within(r, &in.Bucket, in.Key, func() (struct{}, error) { return struct{}{}, r.posix.AbortMultipartUpload(ctx, in) })
	return err
}
