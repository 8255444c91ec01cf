import { comparePositions, latestPosition, readEvents, type StoredEvent } from '../records/events.ts';
import type { Store } from '../store/store.ts';

/** An event as it goes out, written once for all who follow. */
export interface Frame {
  readonly id: string;
  readonly bytes: Buffer;
  /** The last one of its job. */
  readonly isLast: boolean;
}

/** Frames that are kept for those who are a little behind; who is further behind reads by himself. */
const KEPT = 256;
/** Events that are read at a time. */
const PAGE = 500;
/** Milliseconds after which is looked though nothing was heard: a message can be missed while Redis reconnects. */
const LOOK = 5_000;

type Source = Pick<Store, 'redis' | 'keys' | 'changes'>;

/** The feeds of the jobs that are followed in this process: a job's new events are read once, however many follow it. */
export class EventFeeds {
  readonly #source: Source;
  readonly #feeds = new Map<string, EventFeed>();

  constructor(source: Source) {
    this.#source = source;
  }

  /**
   * Joins the feed of a job; `leave` it in the end.
   * @param onNews called whenever there is something new
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

  /** Jobs that are followed at the moment. */
  get size(): number {
    return this.#feeds.size;
  }
}

/** What those who follow one job read together: its latest events, from when the first of them came. */
export class EventFeed {
  /** Resolves when it knows where it begins. */
  readonly started: Promise<void>;
  readonly followers = new Set<() => void>();
  readonly #source: Source;
  readonly #jobId: string;
  readonly #onEmpty: () => void;
  readonly #frames: Frame[] = [];
  /** All events after this position, up to the latest read, are in `frames`. */
  #from = '';
  #isReading = false;
  #isAsked = false;
  readonly #off: () => void;
  readonly #look: NodeJS.Timeout;

  constructor(source: Source, jobId: string, onEmpty: () => void) {
    this.#source = source;
    this.#jobId = jobId;
    this.#onEmpty = onEmpty;
    const read = () => void this.#read();
    this.#off = source.changes.on(jobId, read);
    this.#look = setInterval(read, LOOK);
    this.started = latestPosition(source.redis, source.keys, jobId).then((position) => {
      this.#from = position;
      read(); // what was said before it knew where to begin
    });
    this.started.catch(() => {}); // whoever joins hears it
  }

  /**
   * The frames after a position, none when there are none yet; null when it is too far behind for this feed: read the
   * next page by `readPage`.
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

  /** The next frames after a position, from Redis, for one follower alone. */
  async readPage(position: string): Promise<readonly Frame[]> {
    const { redis, keys } = this.#source;
    return (await readEvents(redis, keys, this.#jobId, position, PAGE)).map(toFrame);
  }

  /** One follower less; the last one ends it. */
  leave(onNews: () => void): void {
    this.followers.delete(onNews);
    if (this.followers.size > 0) return;
    this.#off();
    clearInterval(this.#look);
    this.#onEmpty();
  }

  /** Reads what is new; asked while it reads, it reads once more. */
  async #read(): Promise<void> {
    if (this.#from === '') return; // it will, once it has begun
    this.#isAsked = true;
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (this.#isAsked) {
        this.#isAsked = false;
        const page = await this.readPage(this.#frames.at(-1)?.id ?? this.#from);
        if (page.length === 0) continue;
        if (page.length === PAGE) this.#isAsked = true;
        // What comes after the last event of a job takes it back: it was tried again.
        if (this.#frames.at(-1)?.isLast) this.#frames.pop();
        this.#frames.push(...page);
        const surplus = this.#frames.length - KEPT;
        if (surplus > 0) this.#from = this.#frames.splice(0, surplus)[surplus - 1].id;
        for (const tell of this.followers) tell();
      }
    } catch {
      // Redis is away; it is looked again soon, and what came meanwhile is in the stream.
    } finally {
      this.#isReading = false;
    }
  }
}

function toFrame({ id, type, data }: StoredEvent): Frame {
  return { id, bytes: Buffer.from(`id: ${id}\nevent: ${type}\ndata: ${data}\n\n`), isLast: type === 'done' };
}
