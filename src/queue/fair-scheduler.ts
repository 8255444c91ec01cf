import { DEFAULT_TENANT } from '../contract/tenants.ts';
import type { Redis } from '../redis/connection.ts';
import { defineScript } from '../redis/lua-script.ts';

/**
 * Whose turn it is in one queue. All that waits is in BullMQ's `prioritized` set, from the moment that it is accepted; what is kept
 * here only says in which order. Nothing can be lost between the two, whatever crashes: at worst a turn is given late.
 *
 * Of each tenant one entry, the best that it has waiting, is IN TURN: priority 1, and its score is when the tenant was last served, so
 * the one that was served longest ago is next. All others are PARKED behind these, by priority and age. When an entry is taken
 * or removed, the tenant's next one comes in turn (`deal`). What a worker gives back is in turn again at once, beside its tenant's next one.
 *
 * `waiting:TENANT`: what waits, at the score at which it is parked · `head`: each tenant's entry in turn ·
 * `served`: when each tenant was last served · `tenants`: who has something waiting, by when that was last looked at ·
 * `clock`: counts what happens here; BullMQ's own counter begins anew whenever its queue was empty.
 */
/**
 * Functions of the scripts here, and of the one that accepts work (`accept-script.ts`).
 * @param queue Lua of the prefix of BullMQ's keys
 * @param turns Lua of the prefix of ours
 */
export const schedulingFunctions = (queue: string, turns: string) => `
local queue, turns = ${queue}, ${turns}
local prioritized, head, served, tenants = queue .. 'prioritized', turns .. 'head', turns .. 'served', turns .. 'tenants'
local PARKED, STEP = 0x200000000, 0x100000000
local call = redis.call

local function tick() return call('INCR', turns .. 'clock') % STEP end

local function tenant_of(id)
  local data = call('HGET', queue .. id, 'data')
  return data and cjson.decode(data).tenant or '${DEFAULT_TENANT}'
end

local function place(id, score)
  call('ZADD', prioritized, 'XX', score, id)
  call('HSET', queue .. id, 'priority', math.floor(score / STEP))
end

local function first_of(waiting)
  while true do
    local first = call('ZRANGE', waiting, 0, 0)[1]
    if not first or call('ZSCORE', prioritized, first) then return first end
    call('ZREM', waiting, first)
  end
end

local function deal(tenant)
  local waiting = turns .. 'waiting:' .. tenant
  local first, now = first_of(waiting), call('HGET', head, tenant)
  if now and now ~= first then
    local parked_at = call('ZSCORE', waiting, now)
    if parked_at and call('ZSCORE', prioritized, now) then place(now, tonumber(parked_at)) end
  end
  if not first then
    call('HDEL', head, tenant)
    call('ZREM', tenants, tenant)
    return
  end
  call('HSET', head, tenant, first)
  call('ZADD', tenants, tick(), tenant)
  place(first, STEP + tonumber(call('HGET', served, tenant) or '0'))
end

local function is_in_turn(id)
  local score = tonumber(call('ZSCORE', prioritized, id) or '0')
  return score > 0 and score < PARKED
end

local function enrol(id)
  local score = tonumber(call('ZSCORE', prioritized, id) or '0')
  if score < PARKED then return nil end
  local tenant = tenant_of(id)
  if call('ZADD', turns .. 'waiting:' .. tenant, 'NX', score, id) == 0 then return nil end
  return tenant
end

local function before(a, b)
  local at, bt = tonumber(call('ZSCORE', prioritized, a) or '0'), tonumber(call('ZSCORE', prioritized, b) or '0')
  if at ~= bt then return at < bt end
  return a < b
end

-- How much is served before it, if nothing else comes; -1 when it does not wait. Of every other tenant that is as many as it has
-- itself before it, and one more where that tenant comes first in each round. heads: all of head.
local function ahead_of(id, own, heads)
  if not call('ZSCORE', prioritized, id) then return -1 end
  own = own or tenant_of(id)
  local place, mine = call('ZRANK', turns .. 'waiting:' .. own, id), nil
  for k = 1, #heads, 2 do if heads[k] == own then mine = heads[k + 1] end end
  if not place or not mine then return call('ZRANK', prioritized, id) end
  local ahead = place
  for k = 1, #heads, 2 do
    if heads[k] ~= own then
      local rounds = place + (before(heads[k + 1], mine) and 1 or 0)
      ahead = ahead + math.min(rounds, call('ZCARD', turns .. 'waiting:' .. heads[k]))
    end
  end
  return ahead
end
`;

