import { DEFAULT_TENANT } from './tenants.ts';
import { turnFunctions } from './turns.ts';

/** Keys and values that a call has for all of its work, and keys that it has for each. */
const SHARED_KEYS = 4;
const SHARED_VALUES = 3;
export const KEYS_OF_EACH = 6;

/**
 * Accepts new work, all or nothing of each: counts it in, writes its record, puts it into BullMQ's queue and into its
 * tenant's turns, and tells its place. One script, so one trip and one flush of Redis for what would be five of each, and no crash
 * comes in between. Whether its limits are passed is looked at in the same step, so requests at the same time can't pass one together.
 *
 * `add_entry` does what `addPrioritizedJob` of BullMQ does for an entry with an id of ours and without parents, delays and deduplication, but for BullMQ's
 * counter of ids and its stream of events, which nobody reads here. Its whole script would take as much time as all the rest. A test holds what
 * is written against `Queue.add` (`test/service/accepting.test.ts`), so that a BullMQ which does something else is noticed.
 *
 * Should the queue refuse it all the same, the work is accepted, remembered as not queued, and upkeep queues it (`waiting.ts`).
 * Sent again by a connection that broke before the answer, it finds the record and changes nothing.
 *
 * KEYS: unqueued, deadlines, stored bytes, index; for each: record, its tenant's index, children, images asked today, what waits of the tenant in
 * the two queues. ARGV: prefixes of BullMQ's keys and of the turns, name of the queue; for each: how many values `fields` are, then as named in `accept`,
 * then `fields`. Answers one for each: `{'ok', place}` (how much is served before it), `{'there'}`, `{'taken'}` (the id is another tenant's), the limit that
 * would be passed, `{'bytes' | 'queued' | 'images', used}`, or `{'failed', message}`.
 */
export const ACCEPT = `
local unqueued, deadlines, stored, index = unpack(KEYS)
${turnFunctions('ARGV[1]', 'ARGV[2]')}
local function add_entry(id, tenant, waiting, timestamp, options, priority)
  local entry = queue .. id
  local fresh = call('HSET', entry, 'name', ARGV[3], 'data', '{"id":"' .. id .. '","tenant":"' .. tenant .. '"}', 'opts', options,
    'timestamp', timestamp, 'delay', 0, 'priority', priority)
  if fresh < 6 then return end
  local score = priority * STEP + call('INCR', queue .. 'pc') % STEP
  call('ZADD', prioritized, score, id)
  call('ZADD', waiting, score, id)
  local held = call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  if held[1] or (held[2] and call('LLEN', queue .. 'active') >= tonumber(held[2])) then return end
  call('ZADD', queue .. 'marker', 0, '0')
end

local function enqueue(id, tenant, waiting, ...)
  add_entry(id, tenant, waiting, ...)
  local heads, rank, mine = call('HGETALL', head), call('ZRANK', waiting, id), nil
  for i = 1, #heads, 2 do if heads[i] == tenant then mine = heads[i + 1] end end
  -- Behind something of its tenant's that is in turn nothing changes.
  if not mine or rank == 0 or not is_in_turn(mine) then
    deal(tenant)
    heads = call('HGETALL', head)
  end
  if #heads == 2 and rank then return rank end
  return ahead_of(id, tenant, heads)
end

local function accept(k, v, size)
  local record, tenants_index, children, asked_today, optimize, sample = unpack(KEYS, k + 1, k + ${KEYS_OF_EACH})
  local id, tenant, timestamp, options, priority, deadline, parent, limits, images = unpack(ARGV, v + 2, v + 10)
  if call('EXISTS', record) == 1 then
    local owner = call('HGET', record, 'tenant') or '"${DEFAULT_TENANT}"'
    return {owner == '"' .. tenant .. '"' and 'there' or 'taken'}
  end
  if limits ~= '' then
    local most = cjson.decode(limits)
    local bytes = tonumber(call('HGET', stored, tenant) or '0')
    if most.bytes >= 0 and bytes >= most.bytes then return {'bytes', bytes} end
    local queued = call('ZCARD', optimize) + call('ZCARD', sample)
    if most.queued >= 0 and queued >= most.queued then return {'queued', queued} end
    local asked = tonumber(call('GET', asked_today) or '0')
    if most.images >= 0 and asked + images > most.images then return {'images', asked} end
    call('INCRBY', asked_today, images)
    if asked == 0 then call('EXPIRE', asked_today, 172800) end
  end
  call('HSET', record, unpack(ARGV, v + 11, v + 10 + size))
  call('ZADD', index, 0, id)
  call('ZADD', tenants_index, 0, id)
  if parent == '1' then call('SADD', children, id) end
  if deadline ~= '' then call('ZADD', deadlines, deadline, id) end

  local waiting = turns .. 'waiting:' .. tenant
  local is_queued, place = pcall(enqueue, id, tenant, waiting, timestamp, options, tonumber(priority))
  if is_queued then return {'ok', place} end
  -- Half an entry would keep a whole one from being added.
  call('DEL', queue .. id)
  call('ZREM', prioritized, id)
  call('ZREM', waiting, id)
  call('ZADD', unqueued, call('TIME')[1], id)
  return {'ok', -1}
end

local answers, k, v = {}, ${SHARED_KEYS}, ${SHARED_VALUES}
while v < #ARGV do
  local size = tonumber(ARGV[v + 1])
  local is_done, answer = pcall(accept, k, v, size)
  if not is_done then answer = {'failed', type(answer) == 'table' and answer.err or tostring(answer)} end
  answers[#answers + 1] = answer
  k, v = k + ${KEYS_OF_EACH}, v + 10 + size
end
return answers
`;
