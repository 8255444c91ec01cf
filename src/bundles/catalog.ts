import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError, exists, readOptionalJson } from './files.ts';
import { type ModelBundle, readModelBundle } from './model-bundle.ts';
import { BUILT_IN_REWARDS, type RewardBundle, readRewardBundle } from './reward-bundle.ts';

export type { ModelBundle, RewardBundle };

/** What is installed. The first model and the first reward that is not built in are the defaults of requests that name none. */
export interface Catalog {
  readonly models: readonly ModelBundle[];
  readonly rewards: readonly RewardBundle[];
  /** Folders that look like a bundle and can't be used, with what is wrong and what to do. */
  readonly problems: readonly {
    readonly name: string;
    readonly path: string;
    readonly kind: 'model' | 'reward';
    readonly message: string;
  }[];
}

/**
 * Reads the bundles in the subfolders of `folders`. Of two with one name the first counts. A damaged bundle becomes one of
 * `problems`, it never stops the others.
 * @throws BundleError when a folder itself is missing
 */
export async function readCatalog(folders: readonly string[]): Promise<Catalog> {
  const models: ModelBundle[] = [];
  const rewards: RewardBundle[] = [];
  const problems: Catalog['problems'][number][] = [];
  const seen = new Set<string>();
  for (const folder of folders) {
    for (const name of await subfolders(folder)) {
      const path = join(folder, name);
      const kind = await kindOf(path);
      if (kind === null || seen.has(name)) continue;
      seen.add(name);
      try {
        if (kind === 'model') models.push(await readModelBundle(path));
        else rewards.push(await readRewardBundle(path));
      } catch (error) {
        if (!(error instanceof BundleError)) throw error;
        problems.push({ name, path, kind, message: `${error.message}.` });
      }
    }
  }
  const builtIn = BUILT_IN_REWARDS.filter(({ name }) => !seen.has(name));
  return { models, rewards: [...rewards, ...builtIn], problems };
}

async function subfolders(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    throw new BundleError(
      `The models folder ${folder} can't be read (${(error as Error).message}); check FINDERY_MODELS`,
    );
  }
}

/** What a folder holds: by its card, else by the files that only one kind has. null: no bundle. */
async function kindOf(path: string): Promise<'model' | 'reward' | null> {
  const card = await readOptionalJson(path, 'findery.json').catch(() => null);
  if (card?.kind === 'reward') return 'reward';
  if (card?.kind === 'text-to-image' || (await exists(join(path, 'model_index.json')))) return 'model';
  if (await exists(join(path, 'preprocessor_config.json'))) return 'reward';
  return (await exists(join(path, 'findery.json'))) ? 'model' : null;
}
