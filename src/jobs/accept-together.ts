import { ACCEPT, KEYS_OF_EACH } from './accept-script.ts';
import type { QueueName } from './queues.ts';
import { script } from './redis-script.ts';
import type { TenantStore } from './store.ts';
import { Together } from './together.ts';

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
const MOST = 25;
const accept = script<Answer[]>('accept', ACCEPT);
const calls = new WeakMap<TenantStore, Map<QueueName, Together<Work, Answer>>>();

/**
 * Has new work accepted, with what else its caller sends at the same time; that one fails is nothing to the others.
 * @throws Error when Redis is away
 */
export function acceptTogether(
  store: TenantStore,
  queue: QueueName,
  work: Work,
  shared: (store: TenantStore, queue: QueueName) => Shared,
): Promise<Answer> {
  const queues = calls.get(store) ?? new Map<QueueName, Together<Work, Answer>>();
  calls.set(store, queues);
  const call = queues.get(queue) ?? new Together<Work, Answer>(MOST, (all) => send(store, shared(store, queue), all));
  queues.set(queue, call);
  return call.do(work);
}

function send({ redis }: TenantStore, [keys, values]: Shared, all: readonly Work[]): Promise<Answer[]> {
  const parameters: (string | number)[] = [keys.length + KEYS_OF_EACH * all.length, ...keys];
  for (const { keys } of all) parameters.push(...keys);
  parameters.push(...values);
  for (const { values } of all) parameters.push(...values);
  return accept(redis, ...parameters);
}
