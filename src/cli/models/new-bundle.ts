import { existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import type { Config } from '../../config/config.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** A name for a bundle: that of its file or folder, with hyphens for what names do not take. */
export function nameOf(path: string): string {
  const name = basename(path, extname(path)).replaceAll(/[^A-Za-z0-9._-]+/g, '-');
  return name.replace(/^[^A-Za-z0-9]+/, '').slice(0, 128);
}

/**
 * The folder of a new bundle, in the first models folder.
 * @throws Error if the name is not valid or is taken
 */
export function newBundleFolder({ modelFolders }: Config, name: string): string {
  if (!NAME.test(name))
    throw new Error(
      `"${name}" is not a valid name for a bundle: it takes letters, digits, ".", "_" and "-", ` +
        'and begins with a letter or a digit (--name).',
    );
  const taken = modelFolders.map((each) => join(each, name)).find((each) => existsSync(each));
  if (taken)
    throw new Error(
      `${name} exists already (${taken}); choose another --name, ` +
        `or run \`findery models remove ${name}\` first.`,
    );
  return join(modelFolders[0], name);
}
