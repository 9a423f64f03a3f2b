//go:build full

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet/app/apptest"
)

// npm makes a package from assets/, which a project can install: TypeScript knows its types, it runs in Node.js, and in a bundle on a
// page of another origin. So does a copy of the files. A bundler leaves the import from a server's URL to the browser.
func TestClientPackage(t *testing.T) {
	t.Parallel()
	p := newTypedProject(t)
	esbuild := filepath.Join(filepath.Dir(p.tsc), "esbuild")
	installClient(t, p.dir)
	for _, resolution := range []string{"bundler", "nodenext"} {
		p.compile(t, resolution)
	}

	server := apptest.Start(t, t.TempDir(), "")
	for _, data := range []string{"one", "two"} {
		_, err := server.Publish(t.Context(), "orders.eu.paid", "", data, "")
		must(t, err)
	}
	const printed = "orders.eu.paid one\norders.eu.paid two\n"
	listen := func(module, url string) string {
		return "import { connect } from '" + module + "';\n" +
			"const s = connect({ " + url + "topics: ['orders.>'], since: 'all' });\n" +
			"for await (const e of s) { console.log(e.topic, e.data); if (e.data === 'two') s.close(); }\n"
	}
	url := "url: '" + server.URL + "/event', "
	p.write(t, "node.js", listen("freshet-client", url))
	if got := runCommand(t, p.dir, "node", "node.js"); got != printed { // it ends by itself
		t.Errorf("Node.js prints %q, want %q", got, printed)
	}
	for name, c := range map[string]struct{ module, url, has string }{
		"package":               {"freshet-client", url, "extends MessageEvent"},
		"copy":                  {"./vendor/freshet.js", url, "extends MessageEvent"},
		"server":                {server.URL + "/assets/freshet.js", "", "/assets/freshet.js"},
		"package without a URL": {"freshet-client", "", "extends MessageEvent"},
	} {
		file := strings.ReplaceAll(name, " ", "-")
		p.write(t, file+".ts", listen(c.module, c.url))
		runCommand(t, p.dir, esbuild, file+".ts", "--bundle", "--format=esm", "--target=es2022", "--outfile="+file+"-bundle.js")
		bundle, err := os.ReadFile(filepath.Join(p.dir, file+"-bundle.js"))
		must(t, err)
		if !strings.Contains(string(bundle), c.has) {
			t.Errorf("the bundle with the %s has no %q", name, c.has)
		}
		err = site{server: server.URL}.runScript(t, block{text: string(bundle)}, printed)
		if c.url == "" && name != "server" {
			if err == nil || !strings.Contains(err.Error(), "connect needs a URL") {
				t.Errorf("a bundle that names no server: %v", err)
			}
		} else if err != nil {
			t.Errorf("the bundle with the %s: %v", name, err)
		}
	}
}

// installClient makes the package with npm, and installs it in the project.
func installClient(t *testing.T, project string) {
	t.Helper()
	var packed []struct {
		Filename string
		Files    []struct{ Path string }
	}
	must(t, json.Unmarshal([]byte(runCommand(t, filepath.Join(top, "assets"), "npm", "pack", "--json", "--pack-destination", project)), &packed))
	var files []string
	for _, file := range packed[0].Files {
		files = append(files, file.Path)
	}
	want := append([]string{"package.json"}, packageFiles...)
	for _, name := range want {
		read(t, "assets/"+name) // so that the cache of go test notices a change
	}
	slices.Sort(files)
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("npm packs %q, want %q", files, want)
	}
	runCommand(t, project, "npm", "install", "--offline", "--no-audit", "--no-fund", "./"+packed[0].Filename)
}

// runCommand returns what the program prints.
func runCommand(t *testing.T, dir, program string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir = dir
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", program, arguments, err, output, complaints.String())
	}
	return string(output)
}
