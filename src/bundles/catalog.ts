import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError, exists, readOptionalJson } from './files.ts';
import { isInside, listFolder } from './folder.ts';
import { type ModelBundle, readModelBundle } from './model-bundle.ts';
import { BUILT_IN_REWARDS, type RewardBundle, readRewardBundle } from './reward-bundle.ts';

export type { ModelBundle, RewardBundle };

/** What is installed. The first model and the first reward that is not built in are the defaults of requests that name none. */
export interface Catalog {
  readonly models: readonly ModelBundle[];
  readonly rewards: readonly RewardBundle[];
  /** Folders that look like a bundle and can't be used, with what is wrong and what to do. */
  readonly problems: readonly BundleProblem[];
}

export interface BundleProblem {
  readonly name: string;
  readonly path: string;
  readonly kind: 'model' | 'reward';
  readonly message: string;
}

/** What a folder turned out to be; kept as long as its files are the same. */
type Reading =
  | { readonly kind: 'model'; readonly bundle: ModelBundle }
  | { readonly kind: 'reward'; readonly bundle: RewardBundle }
  | { readonly kind: 'problem'; readonly problem: BundleProblem }
  | null;

/** Readings of earlier looks by path, so that bundles whose files are the same are not read again. */
export type Readings = Map<string, { readonly signature: string; readonly reading: Reading }>;

/**
 * Reads the bundles in the subfolders of `folders`; hidden ones are somebody's unfinished work. Of two with one name the first counts. A damaged
 * bundle becomes one of `problems`, it never stops the others.
 * @param readings of earlier calls; changed to what is there now
 * @throws BundleError when a folder itself is missing
 */
export async function readCatalog(
  folders: readonly string[],
  readings: Readings = new Map(),
): Promise<Catalog> {
  const models: ModelBundle[] = [];
  const rewards: RewardBundle[] = [];
  const problems: BundleProblem[] = [];
  const seen = new Set<string>();
  const present = new Set<string>();
  const roots = await Promise.all(folders.map((folder) => realpath(folder).catch(() => folder)));
  for (const folder of folders) {
    for (const name of await subfolders(folder)) {
      if (seen.has(name)) continue;
      const path = join(folder, name);
      present.add(path);
      const reading = await readOnce(path, name, roots, readings);
      if (reading === null) continue;
      seen.add(name);
      if (reading.kind === 'model') models.push(reading.bundle);
      else if (reading.kind === 'reward') rewards.push(reading.bundle);
      else problems.push(reading.problem);
    }
  }
  for (const path of readings.keys()) if (!present.has(path)) readings.delete(path);
  const builtIn = BUILT_IN_REWARDS.filter(({ name }) => !seen.has(name));
  return { models, rewards: [...rewards, ...builtIn], problems };
}

async function readOnce(
  path: string,
  name: string,
  roots: readonly string[],
  readings: Readings,
): Promise<Reading> {
  const kind = await kindOf(path);
  const refuse = (error: unknown): Reading => {
    if (!(error instanceof BundleError)) throw error;
    return { kind: 'problem', problem: { name, path, kind: kind ?? 'model', message: `${error.message}.` } };
  };
  try {
    await refuseFolderElsewhere(path, roots);
    const { signature } = await listFolder(path, roots);
    const known = readings.get(path);
    if (known?.signature === signature) return known.reading;
    const reading = await read(path, kind, signature).catch(refuse);
    readings.set(path, { signature, reading });
    return reading;
  } catch (error) {
    // It went away while it was looked at.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    return refuse(error);
  }
}

async function read(path: string, kind: 'model' | 'reward' | null, signature: string): Promise<Reading> {
  if (kind === 'model') return { kind, bundle: { ...(await readModelBundle(path)), signature } };
  return kind === 'reward' ? { kind, bundle: await readRewardBundle(path, signature) } : null;
}

async function refuseFolderElsewhere(path: string, roots: readonly string[]): Promise<void> {
  const target = await realpath(path);
  if (roots.some((root) => isInside(target, root))) return;
  throw new BundleError(
    `the folder is a link to ${target}, outside of the models folders; put the folder that holds it into FINDERY_MODELS, or copy it with \`findery models add\``,
  );
}

async function subfolders(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => (entry.isDirectory() || entry.isSymbolicLink()) && !entry.name.startsWith('.'))
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

/** Looks no more often than this, milliseconds: a look costs a few file system calls for each file. */
const INTERVAL = 250;

/** The catalog as it is now: bundles that are added, changed or removed are seen without a restart. */
export class LiveCatalog {
  readonly #folders: readonly string[];
  readonly #onProblem: (problem: BundleProblem) => void;
  readonly #readings: Readings = new Map();
  readonly #told = new Set<string>();
  #catalog: Catalog = { models: [], rewards: [], problems: [] };
  #looking: Promise<Catalog> | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;

  private constructor(folders: readonly string[], onProblem: (problem: BundleProblem) => void) {
    this.#folders = folders;
    this.#onProblem = onProblem;
  }

  /**
   * @param onProblem told once of each damaged bundle
   * @throws BundleError when a folder is missing
   */
  static async open(
    folders: readonly string[],
    onProblem: (problem: BundleProblem) => void,
  ): Promise<LiveCatalog> {
    const catalog = new LiveCatalog(folders, onProblem);
    await catalog.#look();
    return catalog;
  }

  /** What is there now. Folders that can't be read at the moment (a volume that is away) count as they last were. */
  async now(): Promise<Catalog> {
    if (performance.now() - this.#lookedAt < INTERVAL) return this.#catalog;
    this.#looking ??= this.#look()
      .catch(() => this.#catalog)
      .finally(() => {
        this.#looking = null;
      });
    return this.#looking;
  }

  async #look(): Promise<Catalog> {
    this.#catalog = await readCatalog(this.#folders, this.#readings);
    this.#lookedAt = performance.now();
    for (const problem of this.#catalog.problems) {
      const words = `${problem.path} ${problem.message}`;
      if (this.#told.has(words)) continue;
      this.#told.add(words);
      this.#onProblem(problem);
    }
    return this.#catalog;
  }
}
