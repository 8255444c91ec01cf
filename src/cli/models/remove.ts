import { existsSync } from 'node:fs';
import { lstat, rename, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type Config, EMBEDDED_MODELS } from '../../config/config.ts';
import type { Print } from './list.ts';

/**
 * `findery models remove`: deletes a bundle. Services stop seeing it at once, before its files are
 * deleted. A link is removed without its target.
 * @param isSure whether to skip the question
 * @returns exit status: 0, or 1 if the person declined
 * @throws Error when there is no such bundle, or when it is an embedded one
 */
export async function removeBundle(
  config: Config,
  name: string,
  isSure: boolean,
  print: Print,
): Promise<number> {
  if (/[/\\]/.test(name) || name.startsWith('.'))
    throw new Error(
      `"${name}" is not the name of a bundle; give a name from \`findery models list\`, not a path.`,
    );
  const folder = config.modelFolders.find((each) => existsSync(join(each, name)));
  if (folder === undefined)
    throw new Error(
      `There is no bundle "${name}" in ${config.modelFolders.join(', ')}; see \`findery models list\`.`,
    );
  if (folder === EMBEDDED_MODELS)
    throw new Error(
      `${name} is one of the embedded bundles, which belong to the program; it can't be removed.`,
    );
  const path = join(folder, name);
  if (!isSure && !(await confirm(path))) {
    print('Nothing was removed.');
    return 1;
  }
  const file = await lstat(path);
  if (file.isSymbolicLink()) await unlink(path);
  else {
    const hidden = join(folder, `.${name}.removing-${process.pid}`);
    await rename(path, hidden);
    await rm(hidden, { recursive: true, force: true });
  }
  print(`${name} is removed. Queued jobs that use it will fail.`);
  return 0;
}

async function confirm(path: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new Error(`This would delete ${path}; confirm with --yes.`);
  const questions = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await questions.question(`Delete ${path}? [y/N] `);
  questions.close();
  return /^y(es)?$/i.test(answer.trim());
}
