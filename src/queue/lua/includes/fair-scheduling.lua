--- @include "bullmq"

--[[
  Round robin between the tenants of one queue.

  All work that waits is in BullMQ's `prioritized` set from the moment it is enqueued. The keys
  below only decide its order there, so a crash between two scripts cannot lose work: at worst an
  entry is scheduled late.

  One entry of each tenant is SCHEDULED, the first of those it has waiting: priority 1, at a score
  that says when the tenant was last served. The tenant that was served longest ago is next. All
  other entries are DEFERRED behind the scheduled ones, by priority and age. When a worker takes the
  scheduled entry, or it is removed, the tenant's next one is scheduled. An entry that a worker
  gives back stays scheduled, beside the tenant's next one.

  A tenant may have a limit of running entries. Its waiting entries are then HELD: they are outside
  of BullMQ's set, except the scheduled one, and that one is scheduled only while the tenant runs
  fewer than its limit. Held entries keep their hash, so nobody queues them again.

  Keys (RedisKeys.scheduler, RedisKeys.waiting):
    scheduled       hash: the scheduled entry of each tenant
    served          hash: value of the clock when each tenant was last served
    tenants         sorted set: tenants with waiting entries, by the clock of their last scheduling
    clock           counter of serving and scheduling; BullMQ's own restarts when its queue is empty
    waiting_prefix  before a tenant; sorted set: its waiting entries, at the scores that defer them
    models_prefix   before a model; sorted set: entries for it that wait for their first attempt, by
                    the time at which they were enqueued. Only metrics read it
    ...:held        after waiting_prefix, as are the next two; set: ids of held entries
    ...:limits      hash: the limit of running entries of each tenant that has one
    ...:running:    before a tenant that has a limit; set: its entries that workers have

  fair_scheduler(queue, ...) returns the functions of one queue, `queue` of bullmq_queue.
]]
local DEFERRED_SCORE = 2 * PRIORITY_STEP -- and above: priority 2 and more

