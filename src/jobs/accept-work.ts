import { ACCEPT } from './accept-script.ts';
import { type IdKind, newUlid } from './ids.ts';
import { currentVersion } from './migrations.ts';
import { ProblemError } from './problem.ts';
import { ENTRY_OPTIONS, type QueueName } from './queues.ts';
import { exceeded } from './quota.ts';
import { acceptedFields, hiddenFields } from './record-fields.ts';
import type { Redis } from './redis.ts';
import type { JobRecord, SampleRecord, TenantStore } from './store.ts';
import { PARKED_PRIORITY } from './turns.ts';

type Answer =
  | readonly ['ok', number, string?]
  | readonly ['there' | 'taken']
  | readonly ['bytes' | 'queued' | 'images', number];
type WithAccept = Redis & { finderyAccept(parameters: (string | number)[]): Promise<Answer> };

export interface Accepted {
  /** False: there was a record of this tenant with this id, and it stays as it was. */
  readonly isNew: boolean;
  /** As `Queues.position` has it. */
  readonly position: number | null;
}

/**
 * Writes the record of new work and puts it into its queue, as one change of Redis (`accept-script.ts`). Once this resolves it is accepted.
 * @param images that it may make in all
 * @param event data of the first event of its stream; none when left out
 * @param parent what it goes with when that is deleted
 * @param deadline milliseconds since 1970
 * @throws ProblemError `quota-exceeded` when the tenant has too much already, `conflict` when another one has this id; nothing is left behind
 */
export async function acceptWork(
  store: TenantStore,
  record: JobRecord | SampleRecord,
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
    readonly hide?: { readonly [name: string]: unknown };
  },
): Promise<Accepted> {
  const { redis, keys, tenant, limits } = store;
  const { id, priority } = record;
  const kind = id.slice(0, 3) as IdKind;
  const queue: QueueName = kind === 'smp' ? 'sample' : 'optimize';
  const now = new Date();
  const most = limits && {
    bytes: limits.storedBytes ?? -1,
    queued: limits.queuedJobs ?? -1,
    images: limits.imagesPerDay ?? -1,
  };
  const answer = await scripted(redis).finderyAccept([
    keys.record(id),
    keys.index(kind),
    keys.index(kind, tenant),
    keys.children(parent ?? ''),
    keys.events(id),
    keys.unqueued(),
    keys.deadlines(),
    keys.storedBytes(),
    keys.imagesAsked(tenant, now.toISOString().slice(0, 10)),
    keys.waiting('optimize', tenant),
    keys.waiting('sample', tenant),
    id,
    tenant,
    store.queues.prefix(queue),
    keys.turns(queue),
    queue,
    String(now.getTime()),
    `${ENTRY[priority].slice(0, -1)},"jobId":"${id}"}`,
    PARKED_PRIORITY[priority],
    deadline ?? '',
    parent === undefined ? '' : '1',
    event === undefined ? '' : JSON.stringify(event),
    most === null ? '' : JSON.stringify(most),
    images,
    '_version',
    String(currentVersion(kind)),
    // Of which it is the record, for those who read it again (`job-reader.ts`).
    '_change:other',
    newUlid(now.getTime()),
    ...acceptedFields(record),
    ...hiddenFields(hide),
  ]);
  switch (answer[0]) {
    case 'ok':
      return { isNew: true, position: answer[1] < 0 ? null : answer[1] + 1 };
    case 'there':
      return { isNew: false, position: null };
    case 'taken':
      throw new ProblemError('conflict', `The id ${id} is taken; choose another one.`);
    default:
      throw exceeded(answer[0], { used: answer[1], limits, images, now });
  }
}

/** What an entry has, but for its id. */
const ENTRY = Object.fromEntries(
  Object.entries(PARKED_PRIORITY).map(([name, priority]) => [name, JSON.stringify({ ...ENTRY_OPTIONS, priority })]),
);

function scripted(redis: Redis): WithAccept {
  if (!('finderyAccept' in redis)) redis.defineCommand('finderyAccept', { numberOfKeys: 11, lua: ACCEPT });
  return redis as WithAccept;
}
