import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { readCatalog } from '../../bundles/catalog.ts';
import { listFolder } from '../../bundles/folder.ts';
import type { Config } from '../../config/config.ts';
import { formatBytes, table } from '../table.ts';

/** Prints a line for people. */
export type Print = (line: string) => void;

/** The bundles in the configured folders. A folder that does not exist counts as empty. */
export function installed({ modelFolders }: Config) {
  return readCatalog(modelFolders.filter((folder) => existsSync(folder)));
}

/**
 * `findery models list`: prints all bundles, damaged ones included.
 * @returns exit status, always 0
 */
export async function listBundles(config: Config, asJson: boolean, print: Print): Promise<number> {
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
    print(
      JSON.stringify(
        rows.map(({ problem, ...row }) => ({ ...row, problem: problem || null })),
        null,
        2,
      ),
    );
    return 0;
  }
  print(table(rows.map(({ problem, ...row }) => ({ ...row, state: problem === '' ? 'usable' : 'damaged' }))));
  for (const { name, problem } of rows) if (problem !== '') print(`\n${name}: ${problem}`);
  return 0;
}

async function diskUse(path: string | null): Promise<string> {
  return path === null ? '' : formatBytes((await listFolder(path, ['/'])).bytes);
}
