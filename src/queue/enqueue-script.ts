import { DEFAULT_TENANT } from '../contract/tenants.ts';
import { schedulingFunctions } from './fair-scheduler.ts';

/** Keys and values that a call has for all of its work, and those that it has for each, before hidden fields. */
const SHARED_KEYS = 8;
const SHARED_VALUES = 6;
export const KEYS_OF_EACH = 2;
const VALUES_OF_EACH = 9;

/**
 * Accepts new work of one caller, all or nothing of each: counts it in, writes its record, puts it into BullMQ's queue and into its
 * tenant's turns, and tells its place. One script, so one trip and one flush of Redis for what would be five of each, and no crash
 * comes in between. Whether its limits are passed is looked at in the same step, so requests at the same time can't pass one together.
 *
 * Of the record, what scripts and indexes look at has fields of its own, and all of it is in one more, `_accepted`. Fields that are changed later stand
 * beside it and have the last word, as do those of the first kind, which are in it too: taking them out costs more than they do. Dozens of
 * fields, most of which nobody changes, would be half of what accepting costs.
 *
 * `add_entry` does what `addPrioritizedJob` of BullMQ does for an entry with an id of ours and without parents, delays and deduplication, but for BullMQ's
 * counter of ids and its stream of events, which nobody reads here. Its whole script would take as much time as all the rest. A test holds what
 * is written against `Queue.add` (`test/queue/enqueue.service.test.ts`), so that a BullMQ which does something else is noticed.
 *
 * Should the queue refuse it all the same, the work is accepted, remembered as not queued, and upkeep queues it (`waiting.ts`).
 * Sent again by a connection that broke before the answer, it finds the record and changes nothing.
 *
 * KEYS: as named below; for each: record, children of what it goes with. ARGV: prefixes of BullMQ's keys and of the turns, name of the queue,
 * tenant, limits as JSON ('': none), version of the record; for each, as named in `accept`: id, milliseconds, options of its entry, priority, deadline, images,
 * data of its first event ('': none), the record as JSON, how many names and values of hidden fields follow, and these.
 * Answers one for each: `{'ok', place}` (how much is served before it), `{'there'}`, `{'taken'}` (the id is another tenant's), the limit that
 * would be passed, `{'bytes' | 'queued' | 'images', used}`, or `{'failed', message}`.
 */
export const ENQUEUE = `
local unqueued, deadlines, stored, index, tenants_index, asked_today, optimize, sample = unpack(KEYS)
local tenant, limits, version = ARGV[4], ARGV[5], ARGV[6]
local waiting = ARGV[2] .. 'waiting:' .. tenant
${schedulingFunctions('ARGV[1]', 'ARGV[2]')}
-- What does not change from one piece of work to the next is asked for once: BullMQ's counter, whether workers were woken, whose turn it is.
local works, number, is_woken, heads, mine, has_turn = (#KEYS - ${SHARED_KEYS}) / ${KEYS_OF_EACH}, nil, false, nil, nil, false

local function add_entry(id, timestamp, options, priority)
  local entry = queue .. id
  local fresh = call('HSET', entry, 'name', ARGV[3], 'data', '{"id":"' .. id .. '","tenant":"' .. tenant .. '"}',
    'opts', options:sub(1, -2) .. ',"jobId":"' .. id .. '"}', 'timestamp', timestamp, 'delay', 0, 'priority', priority)
  if fresh < 6 then return end
  number = (number or call('INCRBY', queue .. 'pc', works) - works) + 1
  local score = priority * STEP + number % STEP
  call('ZADD', prioritized, score, id)
  call('ZADD', waiting, score, id)
  if is_woken then return end
  local held = call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  if not held[1] and not (held[2] and call('LLEN', queue .. 'active') >= tonumber(held[2])) then
    call('ZADD', queue .. 'marker', 0, '0')
  end
  is_woken = true
end

local function look_at_heads()
  heads, mine = call('HGETALL', head), nil
  for i = 1, #heads, 2 do if heads[i] == tenant then mine = heads[i + 1] end end
end

local function enqueue(id, ...)
  add_entry(id, ...)
  local rank = call('ZRANK', waiting, id)
  if not heads then look_at_heads() end
  has_turn = has_turn or (mine and is_in_turn(mine))
  -- Behind something of its tenant's that is in turn nothing changes.
  if not has_turn or rank == 0 then
    deal(tenant)
    look_at_heads()
    has_turn = true
  end
  if #heads == 2 and rank then return rank end
  return ahead_of(id, tenant, heads)
end

local function accept(k, v)
  local record, children = KEYS[k + 1], KEYS[k + 2]
  local id, at, options, priority, deadline, images, event, accepted, hidden = unpack(ARGV, v + 1, v + ${VALUES_OF_EACH})
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
  -- \`_change:other\`: which version of the record it is, for those who read it again (job-reader.ts).
  local fields = {'_version', version, '_change:other', id:sub(5), 'id', '"' .. id .. '"', 'tenant', '"' .. tenant .. '"',
    'status', 'queued', '_accepted', accepted, '_unsaid', event ~= '' and at .. ' ' .. event or nil}
  call('HSET', record, unpack(fields, 1, event ~= '' and 14 or 12))
  if hidden ~= '0' then call('HSET', record, unpack(ARGV, v + ${VALUES_OF_EACH} + 1, v + ${VALUES_OF_EACH} + hidden)) end
  call('ZADD', index, 0, id)
  call('ZADD', tenants_index, 0, id)
  if children ~= '' then call('SADD', children, id) end
  if deadline ~= '' then call('ZADD', deadlines, deadline, id) end

  local is_queued, place = pcall(enqueue, id, at, options, tonumber(priority))
  if is_queued then return {'ok', place} end
  number, is_woken, heads, has_turn = nil, false, nil, false
  -- Half an entry would keep a whole one from being added.
  call('DEL', queue .. id)
  call('ZREM', prioritized, id)
  call('ZREM', waiting, id)
  call('ZADD', unqueued, call('TIME')[1], id)
  return {'ok', -1}
end

local answers, k, v = {}, ${SHARED_KEYS}, ${SHARED_VALUES}
while v < #ARGV do
  local is_done, answer = pcall(accept, k, v)
  if not is_done then answer = {'failed', type(answer) == 'table' and answer.err or tostring(answer)} end
  answers[#answers + 1] = answer
  k, v = k + ${KEYS_OF_EACH}, v + ${VALUES_OF_EACH} + ARGV[v + ${VALUES_OF_EACH}]
end
return answers
`;
