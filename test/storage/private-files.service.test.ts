import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createEndedJob, findery } from '../support/sweep-api.ts';
import { startTestApi } from '../support/test-api.ts';

/** Paths below a folder, and the folder itself, that other users may enter, read or write. */
async function openToOthers(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = [folder, ...entries.map(({ parentPath, name }) => join(parentPath, name))];
  const modes = await Promise.all(paths.map(async (path) => (await stat(path)).mode));
  expect(paths.length).toBeGreaterThan(2);
  return paths.filter((_, i) => (modes[i] & 0o077) !== 0);
}

it('a service and a backup have files that no other user can read, whatever the umask is', async () => {
  const umask = process.umask(0);
  onTestFinished(() => void process.umask(umask));
  const api = await startTestApi();
  onTestFinished(() => api.close());
  await createEndedJob(api, 0);
  const backup = join(api.folder, 'backup');
  await findery(api, '30', 'backup', backup);
  await findery(api, '30', 'keys', 'create', '--name', 'first');
  expect(await openToOthers(backup)).toEqual([]);
  expect(await openToOthers(api.folder)).toEqual([]);
});
