import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  PROMPT,
  queueJob,
  readOk,
  startTestApi,
  succeedJob,
  type TestApi,
  timed,
} from '../support/test-api.ts';

/** No worker runs here; the tests change records as a worker would. */
let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('Prefer: wait', () => {
  it('answers as soon as the status changes', async () => {
    const { id } = await queueJob(api);
    setTimeout(() => void api.store.jobs.change(id, { set: { status: 'running' } }), 300);
    const [milliseconds, response] = await timed(() => api.get(`/v1/jobs/${id}`, { prefer: 'wait=20' }));
    expect(await readOk(response, 200)).toMatchObject({ status: 'running' });
    expect(response.headers.get('preference-applied')).toBe('wait=20');
    expect(milliseconds).toBeGreaterThan(250);
    expect(milliseconds).toBeLessThan(3000);
  });

  it('ignores changes other than of the status, and answers when the time is over', async () => {
    const { id } = await queueJob(api);
    setTimeout(() => void api.store.jobs.change(id, { set: { attempts: 1 } }), 200);
    const [milliseconds, response] = await timed(() =>
      api.get(`/v1/jobs/${id}`, { prefer: 'respond-async, wait=1' }),
    );
    expect(await readOk(response, 200)).toMatchObject({ status: 'queued', attempts: 1 });
    expect(response.headers.get('preference-applied')).toBe('wait=1');
    expect(milliseconds).toBeGreaterThan(950);
    expect(milliseconds).toBeLessThan(4000);
  });

  it('does not hold the response for a job that has ended, or without the header', async () => {
    const { id } = await queueJob(api);
    expect((await api.get(`/v1/jobs/${id}`)).headers.get('preference-applied')).toBeNull();
    expect(
      (await api.get(`/v1/jobs/${id}`, { prefer: 'waiting=9' })).headers.get('preference-applied'),
    ).toBeNull();
    await succeedJob(api, id);
    const [milliseconds] = await timed(() => api.get(`/v1/jobs/${id}`, { prefer: 'wait' }));
    expect(milliseconds).toBeLessThan(1000);
  });

  it('holds POST /v1/jobs until the job has ended', async () => {
    const body = { prompt: PROMPT, metadata: { held: 'yes' } };
    const held = api.post('/v1/jobs', body, { prefer: 'wait=20' });
    await expect
      .poll(async () => {
        const { data } = await api.store.jobs.list({
          limit: 1,
          filter: ({ metadata }) => metadata.held === 'yes',
        });
        if (data[0]) await succeedJob(api, data[0].id);
        return data.length;
      })
      .toBe(1);
    const response = await held;
    expect(await readOk(response, 202)).toMatchObject({ status: 'succeeded' });
    expect(response.headers.get('retry-after')).toBeNull();
  });

  it('holds GET /v1/samples/{id}', async () => {
    const response = await api.post('/v1/samples', { prompt: PROMPT, count: 2, bestOf: 3, format: 'webp' });
    const sample = await readOk(response, 202);
    expect(sample).toMatchObject({
      object: 'sample',
      status: 'queued',
      policyId: null,
      count: 2,
      bestOf: 3,
      images: [],
    });
    expect(response.headers.get('location')).toBe(`/v1/samples/${sample.id}`);
    setTimeout(() => void api.store.samples.change(String(sample.id), { set: { status: 'succeeded' } }), 200);
    const [milliseconds, later] = await timed(() =>
      api.get(`/v1/samples/${sample.id}`, { prefer: 'wait=20' }),
    );
    expect(await readOk(later, 200)).toMatchObject({ status: 'succeeded' });
    expect(milliseconds).toBeLessThan(3000);
  });
});

