import { randomUUID } from 'node:crypto';
import type { IdKind } from '../contract/ids.ts';
import { FINAL_STATUSES } from '../contract/schemas/job.ts';
import type { Redis } from '../redis/connection.ts';
import type { RedisKeys } from '../redis/keys.ts';
import { defineScript } from '../redis/lua-script.ts';
import { eventOf, type Notice, noticeOf, OUTBOX_CHANGED, SNAPSHOT_SECONDS } from './outbox-notice.ts';
import {
  type AnyRecord,
  encodeFields,
  encodeInternalFields,
  encodeRecord,
  type InternalFields,
} from './record-codec.ts';
import { dayOf, usageOf } from './usage.ts';

/** An event to be appended to the stream of a record. */
export interface StreamEvent {
  readonly type: string;
  readonly data: unknown;
  /**
   * Events of one type and sequence are appended once, however often a worker repeats the
   * iteration.
   */
  readonly sequence?: number;
}

/**
 * A change of a record of type T, made all or nothing. An end, and a new `usage`, are counted for
 * the day (`usage.ts`).
 */
export interface Change<T> {
  /** Properties to be set. */
  readonly set?: Partial<T>;
  readonly events?: readonly StreamEvent[];
  /** Rewards of evaluated noises; they replace all that were stored from `offset` on. */
  readonly rewards?: {
    readonly offset: number;
    readonly iteration: number;
    readonly values: readonly number[];
    /**
     * For each noise, the scores of the terms of its reward; left out when the reward is one score.
     */
    readonly terms?: readonly (readonly number[])[];
  };
  /** Condition: the record still has this lease token. */
  readonly leaseToken?: string;
  /** Condition: the record has one of these statuses. */
  readonly statuses?: readonly string[];
  /**
   * Condition: these properties were changed after the record was created, and have these values.
   */
  readonly expected?: Partial<T>;
  /** Gives the record to the worker with this token. */
  readonly newLeaseToken?: string;
  readonly internal?: InternalFields;
  /**
   * Put into the outbox in the same step. Left out: the notice of the new status, where clients can
   * ask for one.
   */
  readonly notice?: Notice;
  /** Remembers in the same step that the record has to be in its queue (`RedisKeys.unqueued`). */
  readonly queue?: boolean;
  /** Removes the `done` event of a record that had ended. */
  readonly reopen?: boolean;
}

/** What became of a change; `commit.lua` describes each outcome. */
export type Outcome = 'done' | 'missing' | 'not-owner' | 'wrong-status';

/** What a new record begins with. */
export interface Creation {
  /** Id of the record with which it is deleted. */
  readonly parent?: string;
  readonly events?: readonly StreamEvent[];
  /** Keeps a record that has this id already. */
  readonly onlyNew?: boolean;
  readonly internal?: InternalFields;
  /** Milliseconds since 1970. */
  readonly deadline?: number;
  /**
   * The record is a result of accepted work: it is written although Redis is full (maxmemory).
   * Default: it is new work, which a full Redis refuses.
   */
  readonly isAccepted?: boolean;
}

const create = defineScript<null | 'taken' | 'exists'>(import.meta.url, './lua/create.lua');
const commit = defineScript<Outcome>(import.meta.url, './lua/commit.lua');

/**
 * Writes a new record, its indexes and its first events in one step.
 * @returns null, or why nothing was written (`create.lua`)
 */
