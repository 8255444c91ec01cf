import { expect, it } from 'vitest';
import { StreamLimiter } from '../../src/api/events/stream-limiter.ts';

it('a key has a limited number of event streams at a time; without keys there is no limit', () => {
  const limiter = new StreamLimiter(2);
  const end = limiter.start('a');
  limiter.start('a');
  expect(() => limiter.start('a')).toThrow(
    expect.objectContaining({ code: 'rate-limited', message: expect.stringMatching(/at most 2/) }),
  );
  limiter.start('b');
  end();
  limiter.start('a');
  expect(() => limiter.start('a')).toThrow('at most 2');
  for (let i = 0; i < 5; i++) limiter.start(null);
});
