--[[
  Position of an entry in the queue.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] id

  Output:
    1 for the entry that is served next; 0 when it does not wait
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix, id = unpack(ARGV)

--- @include "includes/fair-scheduling"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix)

return scheduler.position(id, nil, scheduler.read_scheduled())
