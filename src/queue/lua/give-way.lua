--[[
  Tells the fair scheduler that a worker puts an entry back to make room for others: before it does,
  and again afterwards.

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
    ARGV[5] is_back         1: afterwards

  Output:
    nothing
]]
local scheduled, served, tenants, clock, yielding = unpack(KEYS)
local queue_prefix, waiting_prefix, tenant, id, is_back = unpack(ARGV)

--- @include "includes/fair-scheduling"
--- @include "../../redis/lua/includes/allow-when-full"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix)

allow_when_full(scheduled)
if is_back == '0' then return scheduler.prepare_way(id) end
scheduler.give_way(id, tenant)
redis.call('DEL', yielding)
