import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError } from './bundle-error.ts';

/** Graphs of some megabytes with weights beside them are whole models; beyond this a file holds weights itself. */
const LARGEST_SCAN = 64 * 2 ** 20;
/** Field 13 of TensorProto (external_data) holds pairs of a key, field 1, and a value, field 2; this is `key: "location"`. */
const LOCATION_KEY = Buffer.from('\x0a\x08location\x12', 'latin1');

/**
 * Checks the files that a graph names for its weights: each has to be in the graph's own folder, and there.
 * @throws BundleError naming a file that is missing or leads out of the folder
 */
export async function checkExternalData(graph: string, name: string): Promise<void> {
  for (const location of await externalData(graph)) {
    const isOutside =
      location.startsWith('/') || /^[a-z]:/i.test(location) || location.split(/[\\/]/).includes('..');
    if (isOutside)
      throw new BundleError(
        `${name} takes its weights from ${location}, outside of its own folder; such a graph is not opened. Export the model again`,
      );
    const file = await stat(join(graph, '..', location)).catch(() => null);
    if (!file?.isFile())
      throw new BundleError(
        `${name} keeps its weights in ${location}, which is not beside it; copy the whole folder of the model`,
      );
  }
}

/** Names of the files with a graph's weights, as its tensors give them. */
async function externalData(path: string): Promise<Set<string>> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, LARGEST_SCAN));
    await file.read(buffer, 0, buffer.length, 0);
    const found = new Set<string>();
    for (let at = buffer.indexOf(LOCATION_KEY); at >= 0; at = buffer.indexOf(LOCATION_KEY, at + 1)) {
      const start = at + LOCATION_KEY.length;
      // Lengths of paths fit into one byte up to 127 characters, else into two.
      const [first, second] = [buffer[start] ?? 0, buffer[start + 1] ?? 0];
      const [length, skip] = first < 128 ? [first, 1] : [(first & 127) | (second << 7), 2];
      found.add(buffer.toString('utf8', start + skip, start + skip + length));
    }
    return found;
  } finally {
    await file.close();
  }
}
