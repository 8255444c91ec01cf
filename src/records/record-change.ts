import { randomUUID } from 'node:crypto';
import type { IdKind } from '../contract/ids.ts';
import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { currentVersion } from './migrations.ts';
import { eventOf, type Notice, noticeOf, SNAPSHOT_SECONDS } from './outbox.ts';
import { fieldsOf, type Hidden, hiddenFields } from './record-fields.ts';

/** An event to be appended to a record's stream. */
export interface StreamEvent {
  readonly type: string;
  readonly data: unknown;
  /** Events of one type and sequence are appended once, however often the work is done over. */
  readonly sequence?: number;
}

export interface Change<T> {
  /** Fields to be set. */
  readonly set?: Partial<T>;
  readonly events?: readonly StreamEvent[];
  /** Rewards of the draws from `offset` on; what stood there is replaced. */
  readonly rewards?: {
    readonly offset: number;
    readonly iteration: number;
    readonly values: readonly number[];
    /** Scores of each draw's terms; none: the reward is one score. */
    readonly terms?: readonly (readonly number[])[];
  };
  /** Only when a worker took it with this token and nobody took it since. */
  readonly owner?: string;
  /** Only in one of these statuses. */
  readonly statuses?: readonly string[];
  /** Only when these fields were changed, since it was accepted, to these values. */
  readonly expects?: Partial<T>;
  /** Gives the record to the worker with this token. */
  readonly newOwner?: string;
  readonly hide?: Hidden;
  /** What the outbox is to get in the same change; a status that clients are told of is put there without it. */
  readonly notice?: Notice;
  /** It is to wait in its queue: remembered, together with the change, until it is seen there (`waiting.ts`). */
  readonly queue?: boolean;
  /** Takes back that it has ended: its `done` event goes. */
  readonly reopen?: boolean;
}

export type Outcome = 'done' | 'missing' | 'not-owner' | 'wrong-status';

/** What every record has; `bytes` are those of its file in storage. */
export interface AnyRecord {
  readonly id: string;
  /** Whose it is. */
  readonly tenant: string;
  readonly bytes?: number;
}

/** What a record begins with, and where it belongs. */
export interface Creation {
  readonly parent?: string;
  readonly events?: readonly StreamEvent[];
  readonly onlyNew?: boolean;
  readonly hide?: Hidden;
  /** Milliseconds since 1970. */
  readonly deadline?: number;
}

type Parameters = (string | number)[];

/** Keys and arguments of the script CREATE. */
export function createParameters(
  keys: RedisKeys,
  kind: IdKind,
  record: AnyRecord,
  options: Creation,
): Parameters {
  const tenant = record.tenant ?? DEFAULT_TENANT;
  return [
    keys.record(record.id),
    keys.index(kind),
    keys.children(options.parent ?? ''),
    keys.events(record.id),
    keys.index(kind, tenant),
    keys.storedBytes(),
    keys.deadlines(),
    record.id,
    options.onlyNew ? 1 : 0,
    options.parent ? 1 : 0,
    JSON.stringify([
      '_version',
      String(currentVersion(kind)),
      ...fieldsOf(record),
      ...hiddenFields(options.hide),
    ]),
    JSON.stringify((options.events ?? []).map(({ type, data }) => ({ type, data: JSON.stringify(data) }))),
    tenant,
    record.bytes ?? 0,
    options.deadline ?? '',
  ];
}

/** Keys and arguments of the script COMMIT. */
export function commitParameters<T>(
  keys: RedisKeys,
  kind: IdKind,
  id: string,
  change: Change<T>,
): Parameters {
  const { rewards } = change;
  const status = (change.set as { readonly status?: string } | undefined)?.status;
  const news = change.notice ?? noticeOf(kind, id, status);
  return [
    keys.record(id),
    keys.events(id),
    keys.rewards(id),
    keys.outbox(),
    keys.unqueued(),
    keys.snapshot((news && eventOf(news)) ?? ''),
    change.owner ?? '',
    JSON.stringify(change.statuses ?? []),
    JSON.stringify([...fieldsOf(change.set ?? {}), ...hiddenFields(change.hide)]),
    JSON.stringify(
      (change.events ?? []).map(({ type, data, sequence }) => ({
        type,
        sequence,
        data: JSON.stringify(data),
      })),
    ),
    change.newOwner ?? '',
    rewards ? rewards.offset : -1,
    JSON.stringify(
      (rewards?.values ?? []).map((value, i) =>
        [rewards?.iteration, value, ...(rewards?.terms?.[i] ?? [])].join(),
      ),
    ),
    keys.changes(),
    id,
    news ? JSON.stringify(news) : '',
    change.notice ? '' : (status ?? ''),
    randomUUID(),
    JSON.stringify(fieldsOf(change.expects ?? {})),
    change.queue ? 1 : 0,
    change.reopen ? 1 : 0,
    SNAPSHOT_SECONDS,
  ];
}
