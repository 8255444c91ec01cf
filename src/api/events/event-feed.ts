import { comparePositions, latestPosition, readEvents, type StoredEvent } from '../../records/events.ts';
import type { Store } from '../../store/store.ts';

/** An event in the format of server-sent events, serialized once for all followers. */
export interface Frame {
  /** The event's position in the stream of its job. */
  readonly id: string;
  readonly bytes: Buffer;
  /** Whether it is the last event of its job. */
  readonly isLast: boolean;
}

/**
 * Frames kept in memory for followers that lag a little; one that lags more reads pages from Redis.
 */
const MAX_FRAMES = 256;
/** Events read from Redis in one call. */
const PAGE_SIZE = 500;
/**
 * Interval at which Redis is read without a notification, because one can be lost while Redis
 * reconnects.
 */
const POLL_INTERVAL_MS = 5_000;

type Source = Pick<Store, 'redis' | 'keys' | 'changes'>;

/** The event feeds of this process, one for each job that is followed. */
export class EventFeeds {
  readonly #source: Source;
  readonly #feeds = new Map<string, EventFeed>();

  constructor(source: Source) {
    this.#source = source;
  }

  /**
   * Joins the feed of a job. Call the feed's `leave` at the end.
   * @param onNews called whenever there are new events
   * @throws Error when Redis is away
   */
  async join(jobId: string, onNews: () => void): Promise<EventFeed> {
    let feed = this.#feeds.get(jobId);
    if (!feed) {
      feed = new EventFeed(this.#source, jobId, () => this.#feeds.delete(jobId));
      this.#feeds.set(jobId, feed);
    }
    feed.followers.add(onNews);
    try {
      await feed.started;
    } catch (error) {
      feed.leave(onNews);
      throw error;
    }
    return feed;
  }

  /** The number of jobs that are followed. */
  get size(): number {
    return this.#feeds.size;
  }
}

/** The latest events of one job: each is read and serialized once, however many clients follow. */
export class EventFeed {
  /** Resolves when the feed knows the position at which it starts. */
  readonly started: Promise<void>;
  readonly followers = new Set<() => void>();
  readonly #source: Source;
  readonly #jobId: string;
  readonly #onEmpty: () => void;
  readonly #frames: Frame[] = [];
  /**
   * `#frames` holds all events after this position, up to the last one read. Empty before the
   * start.
   */
  #from = '';
  #isReading = false;
  #isReadRequested = false;
  readonly #unsubscribe: () => void;
  readonly #poll: NodeJS.Timeout;

  /** @param onEmpty called when the last follower has left */
  constructor(source: Source, jobId: string, onEmpty: () => void) {
    this.#source = source;
    this.#jobId = jobId;
    this.#onEmpty = onEmpty;
    const read = () => void this.#read();
    this.#unsubscribe = source.changes.on(jobId, read);
    this.#poll = setInterval(read, POLL_INTERVAL_MS);
    this.started = latestPosition(source.redis, source.keys, jobId).then((position) => {
      this.#from = position;
      read(); // notifications before the start were ignored
    });
    this.started.catch(() => {}); // `join` reports the failure
  }

  /**
   * The frames after a position; empty if there are none yet.
   * @returns null when the position is before the first frame in memory: use `readPage`
   */
  after(position: string): readonly Frame[] | null {
    if (comparePositions(position, this.#from) < 0) return null;
    let [low, high] = [0, this.#frames.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePositions(this.#frames[middle].id, position) <= 0) low = middle + 1;
      else high = middle;
    }
    return this.#frames.slice(low);
  }

  /** Reads the next frames after a position from Redis, for one follower that lags. */
  async readPage(position: string): Promise<readonly Frame[]> {
    const { redis, keys } = this.#source;
    return (await readEvents(redis, keys, this.#jobId, position, PAGE_SIZE)).map(toFrame);
  }

  /** Removes a follower. The feed ends with its last one. */
  leave(onNews: () => void): void {
    this.followers.delete(onNews);
    if (this.followers.size > 0) return;
    this.#unsubscribe();
    clearInterval(this.#poll);
    this.#onEmpty();
  }

  /** Reads new events. A call during a read makes it read once more. */
  async #read(): Promise<void> {
    if (this.#from === '') return; // the start reads
    this.#isReadRequested = true;
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isReadRequested) {
        this.#isReadRequested = false;
        const page = await this.readPage(this.#frames.at(-1)?.id ?? this.#from);
        if (page.length === 0) continue;
        if (page.length === PAGE_SIZE) this.#isReadRequested = true;
        // Events after the last event of a job revoke it: the job was retried.
        if (this.#frames.at(-1)?.isLast) this.#frames.pop();
        this.#frames.push(...page);
        const surplus = this.#frames.length - MAX_FRAMES;
        if (surplus > 0) this.#from = this.#frames.splice(0, surplus)[surplus - 1].id;
        for (const onNews of this.followers) onNews();
      }
    } catch {
      // Redis is away. The next poll reads what came meanwhile, because events stay in the stream.
    } finally {
      this.#isReading = false;
    }
  }
}

function toFrame({ id, type, data }: StoredEvent): Frame {
  return { id, bytes: Buffer.from(`id: ${id}\nevent: ${type}\ndata: ${data}\n\n`), isLast: type === 'done' };
}
