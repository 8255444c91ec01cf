import { derivedId } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import type { TenantStore } from '../store/store.ts';

/**
 * Whether a client may give this id to a job of its own: what the job makes gets ids of the same number, so nothing may have had one of them,
 * whoever's it is or was. Whose it is stays untold.
 * @throws ProblemError `gone` when a job of the tenant had it, `conflict` when something else has or had it
 */
export async function checkClientId(store: TenantStore, id: string): Promise<void> {
  const { redis, keys } = store;
  const ids = [id, derivedId('pol', id), derivedId('smp', id)];
  const taken = await redis.exists(...ids.flatMap((each) => [keys.record(each), keys.gone(each)]));
  if (taken === 0) return;
  if (await store.jobs.find(id)) return; // of two requests at once with one id the other came first
  if (await store.jobs.findGone(id)) await store.jobs.get(id); // 410
  throw new ProblemError('conflict', `The id ${id} is taken; choose another one.`);
}
