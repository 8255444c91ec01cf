import type { IdKind } from '../contract/ids.ts';
import type { WorkUsage } from '../contract/records.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';

/** Days for which the usage of a day is kept. */
export const USAGE_DAYS = 400;

/** What a tenant used on a day (UTC). */
export interface DayUsage {
  /** "2026-01-31". */
  readonly date: string;
  readonly tenant: string;
  /** Jobs that ended, however they ended. A job that is retried counts once. */
  readonly jobs: number;
  /** Batches of samples that ended. */
  readonly samples: number;
  readonly images: number;
  readonly engineMilliseconds: number;
  /** Bytes in storage when usage was last counted on that day. */
  readonly storedBytes: number;
}

/** Totals of one record, by the names that `lua/includes/usage.lua` stores. */
type Totals = { readonly [name: string]: number };

/** Name of the count of ended records, by kind. */
const ENDED: { readonly [kind in IdKind]?: string } = { job: 'jobs', smp: 'samples' };

const count = defineScript<null>(import.meta.url, './lua/count-usage.lua');

/** The day (UTC) of a time, as "2026-01-31". */
export function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10);
}

/**
 * What has to be counted when a record of work gets these properties; null: nothing. Totals: what
 * was counted of the record before is subtracted.
 */
export function usageOf(
  kind: IdKind,
  properties: { readonly status?: string; readonly usage?: WorkUsage } | object,
): Totals | null {
  const ended = ENDED[kind];
  if (ended === undefined) return null;
  const { status = '', usage } = properties as { readonly status?: string; readonly usage?: WorkUsage };
  const isEnd = FINAL_STATUSES.includes(status);
  if (!isEnd && !usage) return null;
  return {
    ...(isEnd ? { [ended]: 1 } : {}),
    ...(usage ? { images: usage.images, milliseconds: Math.round(usage.engineMilliseconds) } : {}),
  };
}

/**
 * Counts the usage of an ended record on the day on which it ended, unless it was counted or is too
 * old to be kept.
 */
export async function countUsage(
  redis: Redis,
  keys: RedisKeys,
  kind: IdKind,
  record: { readonly id: string; readonly finishedAt: string | null },
  now: Date,
): Promise<void> {
  const totals = usageOf(kind, record);
  if (totals === null || record.finishedAt === null) return;
  const ended = new Date(record.finishedAt);
  if (now.getTime() - ended.getTime() > USAGE_DAYS * 86_400_000) return;
  await count(redis, {
    keys: { record: keys.record(record.id), day: keys.usage(dayOf(ended)), storedBytes: keys.storedBytes() },
    args: { totalsJson: JSON.stringify(totals) },
  });
}

/**
 * Reads the usage of days, in their order, then by tenant. Days without usage are left out.
 * @param tenant null: all tenants
 */
export async function readUsage(
  redis: Redis,
  keys: RedisKeys,
  days: readonly string[],
  tenant: string | null,
): Promise<DayUsage[]> {
  const names = ['jobs', 'samples', 'images', 'milliseconds', 'bytes'];
  const pipeline = redis.pipeline();
  for (const day of days) {
    if (tenant === null) pipeline.hgetall(keys.usage(day));
    else pipeline.hmget(keys.usage(day), ...names.map((name) => `${tenant} ${name}`));
  }
  const answers = ((await pipeline.exec()) ?? []).map(([error, answer]) => {
    if (error) throw error;
    return answer;
  });
  return days.flatMap((date, i) => {
    if (tenant !== null) {
      const values = answers[i] as (string | null)[];
      if (values.every((value) => value === null)) return [];
      return [toDayUsage(date, tenant, Object.fromEntries(names.map((name, k) => [name, values[k] ?? '0'])))];
    }
    const byTenant = new Map<string, Record<string, string>>();
    for (const [field, value] of Object.entries(answers[i] as Record<string, string>)) {
      const [owner, name] = field.split(' ');
      byTenant.set(owner, { ...byTenant.get(owner), [name]: value });
    }
    return [...byTenant]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([owner, values]) => toDayUsage(date, owner, values));
  });
}

function toDayUsage(date: string, tenant: string, values: { readonly [name: string]: string }): DayUsage {
  const number = (name: string) => Number(values[name] ?? 0);
  return {
    date,
    tenant,
    jobs: number('jobs'),
    samples: number('samples'),
    images: number('images'),
    engineMilliseconds: number('milliseconds'),
    storedBytes: number('bytes'),
  };
}
