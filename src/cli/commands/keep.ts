import { type Config, readConfig, storagePlace } from '../../config/config.ts';
import { MAX_RETENTION } from '../../config/settings.ts';
import { isTenantName } from '../../contract/tenants.ts';
import {
  defaultLimits,
  readTenantLimits,
  type TenantLimits,
  writeTenantLimits,
} from '../../maintenance/sweep/retention-limits.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { parseArguments, UsageError } from '../arguments.ts';
import { table } from '../table.ts';

export const summary = 'shows and sets the retention limits of tenants';
export const usage = `Usage: findery keep
       findery keep TENANT [--days N] [--jobs N] [--samples N]

Without a tenant, prints the limits of every tenant that has its own, and of all others.

  --days N      age in days at which ended jobs and samples are deleted, and policies that have
                not been sampled since (1 to ${MAX_RETENTION.days})
  --jobs N      ended jobs that are kept, with their policies and samples
                (1 to ${MAX_RETENTION.jobs})
  --samples N   ended sample batches that are kept, with their images
                (1 to ${MAX_RETENTION.samples})

Each option also takes "all" (no limit) and "default" (the value of FINDERY_KEEP_DAYS, FINDERY_KEEP_JOBS
or FINDERY_KEEP_SAMPLES). Limits that are not named do not change. The next sweep applies the limits.
They are stored in storage, so they survive a loss of Redis.

FINDERY_DATA, FINDERY_STORAGE and FINDERY_KEEP_* select the service and its limits, as for npm start.`;

type LimitName = keyof typeof MAX_RETENTION;
const LIMIT_NAMES = Object.keys(MAX_RETENTION) as LimitName[];

/** A new limit: a number, null for no limit, or `default` for the configuration's limit. */
type NewLimit = number | null | 'default';

/** `findery keep`. */
export async function run(args: readonly string[]): Promise<number> {
  const { tenant, changes } = parse(args);
  const config = readConfig(process.env);
  const blobs = await openBlobs(storagePlace(config));
  await blobs.check();
  const own = await readTenantLimits(blobs);
  if (tenant !== null) {
    const limits: Record<string, number | null> = { ...own.get(tenant) };
    for (const [name, value] of changes) {
      if (value === 'default') delete limits[name];
      else limits[name] = value;
    }
    await writeTenantLimits(blobs, tenant, limits);
    own.set(tenant, limits);
    if (Object.keys(limits).length === 0) own.delete(tenant);
  }
  console.log(
    table([...own].map(([name, limits]) => row(name, limits, config)).concat(row('all others', {}, config))),
  );
  return 0;
}

function row(tenant: string, own: TenantLimits, config: Config): { [column: string]: string } {
  const limits = { ...defaultLimits(config), ...own };
  return {
    tenant,
    ...Object.fromEntries(
      LIMIT_NAMES.map((name) => [name, limits[name] === null ? 'all' : `${limits[name]}`]),
    ),
  };
}

function parse(args: readonly string[]): {
  readonly tenant: string | null;
  readonly changes: readonly (readonly [LimitName, NewLimit])[];
} {
  const { values, positionals } = parseArguments(args, {
    options: { days: { type: 'string' }, jobs: { type: 'string' }, samples: { type: 'string' } },
    allowPositionals: true,
  });
  const [tenant = null, extra] = positionals;
  const changes = LIMIT_NAMES.flatMap((name) => {
    const text = values[name];
    return text === undefined ? [] : [[name, parseLimit(name, text)] as const];
  });
  if (extra !== undefined) throw new UsageError(`"${extra}" is not expected; name one tenant at a time.`);
  if (tenant === null && changes.length > 0)
    throw new UsageError('Name the tenant before the limits: findery keep TENANT --days N.');
  if (tenant !== null && changes.length === 0)
    throw new UsageError(`No limit is given for ${tenant}; give --days, --jobs or --samples.`);
  if (tenant !== null && !isTenantName(tenant))
    throw new UsageError(
      `"${tenant}" is not a tenant name: at most 63 lower-case letters, digits, "_" and "-".`,
    );
  return { tenant, changes };
}

function parseLimit(name: LimitName, text: string): NewLimit {
  if (text === 'all') return null;
  if (text === 'default') return text;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= MAX_RETENTION[name]) return value;
  throw new UsageError(
    `--${name} is "${text}"; it takes a whole number from 1 to ${MAX_RETENTION[name]}, "all" or "default"`,
  );
}