describe('GET /v1/jobs/{id}/events', () => {
  interface Event {
    readonly id: string;
    readonly event: string;
    readonly data: Record<string, unknown>;
  }

  /** Reads a stream of events until it ends, or disconnects after `enough` events. */
  async function follow(
    path: string,
    headers: Record<string, string> = {},
    enough = Number.POSITIVE_INFINITY,
  ) {
    const disconnect = new AbortController();
    const response = await fetch(`${api.url}${path}`, { headers, signal: disconnect.signal });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('x-request-id')).toMatch(/^req_/);
    const events: Event[] = [];
    let text = '';
    let start = '';
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString('utf8');
      start ||= text;
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
        if (fields.event) events.push({ ...fields, data: JSON.parse(fields.data) } as Event);
      }
      if (events.length >= enough) break;
    }
    disconnect.abort();
    expect(start).toMatch(/^retry: \d+\n\n/);
    return events;
  }

  const iteration = (id: string, number: number) =>
    api.store.jobs.change(id, {
      events: [{ type: 'iteration', sequence: number, data: { iteration: number } }],
    });
  const kinds = (events: Event[]) =>
    events.map(({ event, data }) => `${event} ${data.iteration ?? data.status}`);

  it('replays all events, sends new ones, and ends after done', async () => {
    const { id } = await queueJob(api);
    await iteration(id, 1);
    const stream = follow(`/v1/jobs/${id}/events`);
    setTimeout(() => void iteration(id, 2).then(() => succeedJob(api, id)), 200);
    expect(kinds(await stream)).toEqual([
      'status queued',
      'iteration 1',
      'iteration 2',
      'status succeeded',
      'done succeeded',
    ]);
    // A client that comes later gets the same.
    expect(await follow(`/v1/jobs/${id}/events`)).toHaveLength(5);
  });

  it('replays only missed events after Last-Event-ID', async () => {
    const { id } = await queueJob(api);
    await iteration(id, 1);
    const seen = await follow(`/v1/jobs/${id}/events`, {}, 2);
    await iteration(id, 2);
    await iteration(id, 2); // repeated as after a crash: one event
    await succeedJob(api, id);
    const missed = ['iteration 2', 'status succeeded', 'done succeeded'];
    expect(kinds(await follow(`/v1/jobs/${id}/events`, { 'last-event-id': seen[1].id }))).toEqual(missed);
    expect(kinds(await follow(`/v1/jobs/${id}/events?lastEventId=${seen[1].id}`))).toEqual(missed);
  });

  it('answers 204 when the job has ended and the client has all events: EventSource stops', async () => {
    const { id } = await queueJob(api);
    await succeedJob(api, id);
    const last = (await follow(`/v1/jobs/${id}/events`)).at(-1);
    const response = await api.get(`/v1/jobs/${id}/events`, { 'last-event-id': String(last?.id) });
    expect(response.status).toBe(204);
  });

  it('answers 405 to HEAD', async () => {
    const { id } = await queueJob(api);
    const response = await api.send('HEAD', `/v1/jobs/${id}/events`);
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET']);
  });

  it('ends without done when the server closes', async () => {
    const own = await startTestApi();
    const { id } = await queueJob(own);
    const stream = fetch(`${own.url}/v1/jobs/${id}/events`).then((response) => response.text());
    const held = own.get(`/v1/jobs/${id}`, { prefer: 'wait=30' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const [milliseconds] = await timed(() => own.close());
    expect(milliseconds).toBeLessThan(3000);
    expect(await stream).toMatch(/^retry: 2000\n\nid: \S+\nevent: status\n.*\n\n$/);
    expect(await readOk(await held, 200)).toMatchObject({ status: 'queued' });
  });

  it.each(['nonsense', '-1', '1-2-3', '99999999999999999999', '*'])(
    'replays all events for the invalid position "%s"',
    async (last) => {
      const { id } = await queueJob(api);
      await succeedJob(api, id);
      expect(await follow(`/v1/jobs/${id}/events`, { 'last-event-id': last })).toHaveLength(3);
    },
  );

  it('ends with done for a canceled job', async () => {
    const { id } = await queueJob(api);
    await api.post(`/v1/jobs/${id}/cancel`);
    const events = await follow(`/v1/jobs/${id}/events`);
    expect(kinds(events)).toEqual(['status queued', 'status canceled', 'done canceled']);
    expect(events[2].data).toEqual(await readOk(await api.get(`/v1/jobs/${id}`), 200));
  });
});
