--[[
  Counts the usage of a record that has ended, if it was not counted: reindexing restores records
  with it.

  Input:
    KEYS[1] record        hash
    KEYS[2] day           hash: usage of the day on which it ended
    KEYS[3] stored_bytes  hash: bytes in storage by tenant

    ARGV[1] totals_json   totals of the record (includes/usage.lua)

  Output:
    nothing
]]
local record, day, stored_bytes = unpack(KEYS)
local totals_json = unpack(ARGV)

--- @include "includes/usage"
if redis.call('EXISTS', record) == 1 then count_usage(record, day, stored_bytes, totals_json) end
