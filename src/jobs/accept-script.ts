import { DEFAULT_TENANT } from './tenants.ts';
import { turnFunctions } from './turns.ts';

/**
 * Accepts new work, all or nothing: counts it in, writes its record with its first event, puts it into BullMQ's queue and into its
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
 * Answers `{'ok', place}` (how much is served before it), `{'there'}`, `{'taken'}` (the id is another tenant's), or the limit that would be
 * passed, `{'bytes' | 'queued' | 'images', used}`.
 */
export const ACCEPT = `
local record, index, tenants_index, children, stream, unqueued, deadlines = unpack(KEYS)
local id, tenant, name, timestamp, entry_options, priority = ARGV[1], ARGV[2], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local deadline, parent, event, limits, images = ARGV[9], ARGV[10], ARGV[11], ARGV[12], tonumber(ARGV[13])
local FIELDS = 14
${turnFunctions('ARGV[3]', 'ARGV[4]')}
local function add_entry()
  local entry = queue .. id
  if call('EXISTS', entry) == 1 then return end
  call('HSET', entry, 'name', name, 'data', '{"id":"' .. id .. '","tenant":"' .. tenant .. '"}', 'opts', entry_options,
    'timestamp', timestamp, 'delay', 0, 'priority', priority)
  local score = priority * STEP + call('INCR', queue .. 'pc') % STEP
  call('ZADD', prioritized, score, id)
  call('ZADD', turns .. 'waiting:' .. tenant, score, id)
  local held = call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  if held[1] or (held[2] and call('LLEN', queue .. 'active') >= tonumber(held[2])) then return end
  call('ZADD', queue .. 'marker', 0, '0')
end

if call('EXISTS', record) == 1 then
  local owner = call('HGET', record, 'tenant') or '"${DEFAULT_TENANT}"'
  return {owner == '"' .. tenant .. '"' and 'there' or 'taken'}
end
if limits ~= '' then
  local stored, asked_today, optimize, sample = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
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
call('HSET', record, unpack(ARGV, FIELDS))
call('ZADD', index, 0, id)
call('ZADD', tenants_index, 0, id)
if parent == '1' then call('SADD', children, id) end
if deadline ~= '' then call('ZADD', deadlines, deadline, id) end
if event ~= '' then call('XADD', stream, '*', 'type', 'status', 'data', event) end

local is_queued, place = pcall(function()
  add_entry()
  local mine = call('HGET', head, tenant)
  -- Behind something of its tenant's that is in turn nothing changes.
  if not mine or not is_in_turn(mine) or call('ZRANK', turns .. 'waiting:' .. tenant, id) == 0 then deal(tenant) end
  return ahead_of(id, tenant, call('HGETALL', head))
end)
if is_queued then return {'ok', place} end
-- Half an entry would keep a whole one from being added.
call('DEL', queue .. id)
call('ZREM', prioritized, id)
call('ZREM', turns .. 'waiting:' .. tenant, id)
call('ZADD', unqueued, call('TIME')[1], id)
return {'ok', -1}
`;
