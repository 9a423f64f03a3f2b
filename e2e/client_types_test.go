package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packageFiles are the files of the package that npm makes from assets/, except for package.json.
var packageFiles = []string{
	"LICENSE", "README.md", "freshet.d.ts", "freshet.js",
	"freshet/answer.js", "freshet/connection.js", "freshet/credential.js", "freshet/cursor.js", "freshet/page.js", "freshet/pattern.js", "freshet/share.js", "freshet/stream.js",
}

// typedPage uses all of the module, and what the types have to refuse.
const typedPage = `
import { answer, connect, matches, Stream, StreamEvent, type Gap, type Options, type State, type StateChange, type StreamError } from 'MODULE';

const options: Options = { topics: ['orders.*'], since: 'last', ticket: async () => 'a ticket', identity: 'alice' };
const s = connect({ ...options, url: 'https://events.example/event' });
const off: () => void = s.on('orders.new', (e) => {
	const order = e.json<{ n: number }>();
	const place: [string, string, Date | null] = [e.topic, e.id, e.time];
	console.log(order.n, place, e.data.length, e.lastEventId);
});
off();
s.on('state', ({ state, wait }) => { const known: State = state; console.log(known, wait); });
s.on('state', (change: StateChange) => console.log(change.gap?.reason));
s.on('gap', (e: StreamEvent) => console.log(e.json<Gap>().first));
s.on('error', (e: StreamError) => console.log(e.reason, e.status));
for await (const e of s) { if (e.topic === '') break; }
for await (const lines of answer('answers.17', { url: 'https://events.example/event', merge: 'lines' })) console.log(lines.split('\n'));

// Like an EventSource.
const ev = new Stream(new URL('https://events.example/event?topic=news'), { share: false, heartbeat: 1000, queue: 10 });
ev.onmessage = (e) => console.log(e.data);
ev.onerror = () => { if (ev.readyState === Stream.CLOSED) ev.close(); };
ev.addEventListener('news', (e) => console.log(e.lastEventId));
const source: Pick<EventSource, 'url' | 'readyState' | 'withCredentials' | 'close' | 'CLOSED'> = ev;
const heard = (e: StreamEvent) => console.log(e.data);
ev.addEventListener('news', heard);
ev.removeEventListener('news', heard);
console.log(source.url, matches('orders.*', 'orders.new'));

// @ts-expect-error only the stream makes events
new StreamEvent('news');
// @ts-expect-error there is no such option
connect({ topic: 'news' });
// @ts-expect-error states are words
if (s.state === 'open') off();
`

// A project gets the types from the server's URL, from a copy of the files, and from the package: TypeScript's compiler accepts each in
// its strictest mode, and the blocks ts of all documents.
func TestClientTypes(t *testing.T) {
	t.Parallel()
	p := newTypedProject(t)
	must(t, os.MkdirAll(filepath.Join(p.dir, "node_modules"), 0o700))
	copyPackage(t, filepath.Join(p.dir, "node_modules", "freshet-client"))
	p.compile(t, "bundler")
}

// The declaration and the module have the same exports, members, options, events and states, and each has a comment.
func TestClientDeclaration(t *testing.T) {
	t.Parallel()
	modules := installNodeModules(t)
	files, err := filepath.Glob(filepath.Join(top, "assets", "freshet", "*.js"))
	must(t, err)
	for _, file := range append(files, filepath.Join(top, "assets", "freshet.js"), filepath.Join(top, "assets", "freshet.d.ts")) {
		_, err := os.ReadFile(file) // so that the cache of go test notices a change
		must(t, err)
	}
	module, err := filepath.Abs(filepath.Join(top, "assets", "freshet.js"))
	must(t, err)
	node := exec.CommandContext(t.Context(), "node", filepath.Join("interop", "declaration.js"), modules, module)
	if output, err := node.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("%v\n%s", err, output)
	}
}

