-- All of ZeroG's work on a Redis server: one script, a list of commands per call, all of it atomic.
--
-- KEYS[1] is the prefix of all keys, hash tag included. ARGV[1] is the time in microseconds ('' for the server's own),
-- ARGV[2] a JSON list of commands: objects of texts, with their names in `c`. The reply has one entry for each.
--
-- Values of documents are JSON texts that Python writes and reads. They are never decoded here, for Lua has one kind of
-- number and one kind of table. Where a change needs more than that, the answer is 0 ("not here") and nothing was
-- changed: the caller reads the document and writes by compare-and-swap, or gets the reason of a refusal.
--
--   d:<key>               hash of a document: cas, body, lists, size, and fields' JSON texts by names like ,"status":
--   events:<key> ...      list of the JSON texts of a history
--   index                 sorted set of <status> NUL <key>;  due  sorted set of <due> NUL <key>
--   ended                 sorted set of <status> NUL <jobType> NUL <finishedAt> NUL <key>, of jobs that have ended
--   created               sorted set of <group> NUL <createdAt> NUL <key>; the group is the status of a job that has
--                         ended or is scheduled, and "open" for all others, so that a claim of those doesn't change it
--   terms                 sorted set of <name> NUL <text> NUL <createdAt> NUL <key>, for each term of a job (records/attrs);
--                         the fields attrs and lastError of its hash, without a comma, list them
--   q:<name>:ready        sorted set of entries, the first one next
--   q:<name>:later        sorted set of delayed and reserved entries by the microsecond at which they return
--   q:<name>:held         hash of entry -> <reservation>
--   q:<name>:wake         list whose one element wakes a waiting consumer
--   q:<name>:rejected     list of the last bodies that were no uuid;  q:<name>:seq  number of the last entry
--
-- An entry is <order>:<priority>:<ttr>:<uuid>.

local call, unpack = redis.call, unpack or table.unpack
local P = KEYS[1]
local HOT = {@HOT@}
local HISTORY = {',"events":', ',"errors":', ',"warnings":'}
local OWN = {cas = true, lists = true, size = true, kind = true, attrs = true, lastError = true}
-- The texts that identify a document's kind, which submit stores.
local KIND = {[',"jobType":'] = true, [',"schemaVersion":'] = true, [',"format":'] = true}
local STATUS, DUE, CANCEL, UPDATED = ',"status":', ',"due":', ',"cancelRequested":', ',"updatedAt":'
local TYPE, FINISHED, CREATED = ',"jobType":', ',"finishedAt":', ',"createdAt":'
local SCHEDULED = 'scheduled'
local ENDED = {succeeded = true, failed = true, cancelled = true}
local EPOCH, SEQ, OWNER, ATTEMPTS, COMPLETE = ',"epoch":', ',"seq":', ',"owner":', ',"attempts":', ',"completeness":'
local RUN = ',"run":'
local MAX_BYTES, SHARE, REJECTED = @MAX_BYTES@, @SHARE@, @REJECTED@
local JOB_BYTES = @JOB_BYTES@ -- bytes that a change may fill, beside those of the engine
local HISTORY_BYTES = @HISTORY_BYTES@ -- of each bounded list of a history
local SMALL = 256 -- a text of more bytes counts towards MAX_BYTES
local UUID = '@UUID@'
local ORDERS, LONGEST = @ORDERS@, @LONGEST@

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local places = {index = {}, due = {}, ended = {}, created = {}, terms = {}}
local bells, acked = {}, {}

local function whole(number) return string.format('%.0f', number) end

local function document(key) return P .. 'd:' .. key end

local function history(field, key) return P .. field:sub(3, -3) .. ':' .. key end

local function queue(name) return P .. 'q:' .. name .. ':' end
