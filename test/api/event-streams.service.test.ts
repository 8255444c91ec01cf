import { connect, type Socket } from 'node:net';
import { createParser } from 'eventsource-parser';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventFeeds } from '../../src/api/events/event-feed.ts';
import { type RunningApi, startApi } from '../../src/api/server.ts';
import { latestPosition } from '../../src/records/events.ts';
import { queueJob, startTestApi, succeedJob, type TestApi } from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi({}, undefined, { heartbeatMilliseconds: 250 });
});
afterAll(() => api.close());

const startAnother = () =>
  startApi({
    config: api.config,
    redisUrl: api.redisUrl,
    logger: pino({ level: 'silent' }),
  });
const iteration = (id: string, number: number, padding = '') =>
  api.store.jobs.change(id, {
    events: [{ type: 'iteration', sequence: number, data: { iteration: number, padding } }],
  });

/** A client that reconnects with the position of the last event it has seen. */
class Follower {
  readonly seen: string[] = [];
  last = '';
  isDone = false;

  /** Reads until the stream ends, for whatever reason. */
  async follow(url: string, id: string): Promise<void> {
    const headers: Record<string, string> = this.last ? { 'last-event-id': this.last } : {};
    const parser = createParser({
      onEvent: ({ id: position, event, data }) => {
        this.last = position ?? this.last;
        this.isDone ||= event === 'done';
        this.seen.push(event === 'iteration' ? `iteration ${JSON.parse(data).iteration}` : String(event));
      },
    });
    try {
      const response = await fetch(`${url}/v1/jobs/${id}/events`, { headers });
      if (response.status === 503) return; // a slow machine: Redis timed out, try again
      expect(response.status).toBe(200);
      const decoder = new TextDecoder();
      for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>)
        parser.feed(decoder.decode(chunk, { stream: true }));
    } catch (error) {
      if ((error as Error).name !== 'TypeError') throw error; // the connection broke
    }
  }
}

const allEvents = (iterations: number) => [
  'status',
  ...Array.from({ length: iterations }, (_, i) => `iteration ${i + 1}`),
  'status',
  'done',
];

describe('the events of a job', () => {
  it('arrive once each, from several API processes and across their restarts', async () => {
    const { id } = await queueJob(api);
    let apis: RunningApi[] = await Promise.all([startAnother(), startAnother()]);
    const followers = Array.from({ length: 4 }, () => new Follower());
    let isOver = false;
    const all = followers.map(async (follower, i) => {
      for (let turn = i; !follower.isDone && !isOver; turn++) {
        await follower.follow(apis[turn % 2].url, id);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    let written = 0;
    const write = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const next = ++written;
        // A command may time out on a slow machine. Repeating it writes no second event.
        while ((await iteration(id, next).catch(() => null)) !== 'done');
      }
    };
    try {
      for (const which of [0, 1]) {
        const writing = write(100);
        const old = apis[which];
        const fresh = await startAnother();
        apis = apis.map((one, i) => (i === which ? fresh : one));
        await old.close();
        await writing;
      }
      await succeedJob(api, id);
      await Promise.all(all);
      for (const { seen } of followers) expect(seen).toEqual(allEvents(200));
    } finally {
      isOver = true;
      await Promise.all(apis.map((one) => one.close()));
    }
  });

  it('are complete for clients that come late or lag', async () => {
    const { id } = await queueJob(api);
    for (let i = 1; i <= 1200; i += 100)
      await Promise.all(Array.from({ length: 100 }, (_, k) => iteration(id, i + k)));
    const early = new Follower();
    const [following, late] = [early.follow(api.url, id), new Follower()];
    await expect.poll(() => early.seen.length, { timeout: 20_000 }).toBe(1201);
    for (let i = 1201; i <= 1500; i++) await iteration(id, i);
    const catchingUp = late.follow(api.url, id); // begins while the other one has seen all events
    await succeedJob(api, id);
    await Promise.all([following, catchingUp]);
    expect(early.seen).toEqual(allEvents(1500));
    expect(late.seen).toEqual(allEvents(1500));
  });

  it('are replayed from the beginning for a position in the future', async () => {
    const { id } = await queueJob(api);
    await succeedJob(api, id);
    const follower = new Follower();
    follower.last = '9999999999999999999-0';
    await follower.follow(api.url, id);
    expect(follower.seen).toEqual(allEvents(0));
  });

  it('are read from Redis once for all followers', async () => {
    const { id } = await queueJob(api);
    let reads = 0;
    const { redis, keys, changes } = api.store;
    const counting = new Proxy(redis, {
      get(target, name) {
        if (name === 'xrange') reads++;
        const value = Reflect.get(target, name) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const feeds = new EventFeeds({ redis: counting, keys, changes });
    let notified = 0;
    const followers = Array.from({ length: 1000 }, () => () => void notified++);
    const joined = await Promise.all(followers.map((onNews) => feeds.join(id, onNews)));
    expect([new Set(joined).size, feeds.size]).toEqual([1, 1]);
    const [feed] = joined;
    const before = (await feed.readPage('0-0')).at(-1)?.id ?? '';
    reads = 0;
    for (let i = 1; i <= 10; i++) await iteration(id, i);
    await expect.poll(() => feed.after(before)?.length, { timeout: 10_000 }).toBe(10);
    expect(reads).toBeLessThanOrEqual(30);
    expect(notified).toBeGreaterThanOrEqual(1000);
    for (const onNews of followers) feed.leave(onNews);
    expect(feeds.size).toBe(0);
  });

  it('lose the last event when a retry revokes it', async () => {
    const { id } = await queueJob(api);
    const feeds = new EventFeeds(api.store);
    const onNews = () => {};
    const feed = await feeds.join(id, onNews);
    const at = await latestPosition(api.store.redis, api.store.keys, id);
    const isEnded = () => feed.after(at)?.map(({ isLast }) => isLast);
    await api.store.queues.remove('optimize', id);
    await api.store.jobs.change(id, { set: { status: 'failed' }, events: [{ type: 'done', data: {} }] });
    await expect.poll(isEnded).toEqual([true]);
    expect((await api.post(`/v1/jobs/${id}/retry`)).status).toBe(202);
    await expect.poll(isEnded).toEqual([false]);
    feed.leave(onNews);
  });

  it('are not buffered for a client that reads nothing: it is disconnected', async () => {
    const { id } = await queueJob(api);
    const { port } = new URL(api.url);
    const socket: Socket = connect(Number(port), '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    await new Promise((resolve) => socket.once('readable', resolve));
    // More bytes than the socket buffers of both ends hold.
    for (let i = 1; i <= 300; i++) await iteration(id, i, 'x'.repeat(60_000));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await succeedJob(api, id);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text).toMatch(/event: iteration/);
    expect(text).not.toMatch(/event: done/);
    expect(text.length).toBeLessThan(300 * 60_000);
  });
});
