import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { libraries, libraryFolder } from '../../src/cli/gpu/library-folder.ts';
import { readWheels } from '../../src/cli/gpu/wheels.ts';
import { readConfig } from '../../src/config/config.ts';

/**
 * Writes a folder that looks as `findery gpu setup` leaves it, with files that are no libraries.
 * @returns the subfolder for LD_LIBRARY_PATH
 */
export async function makeLibraryFolder(dataFolder: string): Promise<string> {
  const folder = await libraryFolder(readConfig({ FINDERY_DATA: dataFolder }));
  mkdirSync(libraries(folder), { recursive: true });
  const names = ['libonnxruntime_providers_cuda.so', 'libonnxruntime_providers_shared.so'];
  for (const name of names) writeFileSync(join(libraries(folder), name), 'text');
  const files = names.map((name) => ({ name, bytes: 4, sha256: '' }));
  const manifest = (await readWheels()).map(({ name, sha256 }) => [name, { sha256, files }]);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(Object.fromEntries(manifest)));
  return libraries(folder);
}
