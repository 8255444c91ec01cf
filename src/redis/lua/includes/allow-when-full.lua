-- Lets this script write although Redis is full (maxmemory, noeviction). A script may write
-- anything after its first write, if that one takes no memory, as PERSIST does. The line `#!lua
-- flags=allow-oom` says the same, but Redis 6.2 does not read it. For scripts that free memory or
-- go on with accepted work; new work is refused. `key` never expires, so PERSIST changes nothing.
local function allow_when_full(key) redis.call('PERSIST', key) end
