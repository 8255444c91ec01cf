import type { IdKind } from '../contract/ids.ts';
import { ProblemError } from '../contract/problem.ts';
import { currentVersion } from '../records/migrations.ts';
import { type Hidden, hiddenFields } from '../records/record-fields.ts';
import { exceeded } from '../tenancy/quota.ts';
import type { EnqueueContext } from './enqueue-batch.ts';
import { enqueueInBatch, type Shared } from './enqueue-batch.ts';
import { DEFERRED_PRIORITY } from './fair-scheduler.ts';
import { ENTRY_OPTIONS, type Queueable, type QueueName } from './queues.ts';

export interface Enqueued {
  /** False: there was a record of this tenant with this id, and it stays as it was. */
  readonly isNew: boolean;
  /** As `Queues.position` has it. */
  readonly position: number | null;
}

/** A record of a job or of samples that is to be written. */
export interface NewRecord {
  readonly id: string;
  readonly priority: Queueable['priority'];
  /** All of it, also these. */
  readonly json: string;
}

/**
 * Writes the record of new work and puts it into its queue, as one change of Redis (`accept-script.ts`). Once this resolves it is accepted.
 * @param images that it may make in all
 * @param event data of the first event of its stream; none when left out
 * @param parent what it goes with when that is deleted
 * @param deadline milliseconds since 1970
 * @throws ProblemError `quota-exceeded` when the tenant has too much already, `conflict` when another one has this id; nothing is left behind
 */
export async function enqueue(
  store: EnqueueContext,
  { id, priority, json }: NewRecord,
  {
    images,
    event,
    parent,
    deadline,
    hide,
  }: {
    readonly images: number;
    readonly event?: object;
    readonly parent?: string;
    readonly deadline?: number;
    readonly hide?: Hidden;
  },
): Promise<Enqueued> {
  const { keys, limits } = store;
  const now = new Date();
  const hidden = hiddenFields(hide);
  const answer = await enqueueInBatch(
    store,
    id.startsWith('smp_') ? 'sample' : 'optimize',
    {
      keys: [keys.record(id), parent === undefined ? '' : keys.children(parent)],
      values: [
        id,
        now.getTime(),
        ENTRY[priority],
        DEFERRED_PRIORITY[priority],
        deadline ?? '',
        images,
        event === undefined ? '' : JSON.stringify(event),
        json,
        hidden.length,
        ...hidden,
      ],
    },
    sharedOf,
  );
  switch (answer[0]) {
    case 'ok':
      return { isNew: true, position: answer[1] < 0 ? null : answer[1] + 1 };
    case 'there':
      return { isNew: false, position: null };
    case 'taken':
      throw new ProblemError('conflict', `The id ${id} is taken; choose another one.`);
    case 'failed':
      throw new Error(answer[1]);
    default:
      throw exceeded(answer[0], { used: answer[1], limits, images, now });
  }
}

/** What the script takes for all work of a caller in one queue. */
function sharedOf({ keys, queues, tenant, limits }: EnqueueContext, queue: QueueName): Shared {
  const kind: IdKind = queue === 'sample' ? 'smp' : 'job';
  const most = limits && {
    bytes: limits.storedBytes ?? -1,
    queued: limits.queuedJobs ?? -1,
    images: limits.imagesPerDay ?? -1,
  };
  return [
    [
      keys.unqueued(),
      keys.deadlines(),
      keys.storedBytes(),
      keys.index(kind),
      keys.index(kind, tenant),
      keys.imagesAsked(tenant, new Date().toISOString().slice(0, 10)),
      keys.waiting('optimize', tenant),
      keys.waiting('sample', tenant),
    ],
    [
      queues.prefix(queue),
      keys.turns(queue),
      queue,
      tenant,
      most === null ? '' : JSON.stringify(most),
      currentVersion(kind),
    ],
  ];
}

/** What an entry has, but for its id. */
const ENTRY = Object.fromEntries(
  Object.entries(DEFERRED_PRIORITY).map(([name, priority]) => [
    name,
    JSON.stringify({ ...ENTRY_OPTIONS, priority }),
  ]),
);
