import type { Config } from '../../config/config.ts';
import { isTenantName } from '../../contract/tenants.ts';
import type { BlobStore } from '../../storage/blobs.ts';
import type { Limits, LimitsOf } from './retention.ts';

/** What of the configuration's limits is another one for a tenant; null: no limit. */
export type OwnLimits = Partial<Limits>;

/** In storage, not in Redis: a Redis that was lost and made again must not make a sweep delete what a tenant was to keep. */
const FOLDER = 'tenants/';
const fileOf = (tenant: string) => `${FOLDER}${tenant}.json`;
const NAMES = ['days', 'jobs', 'samples'] as const;

/** Sets what a tenant keeps by itself, in place of what was set; nothing in it: all is as the configuration says. */
export async function setOwnLimits(blobs: BlobStore, tenant: string, keep: OwnLimits): Promise<void> {
  if (Object.keys(keep).length === 0) return blobs.delete(fileOf(tenant));
  await blobs.put(fileOf(tenant), Buffer.from(JSON.stringify({ keep })), { contentType: 'application/json' });
}

/**
 * The limits of the tenants that have their own.
 * @throws Error when a file of them can't be read: nothing may be deleted by a guess
 */
export async function readOwnLimits(blobs: BlobStore): Promise<Map<string, OwnLimits>> {
  const own = new Map<string, OwnLimits>();
  for await (const key of blobs.list(FOLDER)) {
    const bytes = await blobs.get(key);
    if (bytes === null) continue; // deleted meanwhile
    const tenant = key.slice(FOLDER.length, -'.json'.length);
    const limits = parse(Buffer.from(bytes).toString('utf8'));
    if (!isTenantName(tenant) || limits === null)
      throw new Error(
        `${key} in storage does not say what a tenant keeps. Set it again (findery keep), or delete it.`,
      );
    own.set(tenant, limits);
  }
  return own;
}

/**
 * What every tenant keeps: what is set for it, else what the configuration says.
 * @throws Error as `readOwnLimits`
 */
export async function limitsFor(blobs: BlobStore, config: Config): Promise<LimitsOf> {
  const own = await readOwnLimits(blobs);
  const others = limitsOfConfig(config);
  return (tenant) => ({ ...others, ...own.get(tenant) });
}

export function limitsOfConfig({ keepDays, keepJobs, keepSamples }: Config): Limits {
  return { days: keepDays, jobs: keepJobs, samples: keepSamples };
}

function parse(text: string): OwnLimits | null {
  try {
    const { keep } = JSON.parse(text) as { keep: OwnLimits };
    const isLimit = (value: unknown) => value === null || (Number.isSafeInteger(value) && Number(value) >= 1);
    const fits = Object.entries(keep).every(
      ([name, value]) => NAMES.some((known) => known === name) && isLimit(value),
    );
    return fits ? keep : null;
  } catch {
    return null;
  }
}
