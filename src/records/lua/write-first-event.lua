--[[
  Writes the first event of a job to its stream, if the record still holds it.

  Input:
    KEYS[1] record  hash of the job
    KEYS[2] stream  events of the job

  Output:
    nothing
]]
local record, stream = unpack(KEYS)

--- @include "includes/first-event"
write_first_event(record, stream)
