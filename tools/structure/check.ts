/**
 * Checks what the linter does not know: which module imports which (`modules.ts`), the size of
 * folders and files, the length of lines, and words that the glossary replaced. Part of
 * `npm run lint`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { MODULES } from './modules.ts';

const MAX_FILES_IN_FOLDER = 25;
const MAX_FILE_LINES = 300;
const MAX_CODE_COLUMNS = 110;
const MAX_COMMENT_COLUMNS = 100;
const REPLACED_WORDS = /painter|kriging|\blaws?\b|optimiser/i;
/** Aliases of earlier names, the method's history, and this list. */
const WORDS_ALLOWED = [
  /^CHANGELOG\.md$/,
  /^docs\/(evidence\/.*\.jsonl|method\.md|decisions\/)/,
  /^openapi\//,
  /^tools\/structure\/check\.ts$/,
  /^test\/maintenance\/release-.*\.test\.ts$/,
];
const ALIAS_LINE =
  /aliases: \['kriging'\]|'kriging' .*alias|\blaw: (record|Type)|\blaw\b.*alias|alias.*\blaw\b/;

const problems: string[] = [];
const root = resolve(import.meta.dirname, '..', '..');
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(resolve(root, file)));
const read = (file: string) => readFileSync(resolve(root, file), 'utf8');

checkModuleTable();
const sources = files.filter((file) => /\.(ts|lua)$/.test(file));
for (const file of sources) {
  const text = read(file);
  checkSize(file, text);
  if (/^(src|workers)\//.test(file)) checkImports(file, text);
}
checkFolders();
for (const file of files) checkWords(file);

if (problems.length > 0) {
  console.error(`${problems.join('\n')}\n${problems.length} problem(s); see CONTRIBUTING.md, "Layout".`);
  process.exitCode = 1;
}

/** The table itself has to be in order, or cycles could hide in it. */
function checkModuleTable(): void {
  const seen = new Set<string>();
  for (const { name, imports } of MODULES) {
    for (const other of imports) {
      if (!seen.has(other))
        problems.push(`modules.ts: ${name} imports ${other}, which is not listed above it`);
    }
    seen.add(name);
  }
}

function moduleOf(file: string): string {
  if (file.startsWith('workers/')) return 'workers';
  return (file.split('/')[1] ?? '').replace(/\.ts$/, '');
}

function checkImports(file: string, text: string): void {
  const own = MODULES.find(({ name }) => name === moduleOf(file));
  if (!own) {
    problems.push(`${file}: its module is not in tools/structure/modules.ts`);
    return;
  }
  for (const [, from, dynamic] of text.matchAll(/\bfrom '(\.[^']+)'|\bimport\('(\.[^']+)'\)/g)) {
    const target = relative(root, resolve(root, dirname(file), from ?? dynamic ?? ''));
    if (!/^(src|workers)\//.test(target)) continue;
    const other = moduleOf(target);
    if (other !== own.name && !own.imports.includes(other))
      problems.push(`${file}: ${own.name} may not import ${other} (tools/structure/modules.ts)`);
  }
}

function checkSize(file: string, text: string): void {
  const lines = text.split('\n');
  if (lines.length - 1 > MAX_FILE_LINES)
    problems.push(`${file}: ${lines.length - 1} lines, at most ${MAX_FILE_LINES}`);
  lines.forEach((line, i) => {
    const isComment = /^\s*(\*|\/\/|\/\*|--)/.test(line);
    const limit = isComment ? MAX_COMMENT_COLUMNS : MAX_CODE_COLUMNS;
    if (line.length > limit && !/https?:\/\/\S{60}/.test(line))
      problems.push(`${file}:${i + 1}: ${line.length} columns, at most ${limit}`);
  });
}

function checkFolders(): void {
  const counts = new Map<string, number>();
  for (const file of sources.filter((file) => /^(src|workers)\//.test(file)))
    counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  for (const [folder, count] of counts)
    if (count > MAX_FILES_IN_FOLDER)
      problems.push(`${folder}: ${count} files, at most ${MAX_FILES_IN_FOLDER} at its top`);
}

function checkWords(file: string): void {
  if (!/\.(ts|lua|py|md|ya?ml|toml|svg)$|Dockerfile$/.test(file) || file.includes('fixtures/')) return;
  if (WORDS_ALLOWED.some((pattern) => pattern.test(file))) return;
  read(file)
    .split('\n')
    .forEach((line, i) => {
      const [word] = REPLACED_WORDS.exec(line) ?? [];
      if (word && !ALIAS_LINE.test(line))
        problems.push(
          `${file}:${i + 1}: "${word}" was replaced; CONTRIBUTING.md, "Words", has its replacement`,
        );
    });
}
