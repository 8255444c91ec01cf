-- Writes the record of new work; record-codec.ts describes and reads the fields.
--
--   _accepted      the whole record as JSON: setting dozens of fields would double the cost
--   id, tenant and status  for scripts and indexes
--   _change:other  a value that is new, which conditional reads compare (read-jobs.lua)
--   _unsaid        time and data of the first event, which first-event.lua writes; event '': none
local function write_new_record(record, id, tenant, version, json, milliseconds, event)
  local fields = {
    '_version', version, '_change:other', id:sub(5), 'id', '"' .. id .. '"', 'tenant', '"' .. tenant .. '"',
    'status', 'queued', '_accepted', json, '_unsaid', milliseconds .. ' ' .. event,
  }
  redis.call('HSET', record, unpack(fields, 1, event == '' and #fields - 2 or #fields))
end
