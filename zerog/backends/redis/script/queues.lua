-- queues

local function parse(entry)
  return entry:match('^([an]%d+):(%-?%d+):([%d%.e+-]+):(.*)$')
end

-- Return the time to run and the uuid of an entry; nil if it is invalid.
local function understood(entry)
  local _, priority, ttr, uuid = parse(entry)
  ttr, priority = tonumber(ttr), tonumber(priority)
  if ttr and ttr > 0 and ttr <= LONGEST and math.abs(priority) <= 2147483648 and uuid:find(UUID) then return ttr, uuid end
end

local function ready(base, entry)
  local _, priority = parse(entry)
  call('ZADD', base .. 'ready', 0 - (tonumber(priority) or 0), entry)
  bells[base] = true
end

local function later(base, entry, seconds)
  call('ZADD', base .. 'later', whole(now + seconds * 1000000), entry)
end

-- q: name, uuid, delay in seconds, priority, ttr, '1' to go ahead of its priority
local function put(q)
  local base = queue(q[1])
  local n = call('INCR', base .. 'seq')
  local id, order = n, string.format('n%015.0f', n)
  if q[6] == '1' then id, order = -n - 1, string.format('a%015.0f', ORDERS - n) end
  local entry = order .. ':' .. q[4] .. ':' .. q[5] .. ':' .. q[2]
  if tonumber(q[3]) > 0 then
    later(base, entry, tonumber(q[3]))
    bells[base] = true
  else
    ready(base, entry)
  end
  return whole(id)
end

local function is_held(base, entry, reservation) return call('HGET', base .. 'held', entry) == reservation end

local function promote(base)
  local entries = call('ZRANGEBYSCORE', base .. 'later', '-inf', whole(now), 'LIMIT', 0, 1000)
  for _, entry in ipairs(entries) do
    call('ZREM', base .. 'later', entry)
    call('HDEL', base .. 'held', entry)
    ready(base, entry)
  end
end

-- Release an entry that is held under a reservation; 0 if it isn't.
local function release(base, entry, reservation, delay)
  if not is_held(base, entry, reservation) then return 0 end
  call('HDEL', base .. 'held', entry)
  if delay > 0 then
    later(base, entry, delay)
    bells[base] = true
  else
    call('ZREM', base .. 'later', entry)
    ready(base, entry)
  end
  return 1
end

local function drop(base, entry, reservation)
  if not is_held(base, entry, reservation) then return 0 end
  call('HDEL', base .. 'held', entry)
  call('ZREM', base .. 'later', entry)
  return 1
end

-- Release an entry without a reservation, for the engine: the claim of the document excludes other consumers.
local function back(c)
  local base, delay = queue(c.entry[1]), tonumber(c.delay)
  if call('ZREM', base .. 'later', c.entry[2]) == 0 then return 0 end
  if delay > 0 then later(base, c.entry[2], delay) else ready(base, c.entry[2]) end
  return 1
end

-- Move an entry to the queue t of its kind, for workers that can take its job.
local function aside(c)
  local base = queue(c.entry[1])
  if call('ZREM', base .. 'later', c.entry[2]) == 0 then return 0 end
  call('HDEL', base .. 'held', c.entry[2])
  ready(queue(c.to), c.entry[2])
  return 1
end

local function ack(base, entry)
  acked[base] = acked[base] or {}
  table.insert(acked[base], entry)
  return 1
end

-- Every SHARE-th entry is the oldest of the lowest priority, of the last queue that has any.
local function next_share(names)
  for i = #names, 1, -1 do
    local entries = queue(names[i]) .. 'ready'
    local last = call('ZREVRANGE', entries, 0, 0, 'WITHSCORES')
    if #last > 0 then
      local oldest = call('ZRANGEBYSCORE', entries, last[2], last[2], 'LIMIT', 0, 1)
      call('ZREM', entries, oldest[1])
      return names[i], oldest
    end
  end
end

local function next_run(names, count)
  for _, name in ipairs(names) do
    local popped = call('ZPOPMIN', queue(name) .. 'ready', count)
    if #popped > 0 then
      local entries = {}
      for i = 1, #popped, 2 do entries[#entries + 1] = popped[i] end
      return name, entries
    end
  end
end

local function reserve(base, entry, ttr, reservation)
  call('HSET', base .. 'held', entry, reservation)
  later(base, entry, ttr)
end

-- Check for each of the entries e that it is on the queue q; reserved entries are among the delayed ones.
local function holds(c)
  local base, answer = queue(c.queue), {}
  for i, entry in ipairs(c.entries) do
    local held = call('ZSCORE', base .. 'ready', entry) or call('ZSCORE', base .. 'later', entry)
    answer[i] = held and 1 or 0
  end
  return answer
end

-- Take an entry off the queue, reserved or not; 0 if it isn't there.
local function withdraw(c)
  local base = queue(c.queue)
  call('HDEL', base .. 'held', c.entry)
  return call('ZREM', base .. 'ready', c.entry) + call('ZREM', base .. 'later', c.entry)
end

-- Return whether anything is ready, and in how many microseconds something will be (-1: nothing is delayed).
local function peek(c)
  local soonest = -1
  for _, name in ipairs(c.queues) do
    local base = queue(name)
    local first = call('ZRANGE', base .. 'later', 0, 0, 'WITHSCORES')[2]
    if call('ZCARD', base .. 'ready') > 0 or (first and tonumber(first) <= now) then return {1, '0'} end
    if first and (soonest < 0 or first - now < soonest) then soonest = first - now end
  end
  return {0, whole(soonest)}
end
