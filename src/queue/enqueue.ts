import type { JobRecord, SampleRecord } from '../contract/records.ts';
import { currentVersion } from '../records/migrations.ts';
import { encodeInternalFields, type InternalFields } from '../records/record-codec.ts';
import { idTaken } from '../records/records.ts';
import { Batcher } from '../redis/batcher.ts';
import { defineScript, type ScriptInput } from '../redis/lua-script.ts';
import { quotaProblem } from '../tenancy/quota.ts';
import type { TenantContext } from '../tenancy/tenant-context.ts';
import { DEFERRED_PRIORITY, ENTRY_OPTIONS_JSON } from './bullmq-keys.ts';
import { type QueueName, type Queues, queueOf } from './queues.ts';

/** The tenant that enqueues, with the queues. */
export interface EnqueueContext extends TenantContext {
  readonly queues: Queues;
}

/** What belongs to new work beside its record. */
export interface EnqueueOptions {
  /** Most images that the work makes, for the limit of images a day. */
  readonly images: number;
  /** Data of the first event of its stream; left out: its stream begins empty. */
  readonly event?: object;
  /** Id of the record with which it is deleted. */
  readonly parent?: string;
  /** Milliseconds since 1970. */
  readonly deadline?: number;
  readonly internal?: InternalFields;
}

/** What became of new work. */
export interface Enqueued {
  /** False: the tenant has a record with this id already, which stays as it was. */
  readonly isNew: boolean;
  /** Position in the queue as `Queues.position` has it. */
  readonly position: number | null;
}

/** Output of `enqueue.lua` for one entry. */
type Answer =
  | readonly ['enqueued', number]
  | readonly ['exists' | 'taken']
  | readonly ['bytes' | 'queued' | 'images', number]
  | readonly ['failed', string];

type Entry = NonNullable<ScriptInput['entries']>[number];

/** Entries in one script call, during which Redis serves nobody else. */
const MAX_BATCH = 25;

const enqueueBatch = defineScript<Answer[]>(import.meta.url, './lua/enqueue.lua');
const batchers = new WeakMap<EnqueueContext, Record<QueueName, Batcher<Entry, Answer>>>();

/**
 * Writes the record of new work and adds it to its queue, in one step of Redis. Work that one
 * tenant enqueues in one event-loop turn shares a script call.
 * @param record with the status `queued`, of the tenant of `context`
 * @throws ProblemError `quota-exceeded` when a limit would be passed, `conflict` when another
 * tenant has a record with this id; nothing is written then
 */
export async function enqueue(
  context: EnqueueContext,
  record: JobRecord | SampleRecord,
  options: EnqueueOptions,
): Promise<Enqueued> {
  const now = new Date();
  const batcher = batchersOf(context)[queueOf(record.id)];
  const [outcome, value] = await batcher.add(encodeEntry(context, record, options, now));
  switch (outcome) {
    case 'enqueued':
      return { isNew: true, position: value || null };
    case 'exists':
      return { isNew: false, position: null };
    case 'taken':
      throw idTaken(record.id);
    case 'failed':
      throw new Error(value);
    default:
      throw quotaProblem(outcome, { used: value, limits: context.limits, images: options.images, now });
  }
}

function batchersOf(context: EnqueueContext): Record<QueueName, Batcher<Entry, Answer>> {
  const known = batchers.get(context);
  if (known) return known;
  const open = (queue: QueueName) =>
    new Batcher<Entry, Answer>(MAX_BATCH, (entries) =>
      enqueueBatch(context.redis, { ...sharedInput(context, queue), entries }),
    );
  const made = { optimize: open('optimize'), sample: open('sample') };
  batchers.set(context, made);
  return made;
}

function encodeEntry(
  { keys }: EnqueueContext,
  record: JobRecord | SampleRecord,
  { images, event, parent, deadline, internal }: EnqueueOptions,
  now: Date,
): Entry {
  const { id, priority, model } = record;
  return {
    keys: { record: keys.record(id), children: parent === undefined ? '' : keys.children(parent) },
    args: {
      id,
      milliseconds: now.getTime(),
      recordJson: JSON.stringify(record),
      internalJson: internal === undefined ? '' : JSON.stringify(encodeInternalFields(internal)),
      event: event === undefined ? '' : JSON.stringify(event),
      images,
      deadline: deadline ?? '',
      priority: DEFERRED_PRIORITY[priority],
      options: ENTRY_OPTIONS_JSON[priority],
      model,
    },
  };
}

function sharedInput({ keys, queues, tenant, limits }: EnqueueContext, queue: QueueName): ScriptInput {
  const kind = queue === 'sample' ? 'smp' : 'job';
  const scriptLimits = limits && {
    bytes: limits.storedBytes ?? -1,
    queued: limits.queuedJobs ?? -1,
    images: limits.imagesPerDay ?? -1,
    ...(queue === 'optimize' ? { running: limits.runningJobs ?? -1 } : {}),
  };
  return {
    keys: {
      unqueued: keys.unqueued(),
      deadlines: keys.deadlines(),
      storedBytes: keys.storedBytes(),
      imagesAsked: keys.imagesAsked(tenant, new Date().toISOString().slice(0, 10)),
      index: keys.index(kind),
      tenantIndex: keys.index(kind, tenant),
      waitingJobs: keys.waiting('optimize', tenant),
      waitingSamples: keys.waiting('sample', tenant),
      ...keys.scheduler(queue),
    },
    args: {
      tenant,
      queueName: queue,
      queuePrefix: queues.prefix(queue),
      waitingPrefix: keys.waitingPrefix(queue),
      modelsPrefix: keys.modelsPrefix(queue),
      recordVersion: currentVersion(kind),
      limitsJson: scriptLimits === null ? '' : JSON.stringify(scriptLimits),
    },
  };
}
