-- Writes the first event of a job, which new-record.lua leaves in the field _unsaid, to its stream.
-- A stream takes 4 KiB, and nobody follows most jobs while they wait. Scripts call this before they
-- read or append events.
local function write_first_event(record, stream)
  local deferred = redis.call('HGET', record, '_unsaid')
  if not deferred then return end
  redis.call('HDEL', record, '_unsaid') -- first, so that a full Redis allows the event
  local milliseconds, data = string.match(deferred, '^(%d+) (.*)$')
  if redis.call('EXISTS', stream) == 0 then
    redis.call('XADD', stream, milliseconds .. '-0', 'type', 'status', 'data', data)
  end
end
