import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJobRunner, SHORT_JOB } from '../support/job-runner.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

/** One worker with slices of a second: a long job makes room and ends with the same bytes. */
let service: TestService;
let runner: ReturnType<typeof createJobRunner>;

beforeAll(async () => {
  service = await startTestService({ FINDERY_SLICE_SECONDS: '1', FINDERY_WARM: 'none' });
  runner = createJobRunner(service);
  await service.startWorker();
});
afterAll(() => service?.close());

const LONG_JOB = { ...SHORT_JOB, budget: { images: 240 } };
const statuses = (names: readonly string[]) => names.filter((name) => !/iteration|preview|done/.test(name));

describe('a job whose slice is over', () => {
  it('makes room for a job that waits, and for none of lower priority', async () => {
    const alone = await runner.client.createJob(LONG_JOB);
    const low = await runner.client.createJob({ ...SHORT_JOB, priority: 'low' });
    const undisturbed = await runner.follow(alone);
    expect(statuses(undisturbed.names)).toEqual(['queued', 'running', 'running', 'succeeded']);
    await runner.follow(low);

    const long = await runner.client.createJob(LONG_JOB);
    let short: ReturnType<typeof runner.follow> | undefined;
    const { job, names } = await runner.follow(long, (iteration) => {
      if (iteration === 2) short = runner.client.createJob(SHORT_JOB).then((made) => runner.follow(made));
    });
    const { job: shortJob } = await (short as ReturnType<typeof runner.follow>);
    expect(Date.parse(String(shortJob.finishedAt))).toBeLessThan(Date.parse(String(job.finishedAt)));
    // A slow machine needs more than a slice for the short job, too; then they take turns.
    expect(statuses(names).join(' ')).toMatch(/^queued running( queued running)+ running succeeded$/);
    expect(job.attempts).toBe(1);
    expect(await runner.readPolicy(job)).toBe(await runner.readPolicy(undisturbed.job));
  });
});
