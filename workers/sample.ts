import { UnrecoverableError } from 'bullmq';
import { ProblemError } from '../src/contract/problem.ts';
import type { SampleRecord } from '../src/contract/records.ts';
import type { Image } from '../src/contract/schemas/sample.ts';
import { DeviceLostError, OutOfMemoryError } from '../src/engine/errors.ts';
import { archiveEnded, archiveSample } from '../src/jobs/archive.ts';
import { policyFileKey, readStoredFile } from '../src/jobs/stored-files.ts';
import type { NoiseDistribution } from '../src/numerics/distributions/noise-distribution.ts';
import { decodePolicy } from '../src/storage/policy-file.ts';
import type { WorkerContext } from './context.ts';
import { EngineMeter } from './engine-meter.ts';
import { failureProblem, openEvaluator } from './evaluator.ts';
import { sampleImages } from './images.ts';
import { waitForStorage } from './interruption.ts';
import { Lease } from './lease.ts';
import { Interruption } from './stop-reason.ts';
import { WorkTrace } from './work-trace.ts';

/** A batch of samples that this worker has taken. */
interface RunningSample {
  readonly context: WorkerContext;
  readonly lease: Lease<SampleRecord>;
  /** The record as it was when the worker took it. */
  readonly record: SampleRecord;
  readonly meter: EngineMeter;
}

/**
 * Processes one batch of samples from a policy or from N(0, I).
 * @throws Interruption if the batch is given back; UnrecoverableError if it has failed; other
 * errors if the queue has to try again
 */
export async function sample(
  workerContext: WorkerContext,
  sampleId: string,
  isLastTry: boolean,
): Promise<void> {
  const { store } = workerContext;
  const record = await store.samples.find(sampleId);
  if (!record) return;
  workerContext.recycling.countWork();
  const logger = workerContext.logger.child({ sampleId, requestId: record.requestId ?? undefined });
  const lease = new Lease(store.samples, sampleId);
  const meter = new EngineMeter();
  const trace = new WorkTrace(workerContext.tracer, 'sample', record.traceparent, {
    'findery.sample_id': sampleId,
    'findery.tenant': record.tenant,
    'findery.model': record.model,
  });
  const running: RunningSample = { context: { ...workerContext, logger }, lease, record, meter };
  const set = {
    status: 'running' as const,
    startedAt: record.startedAt ?? new Date().toISOString(),
    attempts: record.attempts + 1,
  };
  if (!(await lease.take(['queued', 'running'], { set }))) return;
  try {
    const options = { count: record.bestOf, observed: { meter, trace } };
    const evaluator = await openEvaluator(running.context, record, options);
    const images = await sampleImages(running.context, {
      sampleId,
      settings: record,
      distribution: await loadDistribution(running),
      evaluator,
      signal: workerContext.shutdown,
    });
    await trace.step('store', () => endSample(running, images));
    trace.end();
    logger.info({ images: images.length }, 'sample ended');
  } catch (error) {
    trace.end(error instanceof Error ? error.message : String(error));
    await failSample(running, await classifySampleError(running, error), isLastTry);
  }
}

/** The distribution of the policy that is sampled; null for N(0, I). */
async function loadDistribution({
  context: { store, blobs },
  record: { policyId },
}: RunningSample): Promise<NoiseDistribution | null> {
  if (policyId === null) return null;
  const { sha256, distribution } = await store.policies.get(policyId);
  const description = `policy ${policyId}`;
  const file = await readStoredFile(blobs, { key: policyFileKey(policyId), sha256, description });
  return decodePolicy(file, distribution.shape).distribution;
}

async function endSample({ context, lease, record, meter }: RunningSample, images: Image[]): Promise<void> {
  const { store, blobs } = context;
  const usage = { images: record.bestOf, engineMilliseconds: meter.milliseconds };
  const set = { status: 'succeeded' as const, images, usage, finishedAt: new Date().toISOString() };
  const current = (await store.samples.find(record.id)) ?? record;
  await archiveSample(store, blobs, { ...current, ...set });
  await lease.commit({ set }).catch(async (error: unknown) => {
    // If another worker has ended the batch, the archive has to hold that end.
    await archiveEnded(store, blobs, record.id).catch(() => {});
    throw error;
  });
}

/** An Interruption if the batch has to wait for storage or for a new process; else the error. */
async function classifySampleError(
  { context, lease, record }: RunningSample,
  error: unknown,
): Promise<unknown> {
  if (error instanceof OutOfMemoryError) {
    const times = record.outOfMemory?.times ?? 0;
    const reason = context.recycling.recycle(error, times);
    if (!(reason instanceof Interruption)) return reason;
    context.logger.warn({ err: error }, 'out of memory; the sample continues in a new process');
    await lease.commit({ set: { status: 'queued', outOfMemory: { times: times + 1 } } });
    return reason;
  }
  if (error instanceof DeviceLostError) {
    const reason = context.recycling.replaceDevice(error, record.attempts + 1);
    if (!(reason instanceof Interruption)) return reason;
    context.logger.error({ err: error }, 'the GPU is lost; the sample continues in a new process');
    await lease.commit({ set: { status: 'queued' } });
    return reason;
  }
  const wait = waitForStorage(error, record.storageAway);
  if (wait === null) return error;
  context.logger.warn({ err: error }, 'storage is away; the sample waits for it');
  await lease.commit({ set: { status: 'queued', ...wait } });
  return new Interruption('storage');
}

/** Ends the batch with its problem, or throws the error for another try. */
async function failSample(
  { context, lease, record, meter }: RunningSample,
  error: unknown,
  isLastTry: boolean,
): Promise<never> {
  const { store, blobs, logger, shutdown } = context;
  if (error instanceof Interruption) throw error;
  if (!(error instanceof ProblemError)) {
    if (shutdown.aborted) throw error;
    if (!isLastTry) {
      logger.warn({ err: error }, 'sample will be tried again');
      throw error;
    }
  }
  logger.error({ err: error }, 'sample failed');
  await lease.commit({
    set: {
      status: 'failed',
      error: failureProblem(error, record.requestId),
      finishedAt: new Date().toISOString(),
      usage: { images: 0, engineMilliseconds: meter.milliseconds },
    },
  });
  await archiveEnded(store, blobs, record.id).catch((reason: unknown) =>
    logger.warn({ err: reason }, 'the end of the sample could not be archived'),
  );
  throw new UnrecoverableError(error instanceof Error ? error.message : String(error));
}
