import type { JobRecord } from '../contract/records.ts';
import { schedulingFunctions } from '../queue/fair-scheduler.ts';
import { currentVersion } from '../records/migrations.ts';
import { parseRecord } from '../records/record-fields.ts';
import { Batcher } from '../redis/batcher.ts';
import { defineScript } from '../redis/lua-script.ts';
import type { SharedStore, TenantStore } from './store.ts';

/**
 * Jobs and their places in the queue, in one look. Whoever has read one before names the stamp that it had then, and gets the record only when
 * it has another one: a stamp names the change that was the last (`record-scripts.ts`), of what was accepted when by whom.
 *
 * KEYS: records. ARGV: prefixes of BullMQ's keys and of the turns, then of each id and stamp. Answers for each {} (there is none), {stamp, place},
 * {stamp, place, record}, or the message of what failed.
 */
const LOOK = `
${schedulingFunctions('ARGV[1]', 'ARGV[2]')}
local heads
local function look(record, id, before)
  local known = call('HMGET', record, 'status', 'tenant', 'createdAt', 'requestId', '_version', '_change:owner', '_change:other')
  if not known[1] then return {} end
  local status, tenant, ahead = known[1], known[2], -1
  for i = 1, #known do known[i] = known[i] or '' end
  local stamp = table.concat(known, ' ')
  if status == 'queued' then
    heads = heads or call('HGETALL', head)
    ahead = ahead_of(id, tenant and string.sub(tenant, 2, -2), heads)
  end
  if stamp == before then return {stamp, ahead} end
  return {stamp, ahead, call('HGETALL', record)}
end

local answers = {}
for i = 1, #KEYS do
  local is_done, answer = pcall(look, KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2])
  answers[i] = is_done and answer or (type(answer) == 'table' and answer.err or tostring(answer))
end
return answers
`;

type Answer = string | readonly [] | readonly [string, number, string[]?];
const look = defineScript<Answer[]>('look', LOOK);
/** Jobs that are looked at in one call. */
const MOST_LOOKED = 50;

/** Jobs that are remembered; the one not asked for for longest goes. */
const MOST = 1000;

/** What somebody who reads a job gets. Shared by all who do: not to be changed, but for `shown`. */
export interface Reading {
  readonly record: JobRecord;
  /** As `Queues.position` has it. */
  readonly position: number | null;
  /** For the reader to keep what it makes of record and position; empty when one of them is another than before. */
  readonly shown: { text?: string };
}

interface Known extends Reading {
  readonly stamp: string;
}

/**
 * Reads jobs, which clients do over and over while they wait. Each look asks Redis, so what any process changed is seen at once; but a
 * record that is as it was is neither sent nor parsed again.
 */
export class JobReader {
  readonly #shared: SharedStore;
  /** In the order in which they were last asked for. */
  readonly #known = new Map<string, Known>();
  readonly #looks: Batcher<{ readonly id: string; readonly stamp: string }, Answer>;

  constructor(shared: SharedStore) {
    this.#shared = shared;
    const { redis, keys, queues } = shared;
    this.#looks = new Batcher(MOST_LOOKED, (all) =>
      look(
        redis,
        all.length,
        ...all.map(({ id }) => keys.record(id)),
        queues.prefix('optimize'),
        keys.turns('optimize'),
        ...all.flatMap(({ id, stamp }) => [id, stamp]),
      ),
    );
  }

  /**
   * The tenant's job with this id.
   * @throws ProblemError `gone` (410) when it was deleted, `not-found` (404) when there never was one, or it is another's
   */
  async read(store: TenantStore, id: string): Promise<Reading> {
    const known = this.#known.get(id);
    // All kinds lie under one prefix.
    const answer = id.startsWith('job_') ? await this.#looks.add({ id, stamp: known?.stamp ?? '' }) : [];
    if (typeof answer === 'string') throw new Error(answer);
    const [stamp, ahead = -1, fields] = answer;
    const position = ahead < 0 ? null : ahead + 1;
    if (known && known.stamp === stamp && fields === undefined) {
      const reading = known.position === position ? known : { ...known, position, shown: {} };
      return this.#remember(store, id, reading);
    }
    const pairs = pairsOf(fields ?? []);
    const record = parseRecord<JobRecord>(pairs);
    // What is not there, another's, or of another version is for the store to tell apart.
    if (!record || !stamp || pairs._version !== VERSION) {
      this.#known.delete(id);
      const found = await store.jobs.get(id);
      return { record: found, position: await this.#positionOf(found), shown: {} };
    }
    return this.#remember(store, id, { stamp, record, position, shown: {} });
  }

  async #remember(store: TenantStore, id: string, reading: Known): Promise<Reading> {
    if (reading.record.tenant !== store.tenant) return { ...reading, record: await store.jobs.get(id) }; // 404
    this.#known.delete(id);
    this.#known.set(id, reading);
    if (this.#known.size > MOST) this.#known.delete(this.#known.keys().next().value as string);
    return reading;
  }

  async #positionOf({ id, status }: JobRecord): Promise<number | null> {
    return status === 'queued' ? this.#shared.queues.position('optimize', id) : null;
  }
}

const VERSION = String(currentVersion('job'));

function pairsOf(flat: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) pairs[flat[i]] = flat[i + 1];
  return pairs;
}
