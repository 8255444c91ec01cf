import { describe, expect, it } from 'vitest';
import { ensureRedis } from '../../../src/cli/redis/ensure-redis.ts';
import { redactUrl } from '../../../src/redis/address.ts';
import { answers, query, useRedisLauncher } from '../../support/redis-launcher.ts';

const launcher = useRedisLauncher();

describe('a given Redis', () => {
  it('is used as it is and left running', async () => {
    const { url } = await launcher.start();
    const given = await ensureRedis({ url, dataDir: launcher.dataDir, log: () => {} });
    expect(given).toMatchObject({ url, origin: 'given' });
    await given.stop();
    expect(await answers(url)).toBe(true);
  });

  it('must answer; the error names REDIS_URL and hides the password', async () => {
    const attempt = ensureRedis({
      url: 'redis://me:secret@127.0.0.1:1/0',
      dataDir: launcher.dataDir,
      log: () => {},
    });
    await expect(attempt).rejects.toThrow(
      /REDIS_URL \(redis:\/\/me:\*\*\*@127\.0\.0\.1:1\/0\).*ECONNREFUSED/s,
    );
    await expect(attempt).rejects.not.toThrow('secret');
  });

  it('must accept the password in REDIS_URL', async () => {
    const { url } = await launcher.start();
    await query(url, (client) => client.config('SET', 'requirepass', 'right'));
    const wrong = `${url}?password=wrong`;
    await expect(ensureRedis({ url: wrong, dataDir: launcher.dataDir, log: () => {} })).rejects.toThrow(
      /can't be used: WRONGPASS/,
    );
    await expect(ensureRedis({ url, dataDir: launcher.dataDir, log: () => {} })).rejects.toThrow(
      /can't be used: NOAUTH/,
    );
    const right = `${url}?password=right`;
    expect((await ensureRedis({ url: right, dataDir: launcher.dataDir, log: () => {} })).url).toBe(right);
  });

  it.each([
    ['redis://:p@ss@host:6379', 'redis://:***@host:6379'],
    ['rediss://user:word@host/1?password=word', 'rediss://user:***@host/1?password=***'],
    ['redis://host:6379', 'redis://host:6379'],
    ['redis-sentinel://me:secret@one:1,two:2/main', 'redis-sentinel://me:***@one:1,two:2/main'],
    [
      'redis-sentinel://secret@one/main?sentinelPassword=x',
      'redis-sentinel://***@one/main?sentinelPassword=***',
    ],
    ['/run/redis.sock', '/run/redis.sock'],
  ])('%s is printed as %s', (url, shown) => {
    expect(redactUrl(url)).toBe(shown);
  });
});
