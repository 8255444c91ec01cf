import { Batcher } from '../redis/batcher.ts';
import { defineScript } from '../redis/lua-script.ts';
import type { TenantContext } from '../tenancy/tenant-context.ts';
import { ENQUEUE, KEYS_OF_EACH } from './enqueue-script.ts';
import type { QueueName, Queues } from './queues.ts';

/** The tenant that enqueues, with the queues. */
export interface EnqueueContext extends TenantContext {
  readonly queues: Queues;
}

/** What became of new work; see `ACCEPT`. */
export type Answer =
  | readonly ['ok', number]
  | readonly ['there' | 'taken']
  | readonly ['bytes' | 'queued' | 'images', number]
  | readonly ['failed', string];

/** What the script is to know of one piece of work. */
export interface Work {
  readonly keys: readonly [record: string, children: string];
  readonly values: readonly (string | number)[];
}

/** The same for all of a caller's work in one queue: keys and values. */
export type Shared = readonly [readonly string[], readonly (string | number)[]];

/** Pieces of work in one call: Redis does nothing else meanwhile. */
const MAX_BATCH = 25;
const accept = defineScript<Answer[]>('accept', ENQUEUE);
const calls = new WeakMap<EnqueueContext, Map<QueueName, Batcher<Work, Answer>>>();

/**
 * Has new work accepted, with what else its caller sends at the same time; that one fails is nothing to the others.
 * @throws Error when Redis is away
 */
export function enqueueInBatch(
  store: EnqueueContext,
  queue: QueueName,
  work: Work,
  shared: (store: EnqueueContext, queue: QueueName) => Shared,
): Promise<Answer> {
  const queues = calls.get(store) ?? new Map<QueueName, Batcher<Work, Answer>>();
  calls.set(store, queues);
  const call =
    queues.get(queue) ??
    new Batcher<Work, Answer>(MAX_BATCH, (all) => send(store, shared(store, queue), all));
  queues.set(queue, call);
  return call.add(work);
}

function send({ redis }: EnqueueContext, [keys, values]: Shared, all: readonly Work[]): Promise<Answer[]> {
  const parameters: (string | number)[] = [keys.length + KEYS_OF_EACH * all.length, ...keys];
  for (const { keys } of all) parameters.push(...keys);
  parameters.push(...values);
  for (const { values } of all) parameters.push(...values);
  return accept(redis, ...parameters);
}
