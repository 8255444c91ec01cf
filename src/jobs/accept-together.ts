import { ACCEPT, KEYS_OF_EACH } from './accept-script.ts';
import type { QueueName } from './queues.ts';
import type { Redis } from './redis.ts';
import { script } from './redis-script.ts';
import { Together } from './together.ts';

/** What became of new work; see `ACCEPT`. */
export type Answer =
  | readonly ['ok', number]
  | readonly ['there' | 'taken']
  | readonly ['bytes' | 'queued' | 'images', number]
  | readonly ['failed', string];

interface Work {
  /** Keys and values that are the same for all work of one queue. */
  readonly shared: () => readonly [readonly string[], readonly string[]];
  readonly keys: readonly string[];
  readonly values: readonly (string | number)[];
}

const MOST = 50;
const accept = script<Answer[]>('accept', ACCEPT);
const calls = new WeakMap<Redis, Map<QueueName, Together<Work, Answer>>>();

/**
 * Has new work accepted, with all that comes at the same time; that one fails is nothing to the others.
 * @throws Error when Redis is away
 */
export function acceptTogether(redis: Redis, queue: QueueName, work: Work): Promise<Answer> {
  const queues = calls.get(redis) ?? new Map<QueueName, Together<Work, Answer>>();
  calls.set(redis, queues);
  const call = queues.get(queue) ?? new Together<Work, Answer>(MOST, (all) => send(redis, all));
  queues.set(queue, call);
  return call.do(work);
}

function send(redis: Redis, all: readonly Work[]): Promise<Answer[]> {
  const [keys, values] = all[0].shared();
  const parameters: (string | number)[] = [keys.length + KEYS_OF_EACH * all.length, ...keys];
  for (const { keys } of all) parameters.push(...keys);
  parameters.push(...values);
  for (const { values } of all) parameters.push(...values);
  return accept(redis, ...parameters);
}
