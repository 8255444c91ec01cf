import { UnrecoverableError } from 'bullmq';
import { ProblemError, problemOf } from '../src/contract/problem.ts';
import type { SampleRecord } from '../src/contract/records.ts';
import { archiveEnded, archiveSample } from '../src/jobs/archive.ts';
import { toDamageProblem } from '../src/jobs/damage.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import { RewardError } from '../src/rewards/scorer.ts';
import { decodePolicy } from '../src/storage/policy-file.ts';
import { openEvaluator, type WorkerContext } from './context.ts';
import { drawSamples } from './draw-samples.ts';
import { Interruption } from './interruption.ts';
import { Lease } from './lease.ts';
import { waitForStorage } from './storage-patience.ts';

/** Draws one batch of samples from a policy or from N(0, I). */
export async function sample(context: WorkerContext, sampleId: string, lastTry: boolean): Promise<void> {
  const { store } = context;
  const record = await store.samples.find(sampleId);
  if (!record) return;
  context.recycling.begin();
  const logger = context.logger.child({ sampleId, requestId: record.requestId ?? undefined });
  const claim = new Lease(store.samples, sampleId);
  const taken = await claim.take(['queued', 'running'], {
    set: {
      status: 'running',
      startedAt: record.startedAt ?? new Date().toISOString(),
      attempts: record.attempts + 1,
    },
  });
  if (!taken) return;
  try {
    const evaluator = await openEvaluator(context, record);
    const distribution = await loadLaw(context, record);
    const images = await drawSamples(context, {
      sampleId,
      settings: record,
      distribution,
      evaluator,
      signal: context.shutdown,
    });
    const ended = { status: 'succeeded' as const, images, finishedAt: new Date().toISOString() };
    await archiveSample(store, context.blobs, {
      ...((await store.samples.find(sampleId)) ?? record),
      ...ended,
    });
    await claim.commit({ set: ended }).catch(async (error: unknown) => {
      // Another worker has it: if it has ended there, the archive has to say what that end was.
      await archiveEnded(store, context.blobs, sampleId).catch(() => {});
      throw error;
    });
    logger.info({ images: images.length }, 'sample ended');
  } catch (thrown) {
    const error = await judgeStorage(
      context,
      claim,
      record,
      await judgeMemory(context, claim, record, thrown),
    );
    if (error instanceof Interruption || (context.shutdown.aborted && !(error instanceof ProblemError)))
      throw error;
    if (!(error instanceof ProblemError) && !lastTry) {
      logger.warn({ err: error }, 'sample will be tried again');
      throw error;
    }
    logger.error({ err: error }, 'sample failed');
    await claim.commit({
      set: {
        status: 'failed',
        error: problemOf(
          error instanceof RewardError ? new ProblemError('reward-failed', error.message) : error,
          record.requestId ?? undefined,
        ),
        finishedAt: new Date().toISOString(),
      },
    });
    await archiveEnded(store, context.blobs, sampleId).catch((reason: unknown) =>
      logger.warn({ err: reason }, 'the end of the sample could not be archived'),
    );
    throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
  }
}

/** An interruption when the sample is to be drawn by a fresh process for want of memory; else what it fails with. */
async function judgeMemory(
  { recycling, logger }: WorkerContext,
  claim: Lease<SampleRecord>,
  record: SampleRecord,
  error: unknown,
): Promise<unknown> {
  const times = record.outOfMemory?.times ?? 0;
  const verdict = recycling.judge(error, times);
  if ('problem' in verdict) return verdict.problem;
  logger.warn({ err: error, sampleId: record.id }, 'out of memory; the sample goes on in a fresh process');
  await claim.commit({ set: { status: 'queued', outOfMemory: { times: times + 1 } } });
  return verdict.interruption;
}

/** An interruption when the sample is to wait until storage takes its images; else the error. */
async function judgeStorage(
  { logger }: WorkerContext,
  claim: Lease<SampleRecord>,
  { id, storageAway }: SampleRecord,
  error: unknown,
): Promise<unknown> {
  const waiting = waitForStorage(error, storageAway);
  if (waiting === null) return error;
  logger.warn({ err: error, sampleId: id }, 'storage is away; the sample waits for it');
  await claim.commit({ set: { status: 'queued', ...waiting } });
  return new Interruption('storage');
}

async function loadLaw(
  { store, blobs }: WorkerContext,
  { policyId }: SampleRecord,
): Promise<NoiseDistribution | null> {
  if (policyId === null) return null;
  const policy = await store.policies.get(policyId);
  const file = await blobs
    .get(`policies/${policyId}.safetensors`, { sha256: policy.sha256 })
    .catch(toDamageProblem);
  if (!file)
    throw new ProblemError(
      'not-found',
      `The file of policy ${policyId} is not in storage; was FINDERY_DATA changed or cleared?`,
    );
  return decodePolicy(file, policy.distribution.shape).distribution;
}
