package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weir"
	"weir/internal/config"
	"weir/internal/lab/bucket"
	"weir/internal/lab/s3server"
)

// startOrigin gives the site its origin: the embedded S3 server, another S3
// store, or a plain HTTP server, which is not filled.
func (l *Lab) startOrigin(ctx context.Context) error {
	site := &config.Site{Name: siteName, Hosts: []string{"*"}}
	switch scheme, _, _ := strings.Cut(l.o.Origin, "://"); {
	case scheme == "http" || scheme == "https":
		if l.o.Site != "" {
			return fmt.Errorf("--site fills a bucket; with --origin %s the content is that server's own", l.o.Origin)
		}
		site.Origin.HTTP = &config.HTTP{URL: l.o.Origin}
		l.Ready.Origin = l.o.Origin
	default:
		s3, err := l.bucket(ctx)
		if err != nil {
			return err
		}
		if err := l.fill(ctx, s3); err != nil {
			return err
		}
		l.bucketKeys = &s3
		site.Origin.S3 = &config.S3{
			Endpoint: s3.Endpoint, Bucket: s3.Bucket, Prefix: s3.Prefix, Region: s3.Region,
			AccessKey: s3.AccessKey, SecretKey: config.Secret(s3.SecretKey), Secure: s3.Secure,
		}
		l.Ready.Origin = s3Address(s3)
	}
	site.Policy = config.DefaultPolicy(site.Origin)
	if l.o.Policy != nil {
		l.o.Policy(&site.Policy)
	}
	l.config.Sites = []*config.Site{site}
	return nil
}

// bucket is where the site is kept: as given, or on a server of the lab's own.
func (l *Lab) bucket(ctx context.Context) (bucket.S3URL, error) {
	if l.o.Origin != "" {
		return bucket.ParseURL(l.o.Origin)
	}
	keys := bucket.S3URL{Bucket: bucketName, AccessKey: "lab", SecretKey: string(newToken())}
	var err error
	l.s3, err = s3server.Start(ctx, s3server.Options{
		Dir: filepath.Join(l.state, "origin"), Listen: l.address(4),
		AccessKey: keys.AccessKey, SecretKey: keys.SecretKey, Log: l.o.Log,
	})
	if err != nil {
		return keys, err
	}
	keys.Endpoint = l.s3.Addr()
	return keys, nil
}

// fill makes the bucket hold the site's files. Somebody's own bucket that is
// there already is served as it is, unless a site for it is given.
func (l *Lab) fill(ctx context.Context, s3 bucket.S3URL) error {
	folder := l.o.Site
	released, err := bucket.HasReleases(ctx, bucket.Options{S3: s3})
	if err != nil {
		return err
	}
	if l.released = released; released {
		// They are what is served, and weir deploy adds to them.
		if folder != "" {
			l.o.Log.Warn("the bucket has releases, and --site is not served: deploy the directory", "site", folder)
		}
		return nil
	}
	if folder == "" && l.o.Origin != "" {
		if exists, err := bucket.Exists(ctx, bucket.Options{S3: s3}); err != nil || exists {
			return err
		}
	}
	if folder == "" {
		folder = filepath.Join(l.state, "sample-site")
		if err := replaceWith(folder, weir.SampleSite()); err != nil {
			return fmt.Errorf("sample site: %w", err)
		}
	}
	changed, err := bucket.Sync(ctx, bucket.Options{
		S3: s3, Delete: true, Log: l.o.Log,
		// Packaged sites have links to shared files. Whoever starts the lab
		// names the directory, and only this machine sees it.
		FollowLinks: true,
	}, folder)
	for _, path := range changed {
		l.changed = append(l.changed, path)
		if directory, is := strings.CutSuffix(path, "/"+config.DefaultPolicy(config.Origin{}).Index); is {
			// The document answers under these as well.
			l.changed = append(l.changed, directory+"/")
			if directory != "" {
				l.changed = append(l.changed, directory)
			}
		}
	}
	return err
}

func replaceWith(folder string, files fs.FS) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.CopyFS(folder, files)
}

// s3Address names the bucket without the keys to it.
func s3Address(s3 bucket.S3URL) string {
	scheme := "http"
	if s3.Secure {
		scheme = "https"
	}
	return scheme + "://" + s3.Endpoint + "/" + strings.Trim(s3.Bucket+"/"+s3.Prefix, "/")
}
