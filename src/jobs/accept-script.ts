import { addPrioritizedJob } from 'bullmq/dist/esm/scripts/addPrioritizedJob-9.js';
import { turnFunctions } from './turns.ts';

/**
 * Accepts new work, all or nothing: counts it in, writes its record with its first event, puts it into BullMQ's queue and into its
 * tenant's turns, and tells its place. One script, so one trip and one flush of Redis for what used to be five of each, and no crash
 * comes in between. Whether its limits are passed is looked at in the same step, so requests at the same time can't pass one together.
 *
 * What BullMQ does to a new entry is BullMQ's own script, word for word, as a function: another version of it goes on being right
 * (`test/service/accept.test.ts` holds an entry against one of `Queue.add`). Should it fail all the same, the work is accepted and
 * remembered as not queued, and upkeep queues it (`waiting.ts`).
 *
 * Sent again by a connection that broke before the answer, it finds the record and changes nothing.
 *
 * Answers `{'ok', place}` (how much is served before it), `{'there'}`, `{'taken'}` (the id is another tenant's), or the limit that would be
 * passed, `{'bytes' | 'queued' | 'images', used}`.
 */
export const ACCEPT = `
local record, index, tenants_index, children, stream, unqueued, deadlines = unpack(KEYS)
local id, tenant, name, timestamp, entry_options = ARGV[1], ARGV[2], ARGV[5], ARGV[6], ARGV[7]
local deadline, parent, event, limits, images = ARGV[8], ARGV[9], ARGV[10], ARGV[11], tonumber(ARGV[12])
local FIELDS = 13

local function add_entry(KEYS, ARGV)
${addPrioritizedJob.content}
end
${turnFunctions('ARGV[3]', 'ARGV[4]')}
if call('EXISTS', record) == 1 then
  local owner = call('HGET', record, 'tenant') or '"default"'
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

local is_queued, place_or_error = pcall(function()
  local options = cjson.decode(entry_options)
  options.jobId = id
  add_entry(
    {queue .. 'marker', queue .. 'meta', queue .. 'id', prioritized, queue .. 'delayed', queue .. 'completed', queue .. 'active',
      queue .. 'events', queue .. 'pc'},
    {cmsgpack.pack({queue, id, name, timestamp}), cjson.encode({id = id, tenant = tenant}), cmsgpack.pack(options)})
  if enrol(id, tenant) and not is_dealt(tenant) then deal(tenant) end
  return ahead_of(id, tenant, call('HGETALL', head))
end)
if is_queued then return {'ok', place_or_error} end
call('ZADD', unqueued, call('TIME')[1], id)
return {'ok', -1}
`;
