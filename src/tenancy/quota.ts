import { ProblemError } from '../contract/problem.ts';
import type { Limits } from './api-keys.ts';
import type { TenantContext } from './tenant-context.ts';

/** Which limit work would pass (`accept-script.ts` counts), in words. */
export function exceeded(
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
      return problem(
        `${used} jobs and samples of yours wait already, and your key allows ${limits?.queuedJobs}. Wait for one to begin, or cancel one.`,
        10,
      );
    case 'images':
      return problem(
        `This asks for up to ${images} images. Your key allows ${limits?.imagesPerDay} a day (UTC), and ${used} of today's are asked for already. Ask for fewer, or tomorrow.`,
        Math.ceil((86_400_000 - (now.getTime() % 86_400_000)) / 1000),
      );
    case 'bytes':
      return outOfSpace(used, limits?.storedBytes ?? null);
  }
}

/**
 * Whether a file of so many bytes may be stored for the tenant.
 * @throws ProblemError `quota-exceeded`
 */
export async function checkSpace(
  { redis, keys, tenant, limits }: TenantContext,
  bytes: number,
): Promise<void> {
  if (limits === null || limits.storedBytes === null) return;
  const used = Number((await redis.hget(keys.storedBytes(), tenant)) ?? 0);
  if (used + bytes > limits.storedBytes) throw outOfSpace(used, limits.storedBytes);
}

function outOfSpace(used: number, limit: number | null): ProblemError {
  return problem(
    `Your policies and images take ${used} bytes, and your key allows ${limit}. Delete policies that are not needed any more.`,
    3600,
  );
}

function problem(detail: string, retryAfter: number): ProblemError {
  return new ProblemError('quota-exceeded', detail, undefined, retryAfter);
}