local function fair_scheduler(queue, scheduled, served, tenants, clock, waiting_prefix, models_prefix)
  local call = redis.call
  local scheduler = {}

  -- No tenant begins with a colon, so these names are free.
  local held, limits = waiting_prefix .. ':held', waiting_prefix .. ':limits'
  local function running_of(tenant) return waiting_prefix .. ':running:' .. tenant end

  local function tick() return call('INCR', clock) % PRIORITY_STEP end

  -- Counts an entry, enqueued at `milliseconds`, for its model. '': an earlier release added it;
  -- nil: it was counted.
  local function count_for_model(id, model, milliseconds)
    if model and model ~= '' then call('ZADD', models_prefix .. model, milliseconds, id) end
  end

  local function tenant_of(id) return (queue.describe(id)) end

  local function has_limit(tenant) return call('HEXISTS', limits, tenant) == 1 end

  local function hold(id)
    queue.take_out(id)
    call('SADD', held, id)
  end

  local function is_waiting(id)
    return queue.score(id) > 0 or call('SISMEMBER', held, id) == 1
  end

  -- Whether the tenant runs as many entries as it may, without `id`. Forgets entries that no worker
  -- has any more.
  local function is_at_limit(tenant, id)
    local limit = call('HGET', limits, tenant)
    if not limit then return false end
    local running, count = running_of(tenant), 0
    for _, other in ipairs(call('SMEMBERS', running)) do
      if not queue.is_active(other) then call('SREM', running, other)
      elseif other ~= id then count = count + 1 end
    end
    return count >= tonumber(limit)
  end

  -- Sets the limit of running entries of a tenant; -1: none. A limit ends when nothing of the
  -- tenant waits, so that requests with and without one do not move all its entries repeatedly.
  function scheduler.set_limit(tenant, limit)
    local waiting = waiting_prefix .. tenant
    if limit >= 0 then
      local is_new = call('HSET', limits, tenant, limit) == 1
      if not is_new then return end
      for _, id in ipairs(call('ZRANGE', waiting, 0, -1)) do hold(id) end
      scheduler.schedule_next(tenant)
    elseif has_limit(tenant) and call('EXISTS', waiting) == 0 then
      call('HDEL', limits, tenant)
    end
  end

  -- Remembers an entry that was added to BullMQ's set at a deferred score. Without a model it is
  -- not counted for one.
  function scheduler.defer(id, tenant, score, model, milliseconds)
    call('ZADD', waiting_prefix .. tenant, score, id)
    count_for_model(id, model, milliseconds)
    if has_limit(tenant) then hold(id) end
  end

  -- Forgets an entry that does not wait any more.
  function scheduler.forget(id, tenant, model)
    call('ZREM', waiting_prefix .. tenant, id)
    call('ZREM', models_prefix .. model, id)
    call('SREM', held, id)
  end

  function scheduler.is_scheduled(id)
    local score = queue.score(id)
    return score > 0 and score < DEFERRED_SCORE
  end

  -- Defers an entry of BullMQ's set that is unknown here. Returns its tenant; nil if it was known.
  function scheduler.register(id)
    local score = queue.score(id)
    if score < DEFERRED_SCORE then return nil end
    local tenant, model, milliseconds = queue.describe(id)
    if call('ZSCORE', waiting_prefix .. tenant, id) then return nil end
    scheduler.defer(id, tenant, score, model, milliseconds)
    return tenant
  end

  -- The first waiting entry of a tenant. Drops entries that left BullMQ's set unnoticed.
  local function first_waiting(tenant)
    local waiting = waiting_prefix .. tenant
    while true do
      local first = call('ZRANGE', waiting, 0, 0)[1]
      if not first or is_waiting(first) then return first end
      call('ZREM', waiting, first)
    end
  end

  -- Makes the first waiting entry of a tenant its scheduled one, and defers the one that was.
  function scheduler.schedule_next(tenant)
    local first, current = first_waiting(tenant), call('HGET', scheduled, tenant)
    if current and current ~= first then
      local deferred_score = call('ZSCORE', waiting_prefix .. tenant, current)
      if deferred_score and queue.score(current) > 0 then
        if has_limit(tenant) then hold(current) else queue.move(current, tonumber(deferred_score)) end
      end
    end
    if not first then
      call('HDEL', scheduled, tenant)
      call('ZREM', tenants, tenant)
      return
    end
    call('ZADD', tenants, tick(), tenant)
    if is_at_limit(tenant) then
      hold(first)
      call('HDEL', scheduled, tenant)
      return
    end
    call('HSET', scheduled, tenant, first)
    local score = PRIORITY_STEP + tonumber(call('HGET', served, tenant) or '0')
    if call('SREM', held, first) == 1 then queue.put(first, score) else queue.move(first, score) end
  end

  -- Records that a worker has begun with an entry of the tenant. False, and nothing is recorded, if
  -- the tenant runs as many entries as it may.
  function scheduler.serve(tenant, id)
    if is_at_limit(tenant, id) then return false end
    if has_limit(tenant) then call('SADD', running_of(tenant), id) end
    call('HSET', served, tenant, tick())
    queue.set_priority(id, 1)
    return true
  end

  -- Records that a worker has let go of an entry of the tenant.
  function scheduler.finish(tenant, id)
    if call('SREM', running_of(tenant), id) == 1 then scheduler.schedule_next(tenant) end
  end

  -- Removes an entry that left the queue, and schedules the next one of its tenant.
  function scheduler.leave(tenant, id, model)
    scheduler.forget(id, tenant, model)
    scheduler.schedule_next(tenant)
    scheduler.repair(tenant)
  end

  -- Schedules the next entry of the tenant that was last scheduled longest ago, in case a crash
  -- prevented it; not of `tenant`.
  function scheduler.repair(tenant)
    local longest_ago = call('ZRANGE', tenants, 0, 0)[1]
    if longest_ago and longest_ago ~= tenant then scheduler.schedule_next(longest_ago) end
  end

  -- Whether an entry would start before this running one, if that went back to the queue.
  function scheduler.is_waited_for(id, tenant)
    local priority = queue.added_priority(id)
    for _, other in ipairs(queue.first(2)) do -- at most one of them is of the tenant and scheduled
      if tenant_of(other) ~= tenant then return true end
      if queue.added_priority(other) <= priority then return true end
    end
    return false
  end

  -- BullMQ puts back an entry at the head of the priority in its hash: after this, behind all
  -- scheduled entries.
  function scheduler.prepare_way(id)
    queue.set_priority(id, queue.added_priority(id))
  end

  -- Puts an entry that a worker gave back behind all others: those of its tenant with the same
  -- priority, and the scheduled one of every other tenant.
  function scheduler.give_way(id, tenant)
    if queue.score(id) == 0 then return end -- another worker has it
    scheduler.defer(id, tenant, queue.move_back(id, queue.added_priority(id)))
    call('HSET', served, tenant, tick())
    scheduler.schedule_next(tenant)
  end

  -- The scheduled entries of all tenants: tenant and id, alternately. For `position`, read once for
  -- many entries.
  function scheduler.read_scheduled()
    return call('HGETALL', scheduled)
  end

  -- The scheduled entry of one tenant in `entries` of read_scheduled.
  function scheduler.entry_of(entries, tenant)
    for i = 1, #entries, 2 do if entries[i] == tenant then return entries[i + 1] end end
  end

  local function is_before(a, b)
    if not b then return true end -- b is held
    local score_a, score_b = queue.score(a), queue.score(b)
    if score_a ~= score_b then return score_a < score_b end
    return a < b
  end

  -- 1 for the entry that is served next, if nothing else is enqueued; 0 when it does not wait. In
  -- every round before its own, and in its own if it comes first there, each other tenant has one
  -- entry served.
  function scheduler.position(id, tenant, entries)
    if not is_waiting(id) then return 0 end
    tenant = tenant or tenant_of(id)
    local rank, own = call('ZRANK', waiting_prefix .. tenant, id), scheduler.entry_of(entries, tenant)
    if not rank then return queue.rank(id) + 1 end
    local before = rank
    for i = 1, #entries, 2 do
      if entries[i] ~= tenant then
        local rounds = rank + (is_before(entries[i + 1], own) and 1 or 0)
        before = before + math.min(rounds, call('ZCARD', waiting_prefix .. entries[i]))
      end
    end
    return before + 1
  end

  return scheduler
end
