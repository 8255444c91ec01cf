import type { Catalog } from '../../bundles/catalog.ts';
import type { SharedStore } from '../../store/store.ts';
import { listWorkers } from '../../store/worker-registry.ts';

/** Which workers have which bundles in memory. */
export interface LoadedBundles {
  /** Ids of the live workers that have loaded a bundle. */
  workersOf(bundle: string): string[];
}

/** Reads the live workers' lists of loaded bundles. */
export async function listLoaded({ redis, keys }: SharedStore): Promise<LoadedBundles> {
  const workers = await listWorkers(redis, keys);
  return {
    workersOf: (bundle) => workers.filter(({ loaded }) => loaded.includes(bundle)).map(({ id }) => id),
  };
}

/** What is shown of bundles that are installed and can't be used; `problem` says why. */
export function brokenBundles({ problems }: Catalog, kind: 'model' | 'reward') {
  return problems
    .filter((problem) => problem.kind === kind)
    .map(({ name, message }) => ({
      name,
      title: name,
      licence: null,
      default: false as const,
      available: false as const,
      problem: message,
      loadedBy: [],
    }));
}
