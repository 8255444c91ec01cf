import type { Redis } from './connection.ts';

type Parameter = string | number;
type Run<A> = (...parameters: Parameter[]) => Promise<A>;

/**
 * A Lua script as a function, one change of Redis: sent by its hash, and with its text to a Redis that does not know it.
 * @param name its own among all scripts
 * @param keys how many of the parameters are KEYS; left out: the first parameter says it
 */
export function defineScript<A>(
  name: string,
  lua: string,
  keys?: number,
): (redis: Redis, ...parameters: Parameter[]) => Promise<A> {
  const command = `findery:${name}`;
  return (redis, ...parameters) => {
    const known = redis as unknown as Record<string, Run<A>>;
    if (!(command in redis))
      redis.defineCommand(command, { lua, ...(keys === undefined ? {} : { numberOfKeys: keys }) });
    return known[command](...parameters);
  };
}
