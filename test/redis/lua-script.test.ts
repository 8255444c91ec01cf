import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { DEFAULT_TENANT } from '../../src/contract/tenants.ts';
import type { Redis } from '../../src/redis/connection.ts';
import { defineScript, readScript, type ScriptNames } from '../../src/redis/lua-script.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const files = ['src', 'workers'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
);
const lua = files.filter((file) => file.endsWith('.lua'));
const scripts = lua.filter((file) => !file.includes('/includes/'));
const textOf = (file: string) => readFileSync(join(ROOT, file), 'utf8');

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/**
 * The names that a script gives to `table` with `unpack`, or with an index; undefined when it gives
 * none.
 */
function namesInScript(text: string, table: 'KEYS' | 'ARGV', first: string): string[] | undefined {
  const list = new RegExp(`local ([\\w,\\s]+?)\\s*=\\s*unpack\\(${table}${first}\\)`).exec(text)?.[1];
  const single = new RegExp(`local (\\w+) = ${table}\\[1\\]`).exec(text)?.[1];
  return (list ?? (first === '' ? single : undefined))?.split(',').map((name) => camel(name.trim()));
}

describe('Lua scripts', () => {
  it('lie in .lua files, none in TypeScript', () => {
    const typescript = files.filter((file) => file.endsWith('.ts'));
    expect(typescript.filter((file) => /redis\.call\(|\.eval\(/.test(textOf(file)))).toEqual([]);
    expect(scripts.length).toBeGreaterThan(10);
  });

  it.each(scripts)('%s names its input in the order of its header', (file) => {
    const { input } = readScript(pathToFileURL(join(ROOT, file)));
    const text = textOf(file);
    const shared = (table: 'KEYS' | 'ARGV', names: readonly string[]) =>
      names.length > 0 && expect(namesInScript(text, table, ''), table).toEqual(names);
    shared('KEYS', input.sharedKeys);
    shared('ARGV', input.sharedArgs);
    for (const [table, first, names] of [
      ['KEYS', ', first_key, .*?', input.entryKeys],
      ['ARGV', ', first_arg, .*?', input.entryArgs],
    ] as const) {
      const unpacked = namesInScript(text, table, first);
      if (unpacked) expect(unpacked, `${table} of an entry`).toEqual(names);
    }
  });

  it.each(scripts)('%s says what it takes and what it returns', (file) => {
    expect(textOf(file)).toMatch(/^--\[\[\n {2}[A-Z].*\n {2}Input:\n.*\n {2}Output:.*\n\]\]/s);
  });

  it('know the default tenant', () => {
    const text = textOf('src/records/lua/includes/tenant.lua');
    expect(text).toContain(`local DEFAULT_TENANT = '${DEFAULT_TENANT}'`);
  });

  it('get their includes once, and the counts of their input', () => {
    const { lua, input } = readScript(pathToFileURL(join(ROOT, 'src/queue/lua/enqueue.lua')));
    expect(lua).not.toContain('@include "');
    expect(lua.match(/local function belongs_to/g)).toHaveLength(1);
    const counts = (
      ['sharedKeys', 'entryKeys', 'sharedArgs', 'entryArgs'] satisfies (keyof ScriptNames)[]
    ).map((name) => input[name].length);
    expect(lua).toMatch(
      new RegExp(`^local SHARED_KEYS, ENTRY_KEYS, SHARED_ARGS, ENTRY_ARGS = ${counts.join(', ')}\n`),
    );
  });
});

describe('a call of a script', () => {
  const calls: unknown[][] = [];
  // The only two members of a connection that scripts use.
  const redis = {
    defineCommand(this: Record<string, unknown>, name: string) {
      this[name] = async (...parameters: unknown[]) => void calls.push([name, ...parameters]);
    },
  } as unknown as Redis;
  const renew = defineScript(import.meta.url, '../../src/redis/lua/renew-lock.lua');

  it('sends keys and arguments in the order of the header', async () => {
    await renew(redis, { args: { milliseconds: 5, token: 't' }, keys: { lock: 'l' } });
    expect(calls).toEqual([['findery:redis/renew-lock', 1, 'l', 't', 5]]);
  });

  it('fails when a name is missing, or unknown', () => {
    expect(() => renew(redis, { keys: { lock: 'l' }, args: { token: 't' } })).toThrow(/needs "milliseconds"/);
    expect(() => renew(redis, { keys: { lock: 'l', other: 'o' }, args: {} })).toThrow(
      /takes lock, not other/,
    );
  });
});
