import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { EventFeed, EventFeeds } from './event-feed.ts';

/** One client that follows a job. */
export class EventStream {
  readonly #feed: EventFeed;
  readonly #news: NewsSignal;

  private constructor(feed: EventFeed, news: NewsSignal) {
    this.#feed = feed;
    this.#news = news;
  }

  /**
   * Joins the feed of a job.
   * @throws Error when Redis is away
   */
  static async open(feeds: EventFeeds, jobId: string): Promise<EventStream> {
    const news = new NewsSignal();
    return new EventStream(await feeds.join(jobId, news.notify), news);
  }

  /**
   * Sends the events after a position until the job ends or the signal aborts, then leaves the
   * feed.
   * @param raw a response whose headers are sent; it is not ended
   * @throws Error when Redis is away
   */
  async send(
    raw: ServerResponse,
    options: {
      readonly position: string;
      readonly signal: AbortSignal;
      readonly heartbeatMilliseconds: number;
    },
  ): Promise<void> {
    const { signal } = options;
    let { position } = options;
    signal.addEventListener('abort', this.#news.notify);
    const heartbeat = setInterval(sendHeartbeat, options.heartbeatMilliseconds, raw);
    try {
      for (let isDone = false; !isDone && !signal.aborted; ) {
        const frames = this.#feed.after(position) ?? (await this.#feed.readPage(position));
        // News may have come while a page was read.
        const hasNews = () => signal.aborted || (this.#feed.after(position)?.length ?? 0) > 0;
        if (frames.length === 0) await this.#news.wait(hasNews);
        for (const frame of frames) {
          if (signal.aborted) break;
          position = frame.id;
          isDone ||= frame.isLast;
          // A slow client is waited for, because buffering for it would fill the memory.
          if (!raw.write(frame.bytes)) await once(raw, 'drain', { signal }).catch(() => {});
        }
      }
    } finally {
      clearInterval(heartbeat);
      this.#feed.leave(this.#news.notify);
    }
  }
}

/** Wakes the one who waits for news. */
class NewsSignal {
  #wake = () => {};
  readonly notify = () => this.#wake();

  /** Resolves at the next `notify`, or at once when there is news already. */
  wait(hasNews: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (hasNews()) resolve();
    });
  }
}

/** Responses whose client had read nothing at the last heartbeat. */
const stalled = new WeakSet<ServerResponse>();

/**
 * Keeps a quiet connection open. A client that reads nothing between two heartbeats is
 * disconnected.
 */
function sendHeartbeat(raw: ServerResponse): void {
  if (!raw.writableNeedDrain) {
    stalled.delete(raw);
    raw.write(': still here\n\n');
  } else if (stalled.has(raw)) {
    raw.destroy();
  } else {
    stalled.add(raw);
    raw.once('drain', () => stalled.delete(raw));
  }
}
