import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createLogger } from '../../src/cli/logger.ts';
import { createKey, withHeaders } from '../support/api-keys.ts';
import { PROMPT, queueJob, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;
const lines: { [name: string]: unknown }[] = [];
const log = new Writable({
  write(chunk: Buffer, _encoding, done) {
    for (const line of String(chunk).split('\n').filter(Boolean)) lines.push(JSON.parse(line));
    done();
  },
});

beforeAll(async () => {
  api = await startTestApi({}, pino({ level: 'info' }, log));
});
afterAll(() => api.close());

describe('the audit', () => {
  it('has a line for every write and every refusal, without secrets', async () => {
    const { key, secret, headers } = await createKey(api, { tenant: 'seen', name: 'studio' });
    const holder = withHeaders(api, headers);
    const { id } = await queueJob(holder);
    await holder.post(`/v1/jobs/${id}/cancel`);
    await holder.post('/v1/jobs', { prompt: '' });
    await holder.get('/v1/jobs');
    await api.post('/v1/jobs', { prompt: PROMPT });
    const of = () => lines.filter((line) => line.audit === true);
    await expect.poll(() => of().filter((line) => line.tenant === 'seen')).toHaveLength(3);
    expect(of().filter((line) => line.tenant === 'seen')).toMatchObject([
      { key: key.id, keyName: 'studio', action: 'createJob', target: id, status: 202, outcome: 'done' },
      { key: key.id, action: 'cancelJob', target: id, status: 200, outcome: 'done' },
      { key: key.id, action: 'createJob', target: null, status: 400, outcome: 'failed' },
    ]);
    expect(of().at(-1)).toMatchObject({ tenant: null, action: 'createJob', status: 401, outcome: 'refused' });
    expect(JSON.stringify(lines)).not.toContain(secret.slice(4));
  });
});

describe('the log', () => {
  it('has every request under its id, and under the id of the job that it is about', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const own = await startTestApi({}, logger);
    onTestFinished(() => own.close());
    const { id } = await queueJob(own, {}, { 'x-request-id': 'first' });
    await own.get(`/v1/jobs/${id}?x=1`, { 'x-request-id': 'second' });
    await own.post(`/v1/jobs/${id}/cancel`, undefined, { 'x-request-id': 'third' });
    await own.get('/v1/jobs/not-an-id', { 'x-request-id': 'fourth' });
    const jobOf = (message: string, requestId: string) =>
      lines.filter((line) => line.msg === message && line.requestId === requestId).map(({ jobId }) => jobId);
    await expect.poll(() => jobOf('request completed', 'first')).toEqual([id]);
    await expect.poll(() => jobOf('request completed', 'second')).toEqual([id]);
    const urlOf = (requestId: string) => lines.find((line) => line.requestId === requestId && line.url)?.url;
    expect(urlOf('second')).toBe(`/v1/jobs/${id}`); // the query may hold metadata
    expect(jobOf('job cancel requested', 'third')).toEqual([id]);
    await expect.poll(() => jobOf('request completed', 'fourth')).toEqual([undefined]);
  });

  it('replaces secrets that are logged under known names', () => {
    const logger = createLogger({ ...api.config, logLevel: 'info' }, 'test');
    const written: string[] = [];
    // The symbol of pino's stream is not in its types.
    const stream = (logger as unknown as { [name: symbol]: { write(line: string): void } })[
      pino.symbols.streamSym
    ];
    stream.write = (line) => void written.push(line);
    logger.info(
      { headers: { authorization: 'Bearer fdy_x' }, webhook: { secret: 'whsec_x' }, secret: 'x1' },
      'hello',
    );
    logger.info({ req: { headers: { authorization: 'Bearer fdy_x' } } }, 'hello');
    expect(written.join('')).not.toMatch(/fdy_x|whsec_x|x1/);
    expect(written.join('')).toMatch(/\*\*\*/);
  });
});
