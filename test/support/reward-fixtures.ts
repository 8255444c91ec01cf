import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of small rewards (tools/parity/make_reward_fixtures.py): `clip` and `aesthetic`. */
export const REWARD_FIXTURES = fileURLToPath(new URL('../fixtures/rewards/', import.meta.url));

/**
 * Copies a reward into a new folder in `root` and changes its card.
 * @returns path of the copy
 */
export async function copyWithCard(root: string, name: string, changes: object): Promise<string> {
  const folder = await mkdtemp(join(root, 'card-'));
  await cp(join(REWARD_FIXTURES, name), folder, { recursive: true });
  const card = JSON.parse(await readFile(join(folder, 'findery.json'), 'utf8'));
  await writeFile(join(folder, 'findery.json'), JSON.stringify({ ...card, ...changes }));
  return folder;
}
