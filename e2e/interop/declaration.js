// Compares a declaration with its module: node declaration.js MODULES MODULE
//
// It prints a line for each export, member, option, event and state that only one of them has, and for each that has no comment.
// MODULES is a folder node_modules with TypeScript, and MODULE is freshet.js, beside freshet.d.ts.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , modules, file] = process.argv;
const ts = createRequire(join(modules, 'x.js'))('typescript');
const folder = dirname(file);
const declaration = file.replace(/\.js$/, '.d.ts');
const program = ts.createProgram([declaration], { target: ts.ScriptTarget.ES2022, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'] });
const checker = program.getTypeChecker();
const source = program.getSourceFile(declaration);
const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source));
const declared = (name) => exported.find((symbol) => symbol.name === name);

function compare(what, inDeclaration, inModule) {
	for (const name of inDeclaration) if (!inModule.includes(name)) console.log(`${what} ${name}: only the declaration has it`);
	for (const name of inModule) if (!inDeclaration.includes(name)) console.log(`${what} ${name}: only the module has it`);
	if (!inModule.length) console.log(`${what}: none was found`);
}

for (const { messageText } of ts.getPreEmitDiagnostics(program, source)) console.log(ts.flattenDiagnosticMessageText(messageText, '\n'));

// Exports.
const module = await import(pathToFileURL(file));
const values = exported.filter((symbol) => symbol.flags & ts.SymbolFlags.Value);
compare('export', values.map((symbol) => symbol.name), Object.keys(module));

// Members of the classes, without those that they inherit.
const isOf = (symbol) => symbol.declarations.some((d) => d.getSourceFile() === source);
const nameOf = (symbol) => (symbol.name.startsWith('__@') ? `[${/__@(\w+?)@/.exec(symbol.name)[1]}]` : symbol.name);
const keysOf = (object) => Reflect.ownKeys(object).filter((key) => key !== 'constructor')
	.map((key) => (typeof key === 'symbol' ? `[${key.description.replace('Symbol.', '')}]` : key));
const stream = new module.Stream('http://127.0.0.1:1/event');
stream.close();
const instances = { Stream: stream, StreamEvent: new module.StreamEvent({}, '', '') };
const members = [];
for (const [name, instance] of Object.entries(instances)) {
	const symbol = declared(name);
	const own = checker.getDeclaredTypeOfSymbol(symbol).getProperties().filter(isOf);
	members.push(...own);
	const inherited = ['isTrusted', 'addEventListener', 'removeEventListener']; // the declaration gives them better types
	compare(`member of ${name}`, own.map(nameOf).filter((member) => !inherited.includes(member)),
		[...Object.keys(instance), ...keysOf(module[name].prototype)].filter((member) => !inherited.includes(member)));
	const statics = checker.getTypeOfSymbol(symbol).getProperties().filter((member) => member.name !== 'prototype' && isOf(member));
	members.push(...statics);
	if (statics.length) {
		compare(`static member of ${name}`, statics.map(nameOf), keysOf(module[name]).filter((key) => !['length', 'name', 'prototype'].includes(key)));
	}
}

// Options, events and states, by the words of the sources.
const text = ['stream.js', 'connection.js'].map((part) => readFileSync(join(folder, 'freshet', part), 'utf8')).join('\n');
const found = (pattern) => [...new Set([...text.matchAll(pattern)].map((match) => match[1]))];
const properties = (name) => checker.getDeclaredTypeOfSymbol(declared(name)).getProperties();
const destructured = found(/\{([^{}]+)\} = this\.#options/g).flatMap((list) => list.split(',').map((item) => item.split('=')[0].trim()));
compare('option', properties('Options').map((symbol) => symbol.name), [...new Set([...found(/\boptions\.(\w+)/g), ...destructured])]);
compare('event', properties('StreamEvents').map((symbol) => symbol.name), found(/ownEvents = \[(.*)\]/g)[0].match(/[\w-]+/g));
const states = checker.getDeclaredTypeOfSymbol(declared('State'));
compare('state', states.types.map((type) => type.value), found(/(?:#setState\(|#state = |\bstate: )'([a-z-]+)'/g));

// Comments.
const hasComment = (symbol) => symbol.getDocumentationComment(checker).length > 0;
for (const symbol of [...exported, ...members, ...exported.filter((e) => e.flags & ts.SymbolFlags.Interface).flatMap((e) => properties(e.name).filter(isOf))]) {
	if (!hasComment(symbol)) console.log(`${nameOf(symbol)}: no comment`);
}
for (const { value } of states.types) if (!source.text.includes(`*/\n\t| '${value}'`)) console.log(`state ${value}: no comment`);
