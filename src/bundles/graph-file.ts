import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError, exists } from './files.ts';

/** A file below this size is no graph: Git LFS leaves some 130 bytes in place of a large file. */
const MIN_GRAPH_BYTES = 256;

/**
 * The path of the graph `name` in `folder`, after a check that it and its weights are there.
 * Whether the graph is valid shows when the engine opens it.
 * @throws BundleError if the graph or a file with its weights is missing, or lies elsewhere
 */
export async function findGraph(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  const file = await stat(path).catch(() => null);
  if (!file?.isFile())
    throw new BundleError(`${name} is missing; export the model again, or copy the whole folder`);
  if (file.size < MIN_GRAPH_BYTES)
    throw new BundleError(
      `${name} has only ${file.size} bytes, which is no graph (a pointer of Git LFS?); copy the file again`,
    );
  await checkExternalData(path, name);
  if (await exists(fusedGraph(path))) await checkExternalData(fusedGraph(path), fusedGraph(name));
  return path;
}

/**
 * The path of the variant of a graph whose fused nodes run on CUDA only: `model_cuda.onnx` beside
 * `model.onnx`. `tools/export` writes it with `--cuda`; it may not exist.
 */
export function fusedGraph(path: string): string {
  return path.replace(/\.onnx$/, '_cuda.onnx');
}

/**
 * Bytes to search for names of weight files. Graphs with weights beside them are smaller than this.
 */
const MAX_SCAN_BYTES = 64 * 2 ** 20;
/**
 * The entry `location` of a TensorProto's field 13 (external_data), whose pairs have the key in
 * field 1 and the value in field 2.
 */
const LOCATION_KEY = Buffer.from('\x0a\x08location\x12', 'latin1');

/** Checks that each file with weights of a graph exists, and lies in the folder of the graph. */
async function checkExternalData(graph: string, name: string): Promise<void> {
  for (const location of await readLocations(graph)) {
    const isOutside =
      location.startsWith('/') || /^[a-z]:/i.test(location) || location.split(/[\\/]/).includes('..');
    if (isOutside)
      throw new BundleError(
        `${name} takes its weights from ${location}, outside of its own folder, which is not allowed. ` +
          'Export the model again',
      );
    const file = await stat(join(graph, '..', location)).catch(() => null);
    if (!file?.isFile())
      throw new BundleError(
        `${name} keeps its weights in ${location}, which is not beside it; ` +
          'copy the whole folder of the model',
      );
  }
}

/** The files with weights that a graph names, relative to the graph. */
async function readLocations(path: string): Promise<Set<string>> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, MAX_SCAN_BYTES));
    await file.read(buffer, 0, buffer.length, 0);
    const locations = new Set<string>();
    for (let at = buffer.indexOf(LOCATION_KEY); at >= 0; at = buffer.indexOf(LOCATION_KEY, at + 1)) {
      const start = at + LOCATION_KEY.length;
      // The length of the path is a varint: one byte up to 127, else two.
      const [first, second] = [buffer[start] ?? 0, buffer[start + 1] ?? 0];
      const [length, skip] = first < 128 ? [first, 1] : [(first & 127) | (second << 7), 2];
      locations.add(buffer.toString('utf8', start + skip, start + skip + length));
    }
    return locations;
  } finally {
    await file.close();
  }
}
