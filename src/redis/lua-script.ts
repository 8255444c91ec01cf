import { readFileSync } from 'node:fs';
import type { Redis } from './connection.ts';

type Value = string | number;

/** Keys and arguments by the names that the header of the script gives them, in camel case. */
interface NamedInput {
  readonly keys?: { readonly [name: string]: string };
  readonly args?: { readonly [name: string]: Value };
}

/** What one call of a script takes. */
export interface ScriptInput extends NamedInput {
  /** Scripts that work on a batch: keys and arguments of each entry, in order. */
  readonly entries?: readonly NamedInput[];
}

type LuaScript<Answer> = (redis: Redis, input: ScriptInput) => Promise<Answer>;

/**
 * A Lua script as a function. Redis runs it as one atomic step. ioredis sends its hash, and its
 * text only to a Redis that does not know it.
 *
 * The script's header names its input, one line each, in snake case:
 *
 *     KEYS[1] record              ARGV[1] id
 *     KEYS[entry + 1] stream      ARGV[entry + 1] priority
 *
 * `entry` lines are repeated for each entry of a batch, after the other keys or arguments. Scripts
 * with such lines get the counts as local variables: SHARED_KEYS, ENTRY_KEYS, SHARED_ARGS,
 * ENTRY_ARGS.
 *
 * `--- @include "path"` is replaced by that file (`.lua`, relative to the including one), once in a
 * script.
 *
 * @param base `import.meta.url` of the caller
 * @param path of the `.lua` file, relative to `base`
 * @throws Error when a call names other keys or arguments than the header
 */
export function defineScript<Answer>(base: string, path: string): LuaScript<Answer> {
  const url = new URL(path, base);
  const { lua, input } = readScript(url);
  const command = commandName(url);
  return (redis, { keys = {}, args = {}, entries = [] }) => {
    const ordered: Value[] = [];
    const argv: Value[] = [];
    append(ordered, keys, input.sharedKeys, command);
    append(argv, args, input.sharedArgs, command);
    for (const { keys = {}, args = {} } of entries) {
      append(ordered, keys, input.entryKeys, command);
      append(argv, args, input.entryArgs, command);
    }
    if (!(command in redis)) redis.defineCommand(command, { lua });
    // `defineCommand` adds a method that the type of the connection cannot know.
    const commands = redis as unknown as Record<string, (...parameters: Value[]) => Promise<Answer>>;
    return commands[command](ordered.length, ...ordered, ...argv);
  };
}

/** Appends the values in the order of the names, and refuses others. Every request calls it. */
function append(
  to: Value[],
  values: { readonly [name: string]: Value },
  names: readonly string[],
  command: string,
): void {
  for (const name of names) {
    const value = values[name];
    if (value === undefined) throw new Error(`${command} needs "${name}".`);
    to.push(value);
  }
  let count = 0;
  for (const _ in values) count++;
  if (count === names.length) return;
  const other = Object.keys(values).find((name) => !names.includes(name));
  throw new Error(`${command} takes ${names.join(', ')}, not ${other}.`);
}

/** `findery:MODULE/SCRIPT`: the file without `lua/` and its ending. */
function commandName({ pathname }: URL): string {
  const [module, , file] = pathname.split('/').slice(-3);
  return `findery:${module}/${file.replace(/\.lua$/, '')}`;
}

/** Names of a script's input in the order of the header, in camel case. */
export interface ScriptNames {
  readonly sharedKeys: readonly string[];
  readonly entryKeys: readonly string[];
  readonly sharedArgs: readonly string[];
  readonly entryArgs: readonly string[];
}

/**
 * The whole text of a script, includes in place, and the input that its header names.
 * @throws Error when there is no header, or its numbers are not 1, 2, 3 ...
 */
export function readScript(url: URL): { readonly lua: string; readonly input: ScriptNames } {
  const lua = readIncluding(url, new Set());
  const header = /^--\[\[.*?\]\]/s.exec(lua)?.[0];
  if (header === undefined) throw new Error(`${url.pathname} has no header.`);
  const input = {
    sharedKeys: namesOf(header, 'KEYS', '', url),
    entryKeys: namesOf(header, 'KEYS', 'entry + ', url),
    sharedArgs: namesOf(header, 'ARGV', '', url),
    entryArgs: namesOf(header, 'ARGV', 'entry + ', url),
  };
  if (input.entryKeys.length + input.entryArgs.length === 0) return { lua, input };
  const counts = [input.sharedKeys, input.entryKeys, input.sharedArgs, input.entryArgs]
    .map(({ length }) => length)
    .join(', ');
  return { lua: `local SHARED_KEYS, ENTRY_KEYS, SHARED_ARGS, ENTRY_ARGS = ${counts}\n${lua}`, input };
}

function namesOf(header: string, table: 'KEYS' | 'ARGV', entry: string, url: URL): string[] {
  const found: string[] = [];
  for (const line of header.split('\n')) {
    const start = `${table}[${entry}`;
    if (!line.trimStart().startsWith(start)) continue;
    const [, index, name] = /^(\d+)\] ([a-z_]+)/.exec(line.trimStart().slice(start.length)) ?? [];
    if (index === undefined && entry === '') continue; // a line of an entry
    if (Number(index) !== found.length + 1 || name === undefined)
      throw new Error(`${url.pathname}: "${line.trim()}" is not input ${found.length + 1}.`);
    found.push(name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
  }
  return found;
}

function readIncluding(url: URL, included: Set<string>): string {
  included.add(url.href);
  return readFileSync(url, 'utf8').replace(/^--- @include "([^"]+)"$/gm, (_, path: string) => {
    const file = new URL(`${path}.lua`, url);
    return included.has(file.href) ? '' : readIncluding(file, included);
  });
}
