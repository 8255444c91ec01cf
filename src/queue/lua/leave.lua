--[[
  Tells the fair scheduler that an entry left the queue: a worker has it, or it was removed. The
  tenant's next entry is scheduled. An entry of a tenant that runs as many as it may does not leave.

  Input:
    KEYS[1] scheduled
    KEYS[2] served
    KEYS[3] tenants
    KEYS[4] clock

    ARGV[1] queue_prefix    of BullMQ's keys
    ARGV[2] waiting_prefix
    ARGV[3] models_prefix
    ARGV[4] tenant
    ARGV[5] id
    ARGV[6] model           '': unknown
    ARGV[7] has_begun       1: a worker has it

  Output:
    1; 0 when the worker has to put the entry back
]]
local scheduled, served, tenants, clock = unpack(KEYS)
local queue_prefix, waiting_prefix, models_prefix, tenant, id, model, has_begun = unpack(ARGV)

--- @include "includes/fair-scheduling"
--- @include "../../redis/lua/includes/allow-when-full"
local queue = bullmq_queue(queue_prefix)
local scheduler = fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix, models_prefix)

allow_when_full(scheduled)
if has_begun == '1' and not scheduler.serve(tenant, id) then return 0 end
scheduler.leave(tenant, id, model)
return 1
