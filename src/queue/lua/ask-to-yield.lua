--[[
  Asks whether a running entry has to make room for one that waits. One entry of the queue yields at
  a time; otherwise all workers would yield to the same one.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock
    KEYS[5] yielding        string that expires: the entry that makes room

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] tenant
    ARGV[4] id
    ARGV[5] milliseconds    in which the entry goes back to the queue, or others are asked

  Output:
    1: it has to yield
]]
local scheduled, served, tenants, clock, yielding = unpack(KEYS)
local queue_prefix, waiting_prefix, tenant, id, milliseconds = unpack(ARGV)

--- @include "includes/fair-scheduling"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix)

if redis.call('EXISTS', yielding) == 1 or not scheduler.is_waited_for(id, tenant) then return 0 end
redis.call('SET', yielding, id, 'PX', milliseconds)
return 1
