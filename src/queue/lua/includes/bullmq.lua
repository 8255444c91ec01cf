--- @include "../../../records/lua/includes/tenant"

--[[
  All that findery knows of the keys and entries of BullMQ 6.7.0, with its twin bullmq-keys.ts. A
  test compares entries written here with those of Queue.add (test/queue/enqueue.service.test.ts).

  Keys of a queue, after its prefix:
    prioritized  sorted set: ids of entries that wait; score = priority * 2^32 + counter % 2^32
    pc           that counter; BullMQ deletes it when nothing waits
    ID           hash: an entry (name, data, opts, timestamp, delay, priority)
    meta         hash: paused, concurrency
    active       list: ids of entries that workers have
    marker       sorted set: workers block on it

  bullmq_queue(prefix) returns functions that read and write one queue.
]]
local PRIORITY_STEP = 0x100000000

local function bullmq_queue(prefix)
  local call = redis.call
  local prioritized = prefix .. 'prioritized'
  local queue = {}

  local last_number, has_woken = nil, false

  -- The next number of the counter. The first call reserves `batch_size` numbers, which later calls
  -- use.
  local function next_number(batch_size)
    last_number = (last_number or call('INCRBY', prefix .. 'pc', batch_size) - batch_size) + 1
    return last_number
  end

  -- Wakes a worker, as addBaseMarkerIfNeeded of BullMQ does; once for all entries that a script
  -- adds.
  local function wake_worker()
    if has_woken then return end
    local meta = call('HMGET', prefix .. 'meta', 'paused', 'concurrency')
    local paused, concurrency = meta[1], meta[2]
    if not paused and not (concurrency and call('LLEN', prefix .. 'active') >= tonumber(concurrency)) then
      call('ZADD', prefix .. 'marker', 0, '0')
    end
    has_woken = true
  end

  -- Score of an entry that waits; 0 when it does not wait.
  function queue.score(id)
    return tonumber(call('ZSCORE', prioritized, id) or '0')
  end

  -- Number of entries that BullMQ would start before this one.
  function queue.rank(id)
    return call('ZRANK', prioritized, id)
  end

  -- Moves an entry that waits to another score; its priority follows from the score.
  function queue.move(id, score)
    call('ZADD', prioritized, 'XX', score, id)
    call('HSET', prefix .. id, 'priority', math.floor(score / PRIORITY_STEP))
  end

  -- Sets the priority of an entry, if it exists, without moving it.
  function queue.set_priority(id, priority)
    if call('EXISTS', prefix .. id) == 1 then call('HSET', prefix .. id, 'priority', priority) end
  end

  -- Takes an entry out of BullMQ's set, so that no worker starts it; `put` puts it in again.
  function queue.take_out(id)
    call('ZREM', prioritized, id)
  end

  function queue.put(id, score)
    call('ZADD', prioritized, score, id)
    call('HSET', prefix .. id, 'priority', math.floor(score / PRIORITY_STEP))
    wake_worker()
  end

  -- Whether a worker has an entry.
  function queue.is_active(id)
    return call('LPOS', prefix .. 'active', id) ~= false
  end

  -- Ids of the entries that BullMQ would start next.
  function queue.first(count)
    return call('ZRANGE', prioritized, 0, count - 1)
  end

  -- Priority with which an entry was added; nil when it does not exist.
  function queue.added_priority(id)
    local options = call('HGET', prefix .. id, 'opts')
    return options and cjson.decode(options).priority
  end

  -- Tenant and model of an entry, and when it was enqueued, milliseconds since 1970. Entries of
  -- earlier releases have neither tenant nor model.
  function queue.describe(id)
    local entry = call('HMGET', prefix .. id, 'data', 'timestamp')
    local data = entry[1] and cjson.decode(entry[1]) or {}
    return data.tenant or DEFAULT_TENANT, data.model or '', tonumber(entry[2] or '0')
  end

  -- Moves an entry that waits behind all others of its priority. Returns its new score.
  function queue.move_back(id, priority)
    local score = priority * PRIORITY_STEP + next_number(1) % PRIORITY_STEP
    queue.move(id, score)
    wake_worker()
    return score
  end

  -- Adds an entry as addPrioritizedJob of BullMQ does, for an id that the caller chose, without
  -- parents, delay or deduplication. It leaves out BullMQ's counter of ids and its stream of
  -- events, which findery does not read: they would double the time. `options` is the JSON of
  -- bullmq-keys.ts, without the id. Returns the score; nil, and changes nothing else, when there is
  -- an entry with this id.
  function queue.add(id, tenant, model, name, options, timestamp, priority, batch_size)
    local data = '{"id":"' .. id .. '","tenant":"' .. tenant .. '","model":"' .. model .. '"}'
    local added = call('HSET', prefix .. id, 'name', name, 'data', data, 'timestamp', timestamp, 'delay', 0,
      'opts', options:sub(1, -2) .. ',"jobId":"' .. id .. '"}', 'priority', priority)
    if added < 6 then return nil end
    local score = priority * PRIORITY_STEP + next_number(batch_size) % PRIORITY_STEP
    call('ZADD', prioritized, score, id)
    wake_worker()
    return score
  end

  -- Removes what an `add` that failed half-way left, so that the id can be added again.
  function queue.undo_add(id)
    last_number, has_woken = nil, false
    call('DEL', prefix .. id)
    call('ZREM', prioritized, id)
  end

  return queue
end
