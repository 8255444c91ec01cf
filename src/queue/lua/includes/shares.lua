--[[
  The shares of one evaluation of a job: its noises in parts, which several workers evaluate. The
  coordinator is the worker that has the lease of the job; the others are helpers.

  Fields of the hash (RedisKeys.shares):
    evaluation    its id; scripts that name another one change nothing (fencing)
    tenant        of the job
    kind          of the workers whose results have the same bits
    max_helpers   helpers at the same time
    state         JSON, for each share: holder (id of a worker; '': none), at (milliseconds since
                  1970, when it was taken), own (the coordinator has it), gives (how often helpers
                  took it), done
    free, taken   shares that a helper may take, and that helpers have; both follow from `state`
    task:INDEX    JSON: what a helper needs to know
    result:INDEX  JSON of a helper; '': the coordinator has the result
]]

-- A share that kills its worker does not kill more than two helpers.
local MAX_GIVES = 2

local function is_free(share) return share.holder == '' and not share.done end

local function is_free_for_helpers(share) return is_free(share) and share.gives < MAX_GIVES end

-- The state of the evaluation; nil when it is over.
local function read_shares(key, evaluation)
  local fields = redis.call('HMGET', key, 'evaluation', 'state')
  if fields[1] ~= evaluation then return nil end
  return cjson.decode(fields[2])
end

local function write_shares(key, shares)
  local free, taken = 0, 0
  for _, share in ipairs(shares) do
    if is_free_for_helpers(share) then free = free + 1 end
    if share.holder ~= '' and not share.own then taken = taken + 1 end
  end
  redis.call('HSET', key, 'state', cjson.encode(shares), 'free', free, 'taken', taken)
  return free
end

local function hold(share, holder, now, is_own)
  share.holder, share.at, share.own = holder, now, is_own
  if not is_own then share.gives = share.gives + 1 end
end

local function release(share) share.holder, share.own = '', false end

local function milliseconds_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
