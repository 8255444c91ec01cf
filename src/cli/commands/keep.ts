import { parseArgs } from 'node:util';
import { type Config, MAX_RETENTION, readConfig, storagePlace } from '../../config/config.ts';
import { isTenantName } from '../../contract/tenants.ts';
import {
  limitsOfConfig,
  type OwnLimits,
  readOwnLimits,
  setOwnLimits,
} from '../../maintenance/sweep/tenant-limits.ts';
import { openBlobs } from '../../storage/open-blobs.ts';
import { table } from '../table.ts';
import { UsageError } from '../usage-error.ts';

export const summary = 'how long and how much is kept of a tenant';
export const usage = `Usage: findery keep
       findery keep TENANT [--days N] [--jobs N] [--samples N]

Without a tenant: what is kept, of the tenants that have limits of their own and of all others.

  --days N      days after which ended jobs and samples, and policies that nothing was drawn from since, are deleted, 1 to 36500
  --jobs N      most ended jobs that are kept, with their policies and samples, 1 to 100000000
  --samples N   most ended sample batches that are kept, with their images, 1 to 100000000

Each takes "all" (no limit) and "default" (as FINDERY_KEEP_DAYS, _JOBS and _SAMPLES say) as well; what is left out stays as it is. The next sweep
goes by it. It lies in storage, so it outlives Redis. FINDERY_DATA, FINDERY_STORAGE and FINDERY_KEEP_* are those of the service.`;

type Name = keyof typeof MAX_RETENTION;
const NAMES = Object.keys(MAX_RETENTION) as Name[];

export async function run(args: readonly string[]): Promise<number> {
  const { tenant, changes } = parse(args);
  const config = readConfig(process.env);
  const blobs = await openBlobs(storagePlace(config));
  await blobs.check();
  const own = await readOwnLimits(blobs);
  if (tenant !== null) {
    const limits: Record<string, number | null> = { ...own.get(tenant) };
    for (const [name, value] of changes) {
      if (value === 'default') delete limits[name];
      else limits[name] = value;
    }
    await setOwnLimits(blobs, tenant, limits);
    own.set(tenant, limits);
    if (Object.keys(limits).length === 0) own.delete(tenant);
  }
  console.log(
    table([...own].map(([name, limits]) => row(name, limits, config)).concat(row('all others', {}, config))),
  );
  return 0;
}

function row(tenant: string, own: OwnLimits, config: Config): { [column: string]: string } {
  const limits = { ...limitsOfConfig(config), ...own };
  return {
    tenant,
    ...Object.fromEntries(NAMES.map((name) => [name, limits[name] === null ? 'all' : `${limits[name]}`])),
  };
}

function parse(args: readonly string[]): {
  readonly tenant: string | null;
  readonly changes: readonly (readonly [Name, number | null | 'default'])[];
} {
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: 'string' as const }]));
  let parsed: { values: { [name: string]: unknown }; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [tenant = null, more] = positionals;
  const changes = NAMES.filter((name) => values[name] !== undefined).map(
    (name) => [name, limitOf(name, String(values[name]))] as const,
  );
  if (more !== undefined) throw new UsageError(`"${more}" is not understood here; one tenant at a time.`);
  if (tenant === null && changes.length > 0)
    throw new UsageError('Of which tenant? Name it before the limits.');
  if (tenant !== null && changes.length === 0)
    throw new UsageError(`What is to be kept of ${tenant}? Give --days, --jobs or --samples.`);
  if (tenant !== null && !isTenantName(tenant))
    throw new UsageError(
      `"${tenant}" is no tenant's name: lower-case letters, digits, "_" and "-", 63 at most.`,
    );
  return { tenant, changes };
}

function limitOf(name: Name, text: string): number | null | 'default' {
  if (text === 'all') return null;
  if (text === 'default') return text;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= MAX_RETENTION[name]) return value;
  throw new UsageError(
    `--${name} is "${text}"; it takes a whole number from 1 to ${MAX_RETENTION[name]}, "all" or "default"`,
  );
}