const SHARED = schedulingFunctions('ARGV[1]', 'ARGV[2]');

/** ARGV: ids that were put into the queue. Deals to their tenants. */
const ENROL = `${SHARED}
local changed = {}
for i = 3, #ARGV do
  local tenant = enrol(ARGV[i])
  if tenant then changed[tenant] = true end
end
for tenant in pairs(changed) do deal(tenant) end
`;

/**
 * ARGV: tenant, an id that left the queue, and whether a worker took it. Looks after one other tenant too, the one that was looked at
 * longest ago: should a crash have kept its turn from it, it gets it now.
 */
const LEAVE = `${SHARED}
local tenant, id, taken = ARGV[3], ARGV[4], ARGV[5]
if taken == '1' then
  call('HSET', served, tenant, tick())
  if call('EXISTS', queue .. id) == 1 then call('HSET', queue .. id, 'priority', 1) end
end
call('ZREM', turns .. 'waiting:' .. tenant, id)
deal(tenant)
local other = call('ZRANGE', tenants, 0, 0)[1]
if other and other ~= tenant then deal(other) end
`;

/** ARGV: ids. For each: how much is served before it. */
const AHEAD = `${SHARED}
local heads, answers = call('HGETALL', head), {}
for i = 3, #ARGV do answers[#answers + 1] = ahead_of(ARGV[i], nil, heads) end
return answers
`;

/** The priority with which work is put into BullMQ's queue; `turns` gives it another one when its turn comes. */
export const DEFERRED_PRIORITY = { high: 2, normal: 3, low: 4 } as const;

const enrol = defineScript<null>('enrol', ENROL, 0);
const leave = defineScript<null>('leave', LEAVE, 0);
const ahead = defineScript<number[]>('ahead', AHEAD, 0);

/** Round-robin between the tenants of one queue of BullMQ. */
export class FairScheduler {
  readonly #redis: Redis;
  readonly #queue: string;
  readonly #turns: string;

  /**
   * @param queue prefix of BullMQ's keys of this queue, with the colon
   * @param turns prefix of ours
   */
  constructor(redis: Redis, queue: string, turns: string) {
    this.#redis = redis;
    this.#queue = queue;
    this.#turns = turns;
  }

  /** To be called after work was put into the queue; does no harm to what was known. */
  async register(...ids: string[]): Promise<void> {
    await enrol(this.#redis, this.#queue, this.#turns, ...ids);
  }

  /** To be called when a worker has begun with it. */
  async started(tenant: string, id: string): Promise<void> {
    await leave(this.#redis, this.#queue, this.#turns, tenant, id, 1);
  }

  /** To be called when it was taken out of the queue. */
  async removed(tenant: string, id: string): Promise<void> {
    await leave(this.#redis, this.#queue, this.#turns, tenant, id, 0);
  }

  /** 1 for the next to be served, as things stand; null for what doesn't wait. */
  async position(id: string): Promise<number | null> {
    const [before] = await ahead(this.#redis, this.#queue, this.#turns, id);
    return before < 0 ? null : before + 1;
  }

  /** How much a tenant has waiting. */
  async count(tenant: string): Promise<number> {
    return this.#redis.zcard(`${this.#turns}waiting:${tenant}`);
  }

  /** Enrols all that waits and is unknown here: after a crash between queue and turns, or queued by an older version. */
  async settle(): Promise<void> {
    let cursor = '0';
    do {
      const [next, entries] = await this.#redis.zscan(`${this.#queue}prioritized`, cursor, 'COUNT', 500);
      const ids = entries.filter((_, i) => i % 2 === 0);
      if (ids.length > 0) await this.register(...ids);
      cursor = next;
    } while (cursor !== '0');
  }
}
