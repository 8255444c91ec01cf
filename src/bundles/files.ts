import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isObject } from '../core/is-object.ts';

/** A bundle cannot be used. The message names the file, what is wrong with it and what to do. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

/** A JSON object whose members were not checked. */
export type Json = { readonly [key: string]: unknown };

/** Strings are matched too, so that the same words inside of them are left alone. */
const STRING_OR_BARE_WORD = /"(?:[^"\\]|\\.)*"|-?\b(?:Infinity|NaN)\b/g;
/** JSON for Python's words. Numbers that are too large for a double are infinite. */
const BARE_WORDS: { readonly [word: string]: string } = {
  Infinity: '1e999',
  '-Infinity': '-1e999',
  NaN: '"\\u0000NaN"',
  '-NaN': '"\\u0000NaN"',
};

/**
 * Reads a JSON object from the file `name` in `folder`. Python's bare `Infinity` and `NaN`, which
 * diffusers writes, are read as these numbers. Readers of finite numbers refuse them.
 * @throws BundleError if the file is missing, or holds no JSON object
 */
export async function readJson(folder: string, name: string): Promise<Json> {
  const text = await readText(folder, name);
  try {
    const value: unknown = JSON.parse(
      text.replace(STRING_OR_BARE_WORD, (found) => BARE_WORDS[found] ?? found),
      (_, entry: unknown) => (entry === '\u0000NaN' ? Number.NaN : entry),
    );
    if (isObject(value)) return value;
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new BundleError(
      `${name} is not JSON (${reason}); copy the file again from where the model came from`,
    );
  }
  throw new BundleError(`${name} holds no JSON object; copy the file again from where the model came from`);
}

/**
 * As `readJson`, but returns null if there is no such file.
 * @throws BundleError if the file holds no JSON object
 */
export async function readOptionalJson(folder: string, name: string): Promise<Json | null> {
  return (await exists(join(folder, name))) ? readJson(folder, name) : null;
}

/**
 * Reads the text file `name` in `folder`.
 * @throws BundleError if the file is missing or cannot be read
 */
export async function readText(folder: string, name: string): Promise<string> {
  try {
    return await readFile(join(folder, name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new BundleError(`${name} is missing; export the model again, or copy the whole folder`);
    throw new BundleError(`${name} can't be read (${(error as Error).message})`);
  }
}

/** Whether there is a file or folder at `path`. */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/**
 * The finite number at `key` of a config.
 * @param file name of the config, for the message
 * @throws BundleError if there is none
 */
export function numberAt(config: Json, key: string, file: string): number {
  const value = config[key];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new BundleError(
    `${file} has no number "${key}" (found ${typeof value === 'number' ? value : JSON.stringify(value)}); ` +
      'use the config that the exporter wrote',
  );
}

/**
 * The list at `key` of a config, not empty.
 * @param file name of the config, for the message
 * @throws BundleError if there is none
 */
export function listAt(config: Json, key: string, file: string): readonly unknown[] {
  const value = config[key];
  if (Array.isArray(value) && value.length > 0) return value;
  throw new BundleError(`${file} has no list "${key}"; use the config that the exporter wrote`);
}

/**
 * `value` if it is a number, else `fallback`.
 * @throws BundleError if the number is not finite
 */
export function numberOr<T>(value: unknown, fallback: T): number | T {
  if (typeof value !== 'number') return fallback;
  if (Number.isFinite(value)) return value;
  throw new BundleError(`A config has ${value} where a number is needed; use the config of the exporter`);
}
