import { readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleError, exists, readOptionalJson } from './files.ts';
import { isInside, listFolder } from './folder.ts';
import { type ModelBundle, readModelBundle } from './model-bundle.ts';
import { BUILT_IN_REWARDS, type RewardBundle, readRewardBundle } from './reward-bundle.ts';

export type { ModelBundle, RewardBundle };

/**
 * The installed bundles. The first model and the first reward that is not built in are the defaults
 * of requests that name none.
 */
export interface Catalog {
  readonly models: readonly ModelBundle[];
  readonly rewards: readonly RewardBundle[];
  /** Folders that hold a bundle which cannot be used. */
  readonly problems: readonly BundleProblem[];
}

/** A bundle that cannot be used. */
export interface BundleProblem {
  readonly name: string;
  readonly path: string;
  readonly kind: 'model' | 'reward';
  /** What is wrong, and what to do. */
  readonly message: string;
}

/** The content of a folder; null if it holds no bundle. */
type FolderContent =
  | { readonly kind: 'model'; readonly bundle: ModelBundle }
  | { readonly kind: 'reward'; readonly bundle: RewardBundle }
  | { readonly kind: 'problem'; readonly problem: BundleProblem }
  | null;

/** Contents of folders by path. A folder is read again only if its signature has changed. */
export type FolderCache = Map<string, { readonly signature: string; readonly content: FolderContent }>;

/**
 * Reads the bundles in the subfolders of `folders`. Hidden subfolders are skipped: they hold
 * bundles that are being added. If several bundles have the same name, the first one counts. A
 * damaged bundle becomes one of `problems` and does not affect the others.
 * @param cache from earlier calls; updated
 * @throws BundleError if one of `folders` is missing
 */
export async function readCatalog(
  folders: readonly string[],
  cache: FolderCache = new Map(),
): Promise<Catalog> {
  const models: ModelBundle[] = [];
  const rewards: RewardBundle[] = [];
  const problems: BundleProblem[] = [];
  const seen = new Set<string>();
  const present = new Set<string>();
  const roots = await Promise.all(folders.map((folder) => realpath(folder).catch(() => folder)));
  for (const folder of folders) {
    for (const name of await listSubfolders(folder)) {
      if (seen.has(name)) continue;
      const path = join(folder, name);
      present.add(path);
      const content = await readFolder(path, name, roots, cache);
      if (content === null) continue;
      seen.add(name);
      if (content.kind === 'model') models.push(content.bundle);
      else if (content.kind === 'reward') rewards.push(content.bundle);
      else problems.push(content.problem);
    }
  }
  for (const path of cache.keys()) if (!present.has(path)) cache.delete(path);
  const builtIn = BUILT_IN_REWARDS.filter(({ name }) => !seen.has(name));
  return { models, rewards: [...rewards, ...builtIn], problems };
}

async function readFolder(
  path: string,
  name: string,
  roots: readonly string[],
  cache: FolderCache,
): Promise<FolderContent> {
  const kind = await detectKind(path);
  const toProblem = (error: unknown): FolderContent => {
    if (!(error instanceof BundleError)) throw error;
    return { kind: 'problem', problem: { name, path, kind: kind ?? 'model', message: `${error.message}.` } };
  };
  try {
    await checkInside(path, roots);
    const { signature } = await listFolder(path, roots);
    const cached = cache.get(path);
    if (cached?.signature === signature) return cached.content;
    const content = await readBundle(path, kind, signature).catch(toProblem);
    cache.set(path, { signature, content });
    return content;
  } catch (error) {
    // The folder was removed while it was read.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    return toProblem(error);
  }
}

async function readBundle(
  path: string,
  kind: 'model' | 'reward' | null,
  signature: string,
): Promise<FolderContent> {
  if (kind === 'model') return { kind, bundle: { ...(await readModelBundle(path)), signature } };
  return kind === 'reward' ? { kind, bundle: await readRewardBundle(path, signature) } : null;
}

async function checkInside(path: string, roots: readonly string[]): Promise<void> {
  const target = await realpath(path);
  if (roots.some((root) => isInside(target, root))) return;
  throw new BundleError(
    `the folder is a link to ${target}, outside of the models folders; put the folder that holds it into ` +
      'FINDERY_MODELS, or copy it with `findery models add`',
  );
}

async function listSubfolders(folder: string): Promise<string[]> {
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

/** The kind of a bundle by its card, else by files that only one kind has; null if it is none. */
async function detectKind(path: string): Promise<'model' | 'reward' | null> {
  const card = await readOptionalJson(path, 'findery.json').catch(() => null);
  if (card?.kind === 'reward') return 'reward';
  if (card?.kind === 'text-to-image' || (await exists(join(path, 'model_index.json')))) return 'model';
  if (await exists(join(path, 'preprocessor_config.json'))) return 'reward';
  return (await exists(join(path, 'findery.json'))) ? 'model' : null;
}

/** Minimum time between two reads of the folders, which cost a few system calls per file. */
const REFRESH_INTERVAL_MS = 250;

/** A catalog that follows its folders: no restart is needed after a bundle changes. */
export class LiveCatalog {
  readonly #folders: readonly string[];
  readonly #onProblem: (problem: BundleProblem) => void;
  readonly #cache: FolderCache = new Map();
  /** Problems that were reported, as path and message. */
  readonly #reported = new Set<string>();
  #catalog: Catalog = { models: [], rewards: [], problems: [] };
  #refreshing: Promise<Catalog> | null = null;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  private constructor(folders: readonly string[], onProblem: (problem: BundleProblem) => void) {
    this.#folders = folders;
    this.#onProblem = onProblem;
  }

  /**
   * Reads the folders for the first time.
   * @param onProblem called once for each problem of a bundle
   * @throws BundleError if a folder is missing
   */
  static async open(
    folders: readonly string[],
    onProblem: (problem: BundleProblem) => void,
  ): Promise<LiveCatalog> {
    const catalog = new LiveCatalog(folders, onProblem);
    await catalog.#refresh();
    return catalog;
  }

  /**
   * The catalog, at most `REFRESH_INTERVAL_MS` old. If a folder cannot be read, such as a volume
   * that is not mounted, the last catalog stays in use.
   */
  async now(): Promise<Catalog> {
    if (performance.now() - this.#refreshedAt < REFRESH_INTERVAL_MS) return this.#catalog;
    this.#refreshing ??= this.#refresh()
      .catch(() => this.#catalog)
      .finally(() => {
        this.#refreshing = null;
      });
    return this.#refreshing;
  }

  async #refresh(): Promise<Catalog> {
    this.#catalog = await readCatalog(this.#folders, this.#cache);
    this.#refreshedAt = performance.now();
    for (const problem of this.#catalog.problems) {
      const text = `${problem.path} ${problem.message}`;
      if (this.#reported.has(text)) continue;
      this.#reported.add(text);
      this.#onProblem(problem);
    }
    return this.#catalog;
  }
}
