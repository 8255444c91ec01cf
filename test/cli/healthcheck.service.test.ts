import { execFile } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RedisServer, RedisServers } from '../support/redis-servers.ts';

/** The health check of a worker's container, in which no worker runs. */
const servers = new RedisServers();
let redis: RedisServer;
beforeAll(async () => {
  redis = await servers.start();
});
afterAll(() => servers.close());

const AWAY = 'redis://127.0.0.1:1';

/** Runs `healthcheck.ts`. @returns exit status and output */
function check(url: string, ...args: string[]): Promise<{ status: number; output: string }> {
  const command = ['--disable-warning=ExperimentalWarning', 'src/cli/healthcheck.ts', ...args];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      command,
      { env: { ...process.env, REDIS_URL: url } },
      (error, stdout, stderr) => resolve({ status: error ? Number(error.code) : 0, output: stdout + stderr }),
    );
  });
}

describe('the health check of a worker', () => {
  it('fails while the worker is not announced', async () => {
    for (const args of [['worker'], ['worker', 'alive']]) {
      const { status, output } = await check(redis.url, ...args);
      expect(output).toMatch(/No worker on .* has reported in the last 10 s/);
      expect(status).toBe(1);
    }
  });

  it('fails while Redis is away, except that a restart would not help ("alive")', async () => {
    expect((await check(AWAY, 'worker')).status).toBe(1);
    const alive = await check(AWAY, 'worker', 'alive');
    expect(alive.output).toMatch(/a worker waits for it/);
    expect(alive.status).toBe(0);
  });
});
