"""Scripts for the steps of ``RqQueue`` on the server, over RQ's own keys and a few of ZeroG's beside them.

RQ's keys, with RQ's meanings::

    rq:queue:<name>               list of the ids of waiting jobs, the next one first
    rq:queue:<name>:intermediate  list of ids that one of RQ's workers has taken and not begun
    rq:scheduled:<name>           sorted set of ids by the second at which they are due
    rq:wip:<name>                 sorted set of <id>:<execution> by the second at which RQ gives its worker up
    rq:failed:<name>              sorted set of ids by the second until which they are shown
    rq:job:<id>                   hash; ``data`` in it is RQ's payload, which is never read here
        rq:suspended                  exists while ``rq suspend`` is in effect

ZeroG's own::

        rq:zerog:reserved:<name>      sorted set of reserved ids by the second at which they return
    rq:zerog:held:<name>          hash of id -> token of its reservation
    rq:zerog:popped:<name>        list of ids on their way from a blocking pop to a reservation
        rq:zerog:rejected:<name>      list of rejected entries, the latest first

The field ``zerog_ttr`` of a job's hash is ZeroG's, too; RQ ignores unknown fields.
"""

from __future__ import annotations

from zerog.support.checks import LONGEST_DELAY

REJECTED = 1_000
"""Number of rejected bodies kept for inspection, per queue."""

HEAD = (
    f"local REJECTED, LONGEST = {REJECTED}, {LONGEST_DELAY}"
    + """
local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1000000
end
local jobs, usual = ARGV[2], tonumber(ARGV[3])
local H = '[0-9a-f]'
local OURS = '^' .. H:rep(8) .. ('%-' .. H:rep(4)):rep(3) .. '%-' .. H:rep(12) .. '_' .. H:rep(12) .. '$'

local function ours(id) return #id == 49 and id:find(OURS) end

local function score(seconds) return string.format('%.6f', seconds) end

-- A change of a job's hash, if there is one: RQ can't read a hash that has nothing but our fields.
local function note(id, field, value)
  if call('EXISTS', jobs .. id) == 1 then redis.pcall('HSET', jobs .. id, field, value) end
end

-- A field of a job's hash; nil if it has none, or if what lies there is no hash.
local function noted(id, field)
  local value = redis.pcall('HGET', jobs .. id, field)
  return type(value) == 'string' and value or nil
end

-- The last key of a script that sets something aside is the list for it.
local aside = 0

local function set_aside(id)
  aside = aside + 1
  call('LPUSH', KEYS[#KEYS], id)
  call('LTRIM', KEYS[#KEYS], 0, REJECTED - 1)
end

local function ttr(id)
  local given = tonumber(noted(id, 'zerog_ttr') or usual)
  return given and given > 0 and given <= LONGEST and given or usual
end
"""
)
"""Beginning of every script. ARGV: the time in seconds ('' for the server's own), the prefix of the keys of RQ's jobs,
the default time to run."""

WINDOW = 1_000
"""Foreign jobs at the front of a queue that are passed over."""

RESERVE = (
    HEAD
    + f"local WINDOW = {WINDOW}\n"
    + """
-- KEYS: queue, scheduled, reserved, held, popped, suspended, rejected
-- ARGV: token, id that a blocking pop has given ('' for none)
-- The answer: id or '', how many were set aside, seconds until something comes back (-1: nothing will), and what is in
-- the way: '' nothing, 'suspended', or 'foreign' for jobs of others, which are left where they are.
local queue, scheduled, reserved, held, popped = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, given = ARGV[4], ARGV[5]

local function is_held(id) return call('HEXISTS', held, id) == 1 end

local function nothing(way)
  local soonest = -1
  for _, key in ipairs({scheduled, reserved}) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if first and (soonest < 0 or first - now < soonest) then soonest = math.max(0, first - now) end
  end
  return {'', aside, score(soonest), way}
end

local function next_id()
  while true do
    local id = call('LINDEX', queue, 0)
    if not id then return nil, '' end
    if ours(id) then
      call('LPOP', queue)
      if not is_held(id) then return id end
    elseif call('EXISTS', jobs .. id) == 0 then
      call('LPOP', queue)
      set_aside(id)
    else
      break
    end
  end
  for _, id in ipairs(call('LRANGE', queue, 1, WINDOW)) do
    if ours(id) then
      call('LREM', queue, 1, id)
      if not is_held(id) then return id end
    end
  end
  return nil, 'foreign'
end

-- Two schedulers may both have moved a delayed job, so that an id is there twice: one that is held is not given out.
local function back_from_time()
  local over = call('ZRANGEBYSCORE', reserved, '-inf', score(now), 'LIMIT', 0, 100)
  for i = #over, 1, -1 do
    call('ZREM', reserved, over[i])
    call('HDEL', held, over[i])
    call('LPUSH', queue, over[i])
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', scheduled, '-inf', score(now), 'LIMIT', 0, 100)) do
    if ours(id) then
      call('ZREM', scheduled, id)
      note(id, 'status', 'queued')
      local ahead = noted(id, 'enqueue_at_front') == '1'
      call(ahead and 'LPUSH' or 'RPUSH', queue, id)
    end
  end
end

local function unpop(id)
  if call('HGET', held, id) == 'popped' then -- cleaned up meanwhile
    call('ZREM', reserved, id)
    call('HDEL', held, id)
  elseif call('LREM', popped, 1, id) == 0 then
    return
  end
  call('LPUSH', queue, id)
end

if given ~= '' then unpop(given) end
if call('EXISTS', KEYS[6]) == 1 then return nothing('suspended') end
back_from_time()
local id, way = next_id()
if not id then return nothing(way) end
call('ZADD', reserved, score(now + ttr(id)), id)
call('HSET', held, id, token)
return {id, aside, '0', ''}
"""
).encode()

