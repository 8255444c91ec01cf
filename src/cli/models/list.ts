import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { readCatalog } from '../../bundles/catalog.ts';
import { listFolder } from '../../bundles/folder.ts';
import type { Config } from '../../config/config.ts';
import { formatBytes, table } from '../table.ts';

export type Say = (line: string) => void;

/** What is installed under the configuration's folders; those that are not there are empty. */
export function installed({ modelFolders }: Config) {
  return readCatalog(modelFolders.filter((folder) => existsSync(folder)));
}

/** `findery models list`. */
export async function listBundles(config: Config, asJson: boolean, say: Say): Promise<number> {
  const { models, rewards, problems } = await installed(config);
  const rows = [
    ...(await Promise.all(
      models.map(async ({ name, path, family, defaults }) => ({
        name,
        kind: 'model',
        type: family,
        scheduler: defaults.scheduler,
        size: `${defaults.width}x${defaults.height}`,
        disk: await diskUse(path),
        path,
        problem: '',
      })),
    )),
    ...(await Promise.all(
      rewards.map(async ({ name, path, type }) => ({
        name,
        kind: 'reward',
        type,
        scheduler: '',
        size: '',
        disk: await diskUse(path),
        path: path ?? 'built in',
        problem: '',
      })),
    )),
    ...problems.map(({ name, path, kind, message }) => ({
      name: basename(name),
      kind,
      type: '',
      scheduler: '',
      size: '',
      disk: '',
      path,
      problem: message,
    })),
  ];
  if (asJson) {
    say(
      JSON.stringify(
        rows.map(({ problem, ...row }) => ({ ...row, problem: problem || null })),
        null,
        2,
      ),
    );
    return 0;
  }
  say(table(rows.map(({ problem, ...row }) => ({ ...row, state: problem === '' ? 'usable' : 'damaged' }))));
  for (const { name, problem } of rows) if (problem !== '') say(`\n${name}: ${problem}`);
  return 0;
}

async function diskUse(path: string | null): Promise<string> {
  return path === null ? '' : formatBytes((await listFolder(path, ['/'])).bytes);
}
