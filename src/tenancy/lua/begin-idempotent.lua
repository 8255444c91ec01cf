--[[
  Begins a request that has an idempotency key, or says what became of an earlier one.

  The entry is a hash: `fingerprint` of the request, `ulid` of the record that it creates, `token`
  and `lease` (milliseconds since 1970) while the request runs, `answer` once there is one to repeat.

  Input:
    KEYS[1] entry         hash; a string of release 0.1: {"id", "digest"} as JSON

    ARGV[1] fingerprint   hash of the request
    ARGV[2] ulid          for a new entry
    ARGV[3] token         of the caller
    ARGV[4] lease_ms      time for which the caller is thought to be alive
    ARGV[5] ttl_seconds   time to live of a new entry

  Output:
    {'new', ulid}         the request is the first one; the caller has the entry
    {'resumed', ulid}     an earlier one ended without an answer to repeat, or its process died; the
                          caller has the entry, and the record may exist
    {'again', ulid}       the answer is made again from the record
    {'answered', answer}
    {'running'}           the first request has no answer yet
    {'mismatch', answer}  the key belongs to another request; answer '': it has none yet
    {'earlier', json}     of release 0.1
]]
local entry = KEYS[1]
local fingerprint, ulid, token, lease_ms, ttl_seconds = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function take()
  redis.call('HSET', entry, 'fingerprint', fingerprint, 'ulid', ulid, 'token', token, 'lease', now + lease_ms)
end

local kind = redis.call('TYPE', entry).ok
if kind == 'string' then return {'earlier', redis.call('GET', entry)} end
if kind == 'none' then
  take()
  redis.call('EXPIRE', entry, ttl_seconds)
  return {'new', ulid}
end
local fields = redis.call('HMGET', entry, 'fingerprint', 'ulid', 'token', 'lease', 'answer')
local known, known_ulid, holder, lease, answer = unpack(fields)
if known ~= fingerprint then
  if holder or answer then return {'mismatch', answer or ''} end
  -- The other request was refused, so its key is free for this one.
  take()
  return {'new', ulid}
end
if answer == 'again' then return {'again', known_ulid} end
if answer then return {'answered', answer} end
if holder and tonumber(lease) > now then return {'running'} end
ulid = known_ulid
take()
return {'resumed', ulid}
