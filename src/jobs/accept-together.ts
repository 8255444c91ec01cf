import { ACCEPT, KEYS_OF_EACH } from './accept-script.ts';
import type { QueueName } from './queues.ts';
import type { Redis } from './redis.ts';
import { script } from './redis-script.ts';

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

interface Waiting extends Work {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Work that goes into one call at most: Redis does nothing else meanwhile. */
const MOST = 50;

const accept = script<Answer[]>('accept', ACCEPT);

const waiting = new WeakMap<Redis, Map<QueueName, Waiting[]>>();

/**
 * Has new work accepted, in one call with all that comes in the same turn of the event loop: the more requests there are at a time, the less each of
 * them costs. Each has its own answer; that one fails is nothing to the others.
 * @throws Error when Redis is away
 */
export function together(redis: Redis, queue: QueueName, work: Work): Promise<Answer> {
  const queues = waiting.get(redis) ?? new Map<QueueName, Waiting[]>();
  waiting.set(redis, queues);
  return new Promise((resolve, reject) => {
    const entry = { ...work, resolve, reject };
    const others = queues.get(queue);
    if (others) {
      others.push(entry);
      if (others.length < MOST) return;
      queues.delete(queue);
      void send(redis, others);
      return;
    }
    const all = [entry];
    queues.set(queue, all);
    setImmediate(() => {
      if (queues.get(queue) !== all) return; // it was full, and is sent
      queues.delete(queue);
      void send(redis, all);
    });
  });
}

async function send(redis: Redis, all: readonly Waiting[]): Promise<void> {
  try {
    const [keys, values] = all[0].shared();
    const parameters: (string | number)[] = [keys.length + KEYS_OF_EACH * all.length, ...keys];
    for (const { keys } of all) parameters.push(...keys);
    parameters.push(...values);
    for (const { values } of all) parameters.push(...values);
    const answers = await accept(redis, ...parameters);
    for (const [i, { resolve }] of all.entries()) resolve(answers[i]);
  } catch (error) {
    for (const { reject } of all) reject(error);
  }
}
