import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError } from './bundle-error.ts';
import { checkExternalData } from './external-data.ts';

export { BundleError };

export type Json = { readonly [key: string]: unknown };

/** Strings are matched so that the words in them stay. */
const STRING_OR_NO_NUMBER = /"(?:[^"\\]|\\.)*"|-?\b(?:Infinity|NaN)\b/g;

/** A JSON object from a bundle's file. Python's bare `Infinity` and `NaN` (as diffusers writes them) are read as null. */
export async function readJson(folder: string, name: string): Promise<Json> {
  const text = await readText(folder, name);
  try {
    const value: unknown = JSON.parse(
      text.replace(STRING_OR_NO_NUMBER, (found) => (found.startsWith('"') ? found : 'null')),
    );
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  } catch (error) {
    throw new BundleError(
      `${name} is not JSON (${error instanceof Error ? error.message : error}); copy the file again from where the model came from`,
    );
  }
  throw new BundleError(`${name} holds no JSON object; copy the file again from where the model came from`);
}

/** The same, or null when there is no such file. */
export async function readOptionalJson(folder: string, name: string): Promise<Json | null> {
  return (await exists(join(folder, name))) ? readJson(folder, name) : null;
}

export async function readText(folder: string, name: string): Promise<string> {
  try {
    return await readFile(join(folder, name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new BundleError(`${name} is missing; export the model again, or copy the whole folder`);
    throw new BundleError(`${name} can't be read (${(error as Error).message})`);
  }
}

/** The path of a graph that is there and not empty; whether it is sound shows when the engine opens it. */
export async function graphPath(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const file = await stat(path).catch(() => null);
  if (!file?.isFile())
    throw new BundleError(`${name} is missing; export the model again, or copy the whole folder`);
  // Git LFS leaves text of some 130 bytes where a large file was not fetched.
  if (file.size < 256)
    throw new BundleError(
      `${name} has only ${file.size} bytes, which is no graph (a pointer of Git LFS?); copy the file again`,
    );
  await checkExternalData(path, name);
  if (await exists(fusedGraph(path))) await checkExternalData(fusedGraph(path), fusedGraph(name));
  return path;
}

/** Where a graph for CUDA alone lies, if there is one: `model_cuda.onnx` beside `model.onnx`, as our exporter's `--cuda` writes it. */
export function fusedGraph(path: string): string {
  return path.replace(/\.onnx$/, '_cuda.onnx');
}

export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/** A number from a config, or the error that names its key. */
export function numberAt(config: Json, key: string, file: string): number {
  const value = config[key];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new BundleError(
    `${file} has no number "${key}" (found ${JSON.stringify(value)}); take the config that the exporter wrote`,
  );
}
