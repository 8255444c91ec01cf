--[[
  Writes a record that was read in an older version back in the current one, unless it changed since
  it was read. The next reader upgrades it then.

  Input:
    KEYS[1] record        hash

    ARGV[1] version       in which it was read
    ARGV[2] next_version
    ARGV[3] before_json   names and values, alternately, of the fields to be set, as they were read;
                          '': missing
    ARGV[4] after_json    names and new values, alternately

  Output:
    nothing
]]
local record = KEYS[1]
local version, next_version, before_json, after_json = unpack(ARGV)

--- @include "../../redis/lua/includes/allow-when-full"
if redis.call('EXISTS', record) == 0 then return end
allow_when_full(record) -- old records can be read when Redis is full
if (redis.call('HGET', record, '_version') or '0') ~= version then return end
local before, after = cjson.decode(before_json), cjson.decode(after_json)
for i = 1, #before, 2 do
  if (redis.call('HGET', record, before[i]) or '') ~= before[i + 1] then return end
end
for i = 1, #after, 2 do redis.call('HSET', record, after[i], after[i + 1]) end
redis.call('HSET', record, '_version', next_version)