export function createRecord(
  redis: Redis,
  keys: RedisKeys,
  kind: IdKind,
  record: AnyRecord,
  { parent, events = [], onlyNew = false, internal, deadline, isAccepted = false }: Creation,
): Promise<null | 'taken' | 'exists'> {
  const { id, tenant, bytes = 0 } = record;
  return create(redis, {
    keys: {
      record: keys.record(id),
      index: keys.index(kind),
      tenantIndex: keys.index(kind, tenant),
      children: keys.children(parent ?? ''),
      stream: keys.events(id),
      storedBytes: keys.storedBytes(),
      deadlines: keys.deadlines(),
    },
    args: {
      id,
      tenant,
      onlyNew: onlyNew ? 1 : 0,
      hasParent: parent === undefined ? 0 : 1,
      fieldsJson: JSON.stringify(encodeRecord(kind, record, internal)),
      eventsJson: encodeEvents(events),
      bytes,
      deadline: deadline ?? '',
      isAccepted: isAccepted ? 1 : 0,
    },
  });
}

/** Changes a record in one step, with all that belongs to the change. */
export function commitChange<T extends AnyRecord>(
  redis: Redis,
  keys: RedisKeys,
  kind: IdKind,
  id: string,
  change: Change<T>,
): Promise<Outcome> {
  const { set = {}, events = [], rewards, expected = {}, statuses = [] } = change;
  // Some kinds of records have no status.
  const { status = '' } = set as { readonly status?: string };
  const usage = usageOf(kind, set);
  const notice = change.notice ?? noticeOf(kind, id, status);
  return commit(redis, {
    keys: {
      record: keys.record(id),
      stream: keys.events(id),
      rewards: keys.rewards(id),
      outbox: keys.outbox(),
      unqueued: keys.unqueued(),
      snapshot: keys.snapshot((notice && eventOf(notice)) ?? ''),
      ended: keys.ended(),
      usageDay: keys.usage(dayOf(new Date())),
      storedBytes: keys.storedBytes(),
    },
    args: {
      id,
      changeId: randomUUID(),
      leaseToken: change.leaseToken ?? '',
      newLeaseToken: change.newLeaseToken ?? '',
      statusesJson: JSON.stringify(statuses),
      expectedJson: JSON.stringify(encodeFields(expected)),
      fieldsJson: JSON.stringify([...encodeFields(set), ...encodeInternalFields(change.internal)]),
      newStatus: change.notice ? '' : status,
      eventsJson: encodeEvents(events),
      rewardsOffset: rewards ? rewards.offset : -1,
      rewardsJson: JSON.stringify(rewards ? encodeRewards(rewards) : []),
      notice: notice ? JSON.stringify(notice) : '',
      snapshotSeconds: SNAPSHOT_SECONDS,
      queue: change.queue ? 1 : 0,
      reopen: change.reopen ? 1 : 0,
      changesChannel: keys.changes(),
      outboxMessage: OUTBOX_CHANGED,
      endedField: isEnd(kind, status) ? endedField(kind, status) : '',
      usageJson: usage === null ? '' : JSON.stringify(usage),
    },
  });
}

/** Whether work that gets this status has ended. */
function isEnd(kind: IdKind, status: string): boolean {
  return (kind === 'job' || kind === 'smp') && FINAL_STATUSES.includes(status);
}

/** Field of `RedisKeys.ended`. */
export function endedField(kind: IdKind, status: string): string {
  return `${kind}.${status}`;
}

function encodeEvents(events: readonly StreamEvent[]): string {
  return JSON.stringify(
    events.map(({ type, sequence, data }) => ({ type, sequence, data: JSON.stringify(data) })),
  );
}

/** `decodeReward` reads the entries. */
function encodeRewards({ iteration, values, terms }: NonNullable<Change<unknown>['rewards']>): string[] {
  return values.map((value, i) => [iteration, value, ...(terms?.[i] ?? [])].join());
}

/** The reward of one evaluated noise. */
export interface StoredReward {
  /** Iteration of the search, from 1. */
  readonly iteration: number;
  readonly reward: number;
  /** Scores of the terms; empty when the reward is one score. */
  readonly terms: number[];
}

/** Decodes an entry of `RedisKeys.rewards`. */
export function decodeReward(entry: string): StoredReward {
  const [iteration, reward, ...terms] = entry.split(',').map(Number);
  return { iteration, reward, terms };
}
