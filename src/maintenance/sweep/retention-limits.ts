import type { Config } from '../../config/config.ts';
import { isTenantName } from '../../contract/tenants.ts';
import type { BlobStore } from '../../storage/blobs.ts';

/** How much a tenant keeps; null for no limit. */
export interface RetentionLimits {
  /** Days after the end of a job or a sample, or after the last use of a policy. */
  readonly days: number | null;
  /** Number of ended jobs, with their policies and samples. */
  readonly jobs: number | null;
  /** Number of ended sample batches. */
  readonly samples: number | null;
}

/** The limits that are set for a tenant. The configuration decides about the others. */
export type TenantLimits = Partial<RetentionLimits>;

/** Looks up the limits of a tenant. */
export type LimitsByTenant = (tenant: string) => RetentionLimits;

/**
 * Limits are files in storage, not keys of Redis: otherwise a rebuilt Redis would lack them, and a
 * sweep would delete what a tenant keeps.
 */
const FOLDER = 'tenants/';
const fileOf = (tenant: string) => `${FOLDER}${tenant}.json`;
const LIMIT_NAMES: readonly string[] = ['days', 'jobs', 'samples'] satisfies (keyof RetentionLimits)[];

/**
 * Sets the limits of a tenant and replaces earlier ones. Without any limit, the configuration
 * decides.
 * @throws BlobStoreError
 */
export async function writeTenantLimits(blobs: BlobStore, tenant: string, keep: TenantLimits): Promise<void> {
  if (Object.keys(keep).length === 0) return blobs.delete(fileOf(tenant));
  await blobs.put(fileOf(tenant), Buffer.from(JSON.stringify({ keep })), { contentType: 'application/json' });
}

/**
 * Reads the limits of all tenants that have their own.
 * @throws Error when one of the files is not valid: nothing may be deleted by a guess
 */
export async function readTenantLimits(blobs: BlobStore): Promise<Map<string, TenantLimits>> {
  const limitsByTenant = new Map<string, TenantLimits>();
  for await (const key of blobs.list(FOLDER)) {
    const bytes = await blobs.get(key);
    if (bytes === null) continue; // deleted meanwhile
    const tenant = key.slice(FOLDER.length, -'.json'.length);
    const limits = parse(Buffer.from(bytes).toString('utf8'));
    if (!isTenantName(tenant) || limits === null)
      throw new Error(
        `${key} in storage does not hold valid retention limits. ` +
          'Set them again (findery keep), or delete the file.',
      );
    limitsByTenant.set(tenant, limits);
  }
  return limitsByTenant;
}

/**
 * Reads the limits of all tenants: their own, else those of the configuration.
 * @throws Error as `readTenantLimits`
 */
export async function readLimits(blobs: BlobStore, config: Config): Promise<LimitsByTenant> {
  const limitsByTenant = await readTenantLimits(blobs);
  const defaults = defaultLimits(config);
  return (tenant) => ({ ...defaults, ...limitsByTenant.get(tenant) });
}

/** The limits of tenants without their own. */
export function defaultLimits({ keepDays, keepJobs, keepSamples }: Config): RetentionLimits {
  return { days: keepDays, jobs: keepJobs, samples: keepSamples };
}

function parse(text: string): TenantLimits | null {
  try {
    const { keep } = JSON.parse(text) as { keep: TenantLimits };
    const isLimit = (value: unknown) => value === null || (Number.isSafeInteger(value) && Number(value) >= 1);
    const isValid = Object.entries(keep).every(
      ([name, value]) => LIMIT_NAMES.includes(name) && isLimit(value),
    );
    return isValid ? keep : null;
  } catch {
    return null;
  }
}
