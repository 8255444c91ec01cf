import { ProblemError } from '../contract/problem.ts';
import type { Limits } from './api-keys.ts';
import type { TenantContext } from './tenant-context.ts';

/**
 * The problem of work that would exceed a limit. `enqueue.lua` counts and compares.
 * @param limit the limit that would be exceeded
 * @param options.used what the tenant uses already, in the unit of the limit
 * @param options.images the largest number of images that the work makes
 */
export function quotaProblem(
  limit: 'bytes' | 'queued' | 'images',
  {
    used,
    limits,
    images,
    now,
  }: { readonly used: number; readonly limits: Limits | null; readonly images: number; readonly now: Date },
): ProblemError {
  switch (limit) {
    case 'queued':
      return quotaExceeded(
        `${used} of your jobs and samples are waiting, and your key allows ${limits?.queuedJobs}. ` +
          'Wait until one starts, or cancel one.',
        10,
      );
    case 'images':
      return quotaExceeded(
        `The request needs up to ${images} images. Your key allows ${limits?.imagesPerDay} a day (UTC), ` +
          `and ${used} were requested today. Request fewer images, or try again tomorrow.`,
        Math.ceil((86_400_000 - (now.getTime() % 86_400_000)) / 1000),
      );
    case 'bytes':
      return storageProblem(used, limits?.storedBytes ?? null);
  }
}

/** The size of work, as limits count it. */
export interface WorkSize {
  /** Most images that it makes. */
  readonly images: number;
  /** Seconds of search at most; null: no limit; undefined: it has no search. */
  readonly seconds?: number | null;
  readonly sampler: { readonly width: number; readonly height: number; readonly steps: number };
}

/**
 * Checks that the tenant may enqueue work of this size.
 * @throws ProblemError `not-possible` with all limits that it exceeds
 */
export function checkWorkSize({ limits }: TenantContext, { images, seconds, sampler }: WorkSize): void {
  if (limits === null) return;
  const { imagesPerJob, secondsPerJob, pixelStepsPerImage } = limits;
  const { width, height, steps } = sampler;
  const pixelSteps = width * height * steps;
  const problems: string[] = [];
  if (imagesPerJob !== null && images > imagesPerJob)
    problems.push(
      `It makes up to ${images} images (search, report and samples), and your key allows ${imagesPerJob} ` +
        'in one job or batch. Request fewer images.',
    );
  if (
    secondsPerJob !== null &&
    seconds !== undefined &&
    (seconds ?? Number.POSITIVE_INFINITY) > secondsPerJob
  )
    problems.push(
      `It may search for ${seconds === null ? 'any time' : `${seconds} seconds`}, and your key allows ` +
        `${secondsPerJob} seconds. Set budget.seconds to ${secondsPerJob} or less.`,
    );
  if (pixelStepsPerImage !== null && pixelSteps > pixelStepsPerImage)
    problems.push(
      `An image of ${width} x ${height} pixels in ${steps} steps is ${pixelSteps} pixel steps, and your ` +
        `key allows ${pixelStepsPerImage}. Request fewer steps or a smaller image.`,
    );
  if (problems.length > 0)
    throw new ProblemError('not-possible', `The work is too large. ${problems.join(' ')}`);
}

/**
 * Checks that the tenant may store another file.
 * @param bytes size of the file
 * @throws ProblemError `quota-exceeded`
 */
export async function checkStorageQuota(
  { redis, keys, tenant, limits }: TenantContext,
  bytes: number,
): Promise<void> {
  if (limits === null || limits.storedBytes === null) return;
  const used = Number((await redis.hget(keys.storedBytes(), tenant)) ?? 0);
  if (used + bytes > limits.storedBytes) throw storageProblem(used, limits.storedBytes);
}

/** How much of a quota is used. `limit` and `remaining` null: there is no limit. */
export interface QuotaState {
  readonly limit: number | null;
  readonly used: number;
  readonly remaining: number | null;
}

/** The quotas of a tenant, as one of its keys has them, with what is used of them. */
export async function readQuotas({ redis, keys, tenant, limits }: TenantContext, now: Date) {
  const today = now.toISOString().slice(0, 10);
  const [jobs, samples, images, bytes] = await Promise.all([
    redis.zcard(keys.waiting('optimize', tenant)),
    redis.zcard(keys.waiting('sample', tenant)),
    redis.get(keys.imagesAsked(tenant, today)),
    redis.hget(keys.storedBytes(), tenant),
  ]);
  const state = (limit: number | null = null, used: number): QuotaState => {
    return { limit, used, remaining: limit === null ? null : Math.max(0, limit - used) };
  };
  return {
    queuedJobs: state(limits?.queuedJobs, jobs + samples),
    imagesPerDay: state(limits?.imagesPerDay, Number(images ?? 0)),
    storedBytes: state(limits?.storedBytes, Number(bytes ?? 0)),
    requestsPerMinute: limits?.requestsPerMinute ?? null,
    resetsAt: new Date(Date.parse(today) + 86_400_000).toISOString(),
  };
}

function storageProblem(used: number, limit: number | null): ProblemError {
  return quotaExceeded(
    `Your policies, images and records of jobs and samples take ${used} bytes, ` +
      `and your key allows ${limit}. Delete policies that you no longer need, ` +
      'or ask the operator to keep fewer jobs (findery keep).',
    3600,
  );
}

/** @param retryAfter seconds after which the client may try again */
function quotaExceeded(detail: string, retryAfter: number): ProblemError {
  return new ProblemError('quota-exceeded', detail, undefined, retryAfter);
}
