import { BEGINNING, readEvents } from '../../src/records/events.ts';
import type { TestApi } from './test-api.ts';

/** Posts an action such as `pause` to a job. */
export function act(api: TestApi, id: string, action: string): Promise<Response> {
  return api.post(`/v1/jobs/${id}/${action}`);
}

/** A job's events in order: the status of a status event, the type of another one. */
export async function eventNames({ store }: TestApi, id: string): Promise<string[]> {
  return (await readEvents(store.redis, store.keys, id, BEGINNING)).map(({ type, data }) =>
    type === 'status' ? (JSON.parse(data) as { status: string }).status : type,
  );
}

/** Whether the queue has an entry of the job. */
export function isQueued({ store }: TestApi, id: string): Promise<boolean> {
  return store.queues.has('optimize', id);
}

/** Whether the job is in the set of work that has to be queued. */
export async function isUnqueued({ store }: TestApi, id: string): Promise<boolean> {
  return (await store.redis.zscore(store.keys.unqueued(), id)) !== null;
}

/** Fails a job as a worker does, with a checkpoint at iteration 3. */
export async function failJob({ store }: TestApi, id: string): Promise<void> {
  await store.queues.remove('optimize', id);
  const error = { type: '/problems/internal', title: '', status: 500, detail: '', code: 'internal' };
  const checkpoint = { key: `checkpoints/${id}-3-x.safetensors`, iteration: 3 };
  await store.jobs.change(id, {
    set: { status: 'failed', error, checkpoint, finishedAt: new Date().toISOString() },
    events: [
      { type: 'status', data: { status: 'failed', stage: 'ended' } },
      { type: 'done', data: { status: 'failed' } },
    ],
  });
}
