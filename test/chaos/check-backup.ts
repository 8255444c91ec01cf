import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureRedis } from '../../src/cli/redis/ensure-redis.ts';
import type { JobRequest } from '../../src/contract/schemas/job.ts';
import { freePort } from '../support/redis-servers.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { runFindery, type TakenBackup } from './backups.ts';
import { checkJob, type Expected } from './check-jobs.ts';
import { superviseProgram } from './cluster.ts';
import { RetryingClient } from './retrying-client.ts';
import { jobProgress, waitWhileChanging } from './wait-while-changing.ts';

/** A job of the run. */
export interface KnownJob {
  /** The number and the request that created it. */
  readonly number: number;
  readonly request: JobRequest;
  readonly expected: Expected;
}

/**
 * Restores a backup into an empty Redis and storage, lets the jobs end there, and compares: every
 * job of the backup is there once and ends once, with the bytes of an undisturbed run; what had
 * ended is there at once; and a repeated request answers with the job of the backup.
 * @param jobs all jobs of the run by id
 * @param environment of the service that was backed up
 * @returns problems; none if all is well
 */
export async function checkBackup(
  { folder, listed, ended }: TakenBackup,
  jobs: ReadonlyMap<string, KnownJob>,
  environment: NodeJS.ProcessEnv,
  stop: AbortSignal,
): Promise<string[]> {
  const name = folder.split('/').at(-1);
  const problems: string[] = [];
  const note = (problem: string) => problems.push(`${name}: ${problem}`);
  const verified = await runFindery(['backup', '--verify', folder], environment);
  if (verified.status !== 0) note(`it does not verify: ${verified.output}`);

  const place = `${folder}-restored`;
  const data = join(place, 'data');
  mkdirSync(data, { recursive: true });
  const redis = await ensureRedis({ dataDir: data, log: () => {} });
  const port = await freePort();
  const env = { ...environment, REDIS_URL: redis.url, FINDERY_DATA: data, PORT: String(port) };
  const restored = await runFindery(['restore', folder], env);
  // What had ended is whole in the backup, so nothing is opened again.
  if (restored.status !== 0 || /had ended/.test(restored.output)) note(`restoring it: ${restored.output}`);
  const processes = [superviseProgram('api', 'api.ts', env, place)];
  try {
    const client = new RetryingClient([`http://127.0.0.1:${port}`], new SeededRandom(port), stop);
    const found = new Map((await client.listJobs()).map((job) => [job.id, job]));
    for (const id of listed) if (!found.has(id)) note(`it lacks ${id}`);
    for (const id of ended)
      if (found.get(id)?.status !== 'succeeded') note(`${id} had ended and is ${found.get(id)?.status}`);
    processes.push(superviseProgram('worker', 'worker.ts', env, place));
    await waitWhileChanging(async () => {
      const listed = await client.listJobs();
      for (const { id, status } of listed) if (status === 'paused') await client.act(id, 'resume');
      return jobProgress(listed);
    });
    for (const job of await client.listJobs()) {
      const known = jobs.get(job.id);
      if (!known) note(`${job.id} is in it, and no client queued it`);
      else for (const problem of await checkJob(client, job, known.expected)) note(problem);
    }
    for (const id of listed) {
      const known = jobs.get(id);
      if (known && (await client.createJob(known.number, known.request)) !== id) note(`${id} is there twice`);
    }
    const count = (await client.listJobs()).length;
    if (count !== found.size) note(`it has ${found.size} jobs, and ${count} after repeated requests`);
  } catch (error) {
    stop.throwIfAborted();
    note((error as Error).message);
  } finally {
    await Promise.all(processes.map((each) => each.close()));
    await redis.stop();
    rmSync(data, { recursive: true, force: true });
  }
  return problems;
}
