import type { JobRecord } from '../contract/records.ts';
import { viewJob } from '../contract/views.ts';
import { decodeRecord, type RecordHash } from '../records/record-codec.ts';
import { Batcher } from '../redis/batcher.ts';
import { defineScript } from '../redis/lua-script.ts';
import type { SharedStore, TenantStore } from './store.ts';

/** Jobs that one script call reads, during which Redis serves nobody else. */
const MAX_BATCH = 50;
/** Jobs that a reader remembers; the one that was not read for longest is forgotten first. */
const MAX_REMEMBERED = 1000;

/** Output of `read-jobs.lua` for one job. */
type Answer = string | readonly [] | readonly [revision: string, position: number, hash?: string[]];

const readJobs = defineScript<Answer[]>(import.meta.url, './lua/read-jobs.lua');

/** A job and its queue position at one time. Callers share readings and must not change them. */
export class JobReading {
  readonly record: JobRecord;
  /** As `Queues.position` has it. */
  readonly position: number | null;
  #json: string | undefined;

  constructor(record: JobRecord, position: number | null) {
    this.record = record;
    this.position = position;
  }

  /** The view of the job as JSON, made once for all clients that read an unchanged job. */
  get json(): string {
    this.#json ??= JSON.stringify(viewJob(this.record, this.position));
    return this.#json;
  }
}

interface Remembered {
  readonly revision: string;
  readonly reading: JobReading;
}

/**
 * Reads jobs, which clients do over and over while they wait. Every read asks Redis, so it shows
 * what any process changed before; but Redis sends a record, and this process parses it, only when
 * it changed since the last read.
 */
export class JobReader {
  readonly #shared: SharedStore;
  /** By id, in the order of the last read. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #batcher: Batcher<{ readonly id: string; readonly revision: string }, Answer>;

  constructor(shared: SharedStore) {
    this.#shared = shared;
    const { redis, keys, queues } = shared;
    this.#batcher = new Batcher(MAX_BATCH, (jobs) =>
      readJobs(redis, {
        keys: { ...keys.scheduler('optimize') },
        args: { queuePrefix: queues.prefix('optimize'), waitingPrefix: keys.waitingPrefix('optimize') },
        entries: jobs.map(({ id, revision }) => ({
          keys: { record: keys.record(id) },
          args: { id, revision },
        })),
      }),
    );
  }

  /**
   * Reads the job with this id.
   * @throws ProblemError `gone` (410) when it was deleted, `not-found` (404) when it never existed
   * or is another tenant's
   */
  async read(store: TenantStore, id: string): Promise<JobReading> {
    if (!id.startsWith('job_')) return this.#readFrom(store, id);
    const known = this.#remembered.get(id);
    const answer = await this.#batcher.add({ id, revision: known?.revision ?? '' });
    if (typeof answer === 'string') throw new Error(answer);
    const [revision, place = 0, hash] = answer;
    const position = place || null;
    if (known && known.revision === revision && hash === undefined) {
      const { record } = known.reading;
      const reading = known.reading.position === position ? known.reading : new JobReading(record, position);
      return this.#remember(store, id, { revision, reading });
    }
    const decoded = decodeRecord<JobRecord>('job', hashOf(hash ?? []));
    if (!decoded || !revision || decoded.upgrade) {
      this.#remembered.delete(id);
      return this.#readFrom(store, id);
    }
    return this.#remember(store, id, { revision, reading: new JobReading(decoded.record, position) });
  }

  /**
   * Reads without a batch. `get` tells apart missing, deleted and other tenants' jobs, and upgrades
   * old records.
   */
  async #readFrom(store: TenantStore, id: string): Promise<JobReading> {
    const record = await store.jobs.get(id);
    const { queues } = this.#shared;
    return new JobReading(record, record.status === 'queued' ? await queues.position('optimize', id) : null);
  }

  async #remember(store: TenantStore, id: string, entry: Remembered): Promise<JobReading> {
    if (entry.reading.record.tenant !== store.tenant) return this.#readFrom(store, id); // 404
    this.#remembered.delete(id);
    this.#remembered.set(id, entry);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= MAX_REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
    return entry.reading;
  }
}

/** A hash from the names and values, alternately, that Redis sends. */
function hashOf(flat: readonly string[]): RecordHash {
  const hash: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) hash[flat[i]] = flat[i + 1];
  return hash;
}
