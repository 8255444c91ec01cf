--[[
  Tells the fair scheduler that a worker has let go of an entry. Schedules the next entry of a tenant
  that had reached its limit of running entries, and of the tenant for which a crash may have
  prevented that.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] tenant          '': only the repair
    ARGV[4] id

  Output:
    nothing
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix, tenant, id = unpack(ARGV)

--- @include "includes/fair-scheduling"
--- @include "../../redis/lua/includes/allow-when-full"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix)

allow_when_full(scheduled)
if tenant ~= '' then scheduler.finish(tenant, id) end
scheduler.repair(tenant)
