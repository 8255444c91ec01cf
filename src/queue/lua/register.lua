--[[
  Tells the fair scheduler of entries that were put into BullMQ's queue. Entries that it knows stay
  as they are.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] models_prefix
    ARGV[entry + 1] id      of each entry

  Output:
    nothing
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix, models_prefix = unpack(ARGV)

--- @include "includes/fair-scheduling"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix, models_prefix)

local changed = {}
for i = SHARED_ARGS + 1, #ARGV do
  local tenant = scheduler.register(ARGV[i])
  if tenant then changed[tenant] = true end
end
for tenant in pairs(changed) do scheduler.schedule_next(tenant) end
