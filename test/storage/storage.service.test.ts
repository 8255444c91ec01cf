import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.ts';
import { encodePolicy } from '../../src/storage/policy-file.ts';
import { type S3Server, startS3Server } from '../support/s3-server.ts';
import { expectProblem } from '../support/test-api.ts';
import { startTestService, type TestService } from '../support/test-service.ts';

const distribution = {
  shape: [4, 16, 16],
  std: Float32Array.of(1, 1, 1, 1),
  weights: Float32Array.of(0.25, 0.25, 0.25, 0.25),
};
/** A policy file of about 17 kB. */
const file = encodePolicy({ ...distribution, mean: new Float32Array(4 * 1024) }, { prompt: 'a red cat' });
const upload = (url: string) =>
  fetch(new URL('/v1/policies', url), {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: Buffer.from(file),
  });

describe('a service whose storage is a bucket', { timeout: 180_000 }, () => {
  let folder: string;
  let server: S3Server;
  let service: TestService;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'findery-s3-'));
    server = await startS3Server(folder);
    Object.assign(process.env, server.environment);
    service = await startTestService({
      FINDERY_STORAGE: `s3://${server.bucket}/team/findery`,
      FINDERY_WARM: 'none',
    });
    await service.startWorker();
  }, 120_000);
  afterAll(async () => {
    await service?.close();
    for (const name of Object.keys(server.environment)) delete process.env[name];
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('runs jobs, serves images whole and in ranges, and stores no blob in its folder', async () => {
    const client = new Client(service.url);
    const request = {
      prompt: 'a green dog on the grass',
      budget: { images: 4 },
      reportDraws: 0,
      sampler: { steps: 1 },
    };
    const job = await client.follow(await client.createJob({ ...request, samples: 1 }), () => {});
    expect(job.status).toBe('succeeded');
    expect((await client.bytes(`/v1/policies/${job.policyId}/parameters`)).length).toBeGreaterThan(4096);

    const { images } = await client.getSample(String(job.sampleId));
    const url = new URL(images[0].url, service.url);
    const whole = await fetch(url);
    const bytes = Buffer.from(await whole.arrayBuffer());
    const part = await fetch(url, { headers: { range: 'bytes=2-5' } });
    expect([part.status, Buffer.from(await part.arrayBuffer())]).toEqual([206, bytes.subarray(2, 6)]);
    expect(
      (await fetch(url, { headers: { 'if-none-match': String(whole.headers.get('etag')) } })).status,
    ).toBe(304);

    const stored = await readdir(join(folder, server.bucket, 'team', 'findery'));
    expect(stored).toEqual(expect.arrayContaining(['images', 'policies', 'records']));
    expect(await readdir(String(service.environment.FINDERY_DATA))).not.toContain('blobs');
  });

  it('answers 503, also at /readyz, while the bucket is not reachable', async () => {
    await server.close();
    const { detail } = await expectProblem(await upload(service.url), 503, 'unavailable');
    expect(detail).toMatch(/Storage does not answer.*nothing was stored/);
    const ready = await expectProblem(await fetch(new URL('/readyz', service.url)), 503, 'unavailable');
    expect(ready.detail).toContain("Storage can't be written");
    const { data } = (await (await fetch(new URL('/v1/policies', service.url))).json()) as {
      data: unknown[];
    };
    expect(data).toHaveLength(1);
  });
});

/** Whether this system allows a process to mount file systems that only it sees. */
const CAN_MOUNT =
  spawnSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', '/mnt']).status === 0;

describe.skipIf(!CAN_MOUNT)('a service whose disk is full', { timeout: 180_000 }, () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startTestService();
  });
  afterAll(() => service.close());

  it('answers 503, stores nothing of a refused upload, and continues once there is room', async () => {
    const blobs = join(String(service.environment.FINDERY_DATA), 'blobs');
    const mount = 'mount -t tmpfs -o size=256k none "$1" && shift && exec "$@"';
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', 'src/cli/api.ts'];
    const api = spawn('unshare', ['-Urm', '/bin/sh', '-c', mount, 'small', blobs, ...node], {
      env: { ...service.environment, LOG_LEVEL: 'info' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise((resolve) => api.once('exit', resolve));
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let said = '';
        for (const stream of [api.stdout, api.stderr]) {
          stream.on('data', (chunk: Buffer) => {
            said += chunk;
            const found = /listening at (http:\/\/127\.0\.0\.1:\d+)/.exec(said);
            if (found) resolve(found[1]);
          });
        }
        void ended.then(() => reject(new Error(said)));
      });
      const ids: string[] = [];
      let refused: Response | undefined;
      while (!refused && ids.length < 20) {
        const response = await upload(url);
        if (response.status === 201) ids.push(((await response.json()) as { id: string }).id);
        else refused = response;
      }
      expect(ids.length).toBeGreaterThan(2);
      const { detail } = await expectProblem(refused as Response, 503, 'unavailable');
      expect(refused?.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(detail).toBe(
        'Storage is full, so nothing was stored. Try again when the operator has freed space.',
      );
      const { data } = (await (await fetch(`${url}/v1/policies?limit=100`)).json()) as {
        data: { id: string }[];
      };
      expect(data.map(({ id }) => id)).toEqual(ids.toReversed());

      expect((await fetch(`${url}/v1/policies/${ids[0]}`, { method: 'DELETE' })).status).toBe(204);
      expect((await fetch(`${url}/v1/policies/${ids[0]}`)).status).toBe(410);
      expect((await upload(url)).status).toBe(201);
    } finally {
      api.kill();
      await ended;
    }
  });
});
