import { derivedId } from '../src/contract/ids.ts';
import type { SampleRecord } from '../src/contract/records.ts';
import type { Problem } from '../src/contract/schemas/common.ts';
import type { Image } from '../src/contract/schemas/sample.ts';
import { archiveEnded, archiveSample, recordKey } from '../src/jobs/archive.ts';
import { createSampleRecord } from '../src/jobs/submit.ts';
import type { RunningJob } from './context.ts';

/**
 * Opens the record of the images that a job samples at its end (`samples` of its request). A job
 * that repeats its end after a crash gets its earlier record: one that has succeeded stays, since
 * clients know its end, and one that failed begins again.
 */
export async function openJobSample(
  { context, record }: RunningJob,
  policyId: string,
): Promise<SampleRecord> {
  const { prompt, negativePrompt, model, reward, sampler, seed, priority, metadata, requestId, tenant } =
    record;
  const purpose = { prompt, negativePrompt, model, reward, sampler };
  const batch = { seed, count: record.samples, bestOf: record.samples, format: 'png' as const };
  const id = derivedId('smp', record.id);
  const now = new Date().toISOString();
  const sample: SampleRecord = {
    ...createSampleRecord(
      { policyId, ...purpose, ...batch, priority, metadata },
      { id, tenant, warnings: [], requestId, now },
    ),
    status: 'running',
    startedAt: now,
    attempts: 1,
  };
  const { samples } = context.store;
  if (await samples.create(sample, { parent: policyId, onlyNew: true, isAccepted: true })) return sample;
  const existing = await samples.get(sample.id);
  if (existing.status !== 'failed') return existing;
  // Reindexing must not restore the failure.
  await context.blobs.delete(recordKey(sample.id));
  await samples.change(sample.id, { set: sample, statuses: ['failed'] });
  return samples.get(sample.id);
}

/**
 * Ends the samples of a job. If another worker has ended them before, Redis and archive keep that
 * end.
 */
export async function endJobSample(
  { context }: RunningJob,
  sample: SampleRecord,
  images: Image[],
): Promise<void> {
  const { store, blobs } = context;
  // The job has the engine's time.
  const usage = { images: sample.bestOf, engineMilliseconds: 0 };
  const set = { status: 'succeeded' as const, images, usage, finishedAt: new Date().toISOString() };
  await archiveSample(store, blobs, { ...sample, ...set });
  const outcome = await store.samples.change(sample.id, { set, statuses: ['running'] });
  if (outcome !== 'done') await archiveEnded(store, blobs, sample.id);
}

/**
 * Fails the samples of a job that ends without them.
 * @returns the id of the samples; null if the job has none yet, or they have ended
 */
export async function failJobSample({ context, record }: RunningJob, error: Problem): Promise<string | null> {
  const id = derivedId('smp', record.id);
  const set = { status: 'failed' as const, error, finishedAt: new Date().toISOString() };
  const outcome = await context.store.samples.change(id, { set, statuses: ['running'] });
  if (outcome !== 'done') return null;
  await archiveEnded(context.store, context.blobs, id).catch((reason: unknown) =>
    context.logger.warn({ err: reason, sampleId: id }, 'the end of the sample could not be archived'),
  );
  return id;
}