SETTLE = (
    HEAD
    + """
-- KEYS: queue, scheduled, reserved, held
-- ARGV: id, token, what to do with the reservation, delay of a release
-- The answer: 1; 0 if another consumer has reserved it by now.
local queue, scheduled, reserved, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, token, verb, delay = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if call('HGET', held, id) ~= token then return 0 end
call('ZREM', reserved, id)
call('HDEL', held, id)
if verb == 'delete' then
  call('DEL', jobs .. id)
elseif verb == 'release' and delay > 0 then
  note(id, 'status', 'scheduled')
  call('ZADD', scheduled, score(now + delay), id)
elseif verb == 'release' then
  call('LPUSH', queue, id)
end
return 1
"""
).encode()

LOOKED_THROUGH = 10_000
"""Ids read at the front of a queue to find an entry there."""

HOLDS = (
    HEAD
    + f"local LOOKED_THROUGH = {LOOKED_THROUGH}\n"
    + """
-- KEYS: queue, intermediate, popped, scheduled, reserved
-- ARGV: ids
-- The answer: 1 for each that is on the queue or on its way to a worker. A list that is longer than what is read of it
-- is believed to hold what RQ calls queued; what is missing there is found once the list is shorter.
local listed, is_whole

local function is_listed(id, is_believed)
  if not listed then
    listed, is_whole = {}, call('LLEN', KEYS[1]) <= LOOKED_THROUGH
    for i = 1, 3 do
      for _, other in ipairs(call('LRANGE', KEYS[i], 0, LOOKED_THROUGH - 1)) do listed[other] = true end
    end
  end
  return listed[id] or (is_believed and not is_whole)
end

local function is_held(id)
  if call('ZSCORE', KEYS[4], id) or call('ZSCORE', KEYS[5], id) then return true end
  local status = noted(id, 'status')
  local waits = status == 'queued' or status == 'scheduled'
  return status == 'started' or ((waits or not status) and is_listed(id, waits))
end

local answer = {}
for i = 4, #ARGV do answer[i - 3] = is_held(ARGV[i]) and 1 or 0 end
return answer
"""
).encode()

STUCK = 60
"""Seconds for which an id may be in transit from the queue to one of RQ's workers; RQ waits as long."""

PATIENCE = 75
"""Seconds without a heartbeat until an execution counts as dead; RQ sends one every 15 s."""

TIDY = (
    HEAD
    + f"local STUCK, PATIENCE = {STUCK}, {PATIENCE}\n"
    + """
-- KEYS: queue, wip, intermediate, popped, reserved, held, failed, rejected
-- ARGV: what all keys of RQ begin with
-- What dead consumers left, of ZeroG's jobs only, goes back to the front of the queue. If the job runs elsewhere or
-- has ended, the delivery is dropped when it comes.
local queue, wip, intermediate, popped, reserved, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local function back(id)
  note(id, 'status', 'queued')
  call('LPUSH', queue, id)
end

-- RQ's simple worker asks for seven minutes; if it lives, its next sign of life puts the time right again.
for _, entry in ipairs(call('ZRANGEBYSCORE', wip, score(now + PATIENCE), '+inf', 'LIMIT', 0, 100)) do
  if ours(entry:match('^([^:]*)')) then call('ZADD', wip, score(now + PATIENCE), entry) end
end
for _, entry in ipairs(call('ZRANGEBYSCORE', wip, '-inf', score(now), 'LIMIT', 0, 100)) do
  local id = entry:match('^([^:]*)')
  if ours(id) then
    call('ZREM', wip, entry)
    call('DEL', ARGV[4] .. ':execution:' .. entry, ARGV[4] .. ':executions:' .. id) -- RQ stumbles over half of them
    back(id)
  end
end
for _, id in ipairs(call('LRANGE', intermediate, 0, 99)) do
  if ours(id) then
    local seen = intermediate .. ':first_seen:' .. id
    local since = tonumber(call('GET', seen) or '')
    if not since then
      call('SET', seen, score(now), 'EX', 86400)
    elseif now - since > STUCK then
      call('LREM', intermediate, 1, id)
      call('DEL', seen)
      back(id)
    end
  elseif call('EXISTS', jobs .. id) == 0 then
    call('LREM', intermediate, 1, id)
    set_aside(id)
  end
end
for _, id in ipairs(call('LRANGE', popped, 0, 99)) do
  call('LREM', popped, 1, id)
  if ours(id) then
    if call('HSETNX', held, id, 'popped') == 1 then call('ZADD', reserved, score(now + usual), id) end
  else
    call('LPUSH', queue, id)
  end
end
call('ZREMRANGEBYSCORE', KEYS[7], 0, score(now))
return aside
"""
).encode()
