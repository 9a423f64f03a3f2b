package e2e_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/app/apptest"
	"freshet/event"
)

// A version opens the data folders of all earlier ones, continues their logs, and keeps their tokens. testdata/folders has a folder of each
// version that changed something in it, packed, and the history that its server gave.
func TestDataFoldersOfEarlierVersions(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob("testdata/folders/*.tar.gz")
	must(t, err)
	if *update { // never over an older one
		name := fmt.Sprintf("testdata/folders/%d", len(folders)+1)
		packFolder(t, name+".tar.gz", fillFolder(t, name+".json"))
		return
	}
	if len(folders) == 0 {
		t.Fatal("there are no folders")
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			dir := unpackFolder(t, folder)
			token, err := os.ReadFile(filepath.Join(dir, "publish-token"))
			must(t, err)
			history := read(t, "e2e/"+strings.TrimSuffix(folder, ".tar.gz")+".json")
			text, err := os.ReadFile(filepath.Join(dir, "last-id"))
			must(t, err)
			last, err := event.ParseID(strings.TrimSpace(string(text)))
			must(t, err)

			s := apptest.Start(t, dir, "", "--retain-age", "0")
			if have := get(t, s.URL+"/history"); have != history {
				t.Errorf("the history is %s, want %s", have, history)
			}
			if s.Token != strings.TrimSpace(string(token)) {
				t.Errorf("the token is %q", s.Token)
			}
			next := event.NewID(last.Epoch(), last.Seq()+1).String()
			if id, err := s.Publish(t.Context(), "news", "", "appended", ""); err != nil || id != next {
				t.Errorf("the next event has the ID %s, %v, want %s", id, err, next)
			}
			if strings.Contains(history, `"type":"end"`) {
				if _, err := s.Publish(t.Context(), "job", "", "late", ""); err == nil || !strings.Contains(err.Error(), "409") {
					t.Errorf("published to a topic that has ended: %v", err)
				}
			}
			s.Stop()
			s = apptest.Start(t, dir, "", "--retain-age", "0")
			if have := get(t, s.URL+"/history?cursor="+last.String()); strings.Contains(have, `"gap"`) || !strings.Contains(have, `"id":"`+next+`"`) {
				t.Errorf("after %s there is %s", last, have)
			}
		})
	}
}

// fillFolder returns the data folder of a server with events, one of them with a TTL, a topic that has ended, and a revocation. It writes the server's history to a file.
func fillFolder(t *testing.T, history string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	s := apptest.Start(t, dir, "", "--retain-age", "0")
	for _, e := range []struct{ topic, typ, data, key string }{
		{"news", "", "hello", ""},
		{"orders.eu.paid", "order", `{"id":17}`, "order-17"},
		{"größe", "message", "two\r\nlines", ""},
		{"news", "alert", "", ""},
	} {
		_, err := s.Publish(t.Context(), e.topic, e.typ, e.data, e.key)
		must(t, err)
	}
	for _, request := range []string{"POST /event/job?end", "POST /event/limited?ttl=3650d", "DELETE /ticket?subject=alice"} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+s.Token)
		response, err := s.HTTP.Do(r)
		must(t, err)
		must(t, response.Body.Close())
		if response.StatusCode >= 300 {
			t.Fatalf("%s: %s", request, response.Status)
		}
	}
	must(t, os.WriteFile(history, []byte(get(t, s.URL+"/history")), 0o600))
	s.Stop()
	return dir
}

// packFolder writes all regular files of a folder.
func packFolder(t *testing.T, name, dir string) {
	t.Helper()
	file, err := os.Create(name)
	must(t, err)
	compressed := gzip.NewWriter(file)
	archive := tar.NewWriter(compressed)
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(&tar.Header{Name: filepath.ToSlash(rel), Mode: 0o600, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	}))
	must(t, errors.Join(archive.Close(), compressed.Close(), file.Close()))
}

// unpackFolder returns a new folder with the files.
func unpackFolder(t *testing.T, name string) (dir string) {
	t.Helper()
	file, err := os.Open(name)
	must(t, err)
	defer func() { _ = file.Close() }() // only read from
	compressed, err := gzip.NewReader(file)
	must(t, err)
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer func() { _ = root.Close() }()
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(t, err)
		content, err := io.ReadAll(archive)
		must(t, err)
		must(t, root.MkdirAll(filepath.Dir(header.Name), 0o700))
		must(t, root.WriteFile(header.Name, content, 0o600))
	}
}
