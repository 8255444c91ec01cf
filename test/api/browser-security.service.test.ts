import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { expectProblem, startTestApi, type TestApi } from '../support/test-api.ts';

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.close());

describe('security headers', () => {
  it('keep browsers from showing a response as a page, except for /docs', async () => {
    const response = await api.get('/healthz');
    expect(response.headers.get('content-security-policy')).toBe(
      "default-src 'none'; frame-ancestors 'none'",
    );
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    const docs = await api.get('/docs/');
    expect(docs.headers.get('content-security-policy')).toMatch(/script-src 'self'/);
  });
});

describe('CORS', () => {
  it('admits pages of the configured origins, with a preflight for requests that have a key', async () => {
    const origin = 'https://app.example.com';
    const own = await startTestApi({ corsOrigins: [origin] });
    onTestFinished(() => own.close());
    const preflight = await own.send('OPTIONS', '/v1/jobs', {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
    expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization');
    const response = await own.get('/v1/jobs', { origin });
    expect(response.headers.get('access-control-allow-origin')).toBe(origin);
    expect(response.headers.get('access-control-expose-headers')).toContain('ratelimit');
    const other = await own.get('/v1/jobs', { origin: 'https://evil.example' });
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
    await expectProblem(await own.get('/nothing'), 404, 'not-found');
  });
});