// The manifest of the package belongs to these files and this version.
func TestClientPackageManifest(t *testing.T) {
	t.Parallel()
	var manifest struct {
		Name, Version, License, Type       string
		Private                            bool
		SideEffects                        *bool
		Files                              []string
		Dependencies, OptionalDependencies map[string]string
	}
	must(t, json.Unmarshal([]byte(read(t, "assets/package.json")), &manifest))
	version := "0.0.0"
	if release := regexp.MustCompile(`(?m)^## v?(\d+\.\d+\.\d+)`).FindStringSubmatch(read(t, "CHANGELOG.md")); release != nil {
		version = release[1]
	}
	if manifest.Version != version {
		t.Errorf("assets/package.json has version %q, and CHANGELOG.md %q as the newest release", manifest.Version, version)
	}
	if manifest.Private || manifest.Name != "freshet-client" || manifest.License != "MIT" || manifest.Type != "module" || manifest.SideEffects == nil || *manifest.SideEffects {
		t.Errorf("assets/package.json: %+v", manifest)
	}
	if len(manifest.Dependencies)+len(manifest.OptionalDependencies) > 0 {
		t.Error("the client module has no dependencies")
	}
	if read(t, "assets/LICENSE") != read(t, "LICENSE") {
		t.Error("assets/LICENSE is not LICENSE")
	}
	if want := []string{"freshet.js", "freshet.d.ts", "freshet"}; !slices.Equal(manifest.Files, want) {
		t.Errorf("files: %q, want %q", manifest.Files, want)
	}
	inFolder := []string{}
	must(t, filepath.WalkDir(filepath.Join(top, "assets", "freshet"), func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) == ".js" {
			inFolder = append(inFolder, "freshet/"+filepath.Base(name))
		}
		return err
	}))
	if !slices.Equal(inFolder, packageFiles[4:]) {
		t.Errorf("assets/freshet has %q, and the package %q", inFolder, packageFiles[4:])
	}
}

// typedProject is a TypeScript project that imports the module in each way that docs/client.md shows.
type typedProject struct {
	dir     string
	tsc     string
	options map[string]any // of the compiler, as the document has them
}

func newTypedProject(t *testing.T) typedProject {
	t.Helper()
	p := typedProject{tsc: filepath.Join(installNodeModules(t), ".bin", "tsc"), dir: t.TempDir()}
	p.write(t, "package.json", `{"type":"module","private":true}`)
	p.write(t, "freshet.d.ts", read(t, "assets/freshet.d.ts")) // as curl -O gets it
	copyPackage(t, filepath.Join(p.dir, "vendor"))
	for i, module := range []string{"http://localhost:8080/assets/freshet.js", "./vendor/freshet.js", "freshet-client"} {
		p.write(t, fmt.Sprintf("page-%d.ts", i), strings.Replace(typedPage, "MODULE", module, 1))
	}
	blocks := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language == "ts" {
				p.write(t, fmt.Sprintf("%s-%d.ts", strings.ReplaceAll(d.name, "/", "-"), b.line), b.text)
				blocks++
			}
			var settings struct{ CompilerOptions map[string]any }
			if b.language == "json" && json.Unmarshal([]byte(b.text), &settings) == nil && settings.CompilerOptions != nil {
				p.options = settings.CompilerOptions
			}
		}
	}
	if blocks < 2 || p.options["paths"] == nil {
		t.Fatalf("the documents have %d blocks ts and the compiler options %v", blocks, p.options)
	}
	return p
}

func (p typedProject) write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

// compile checks all files, in the compiler's strictest mode. TestClientDeclaration checks the declaration itself, in less time than skipLibCheck: false.
func (p typedProject) compile(t *testing.T, resolution string) {
	t.Helper()
	options := map[string]any{
		"noEmit": true, "strict": true, "exactOptionalPropertyTypes": true, "noUncheckedIndexedAccess": true, "skipLibCheck": true, "types": []string{},
		"target": "es2022", "lib": []string{"es2022", "dom", "dom.iterable"}, "module": map[string]string{"bundler": "es2022", "nodenext": "nodenext"}[resolution],
		"moduleResolution": resolution,
	}
	for name, value := range p.options {
		options[name] = value
	}
	settings, err := json.Marshal(map[string]any{"compilerOptions": options, "include": []string{"*.ts"}})
	must(t, err)
	p.write(t, "tsconfig.json", string(settings))
	tsc := exec.CommandContext(t.Context(), p.tsc, "--project", p.dir)
	if output, err := tsc.CombinedOutput(); err != nil {
		t.Errorf("tsc with moduleResolution %s: %v\n%s", resolution, err, output)
	}
}

// copyPackage makes a folder with the files of the package.
func copyPackage(t *testing.T, dir string) {
	t.Helper()
	for _, name := range append([]string{"package.json"}, packageFiles...) {
		must(t, errors.Join(
			os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700),
			os.WriteFile(filepath.Join(dir, name), []byte(read(t, "assets/"+name)), 0o600)))
	}
}
