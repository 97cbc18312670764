-- What ZeroG does on a Redis server: one script, a list of commands per call, all of it atomic.
--
-- KEYS[1] is the prefix of all keys, hash tag included. ARGV[1] is the time in microseconds ('' for the server's own),
-- ARGV[2] a JSON list of commands: objects of texts, with their names in `c`. The reply has one entry for each.
--
-- Values of documents are JSON texts that Python made and Python reads. They are never decoded here, for Lua has one
-- kind of number and one kind of table. Where a change needs more than that, the answer is 0 ("not here") and nothing
-- was changed: the caller reads the document and writes by compare-and-swap, or learns why it was refused.
--
--   d:<key>               hash of a document: cas, body, lists, size, and fields' JSON texts by names like ,"status":
--   events:<key> ...      list of the JSON texts of a history
--   index                 sorted set of <status> NUL <key>;  due  sorted set of <due> NUL <key>
--   q:<name>:ready        sorted set of entries, the first one next
--   q:<name>:later        sorted set of delayed and reserved entries by the microsecond at which they come back
--   q:<name>:held         hash of entry -> <reservation> <deliveries>
--   q:<name>:wake         list whose one element wakes a consumer that waits
--   q:<name>:rejected     list of the last bodies that were no uuid;  q:<name>:seq  number of the last entry
--
-- An entry is <order>:<priority>:<ttr>:<uuid>.

local call, unpack = redis.call, unpack or table.unpack
local P = KEYS[1]
local HOT = {@HOT@}
local HISTORY = {',"events":', ',"errors":', ',"warnings":'}
local OWN = {cas = true, lists = true, size = true, kind = true}
-- What makes a document one of its kind, which submit notes.
local KIND = {[',"jobType":'] = true, [',"schemaVersion":'] = true, [',"format":'] = true}
local STATUS, DUE, CANCEL, UPDATED = ',"status":', ',"due":', ',"cancelRequested":', ',"updatedAt":'
local EPOCH, SEQ, OWNER, ATTEMPTS, COMPLETE = ',"epoch":', ',"seq":', ',"owner":', ',"attempts":', ',"completeness":'
local MAX_BYTES, SHARE, REJECTED = @MAX_BYTES@, @SHARE@, @REJECTED@
local KEPT = @KEPT@ -- seconds for which it is known what a take has claimed
local SMALL = 256 -- bytes of a text that don't count towards MAX_BYTES
local UUID = '@UUID@'
local ORDERS = 999999999999999

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local places = {index = {}, due = {}}
local bells, acked = {}, {}

local function whole(number) return string.format('%.0f', number) end

local function document(key) return P .. 'd:' .. key end

local function history(field, key) return P .. field:sub(3, -3) .. ':' .. key end

local function queue(name) return P .. 'q:' .. name .. ':' end

-- documents

-- A text as it lies in an index: NUL, which ends it there, is written as NUL 255.
local function indexed(text) return (text:gsub('%z', '\0\255')) end

-- The same of the text that a JSON text stands for; false for what is no text.
local raws = {}
local function raw(text)
  if not text then return false end
  local known = raws[text]
  if known == nil then
    if text:byte() ~= 34 then
      known = false
    elseif not text:find('\\', 1, true) then
      known = text:sub(2, -2)
    else
      known = indexed(cjson.decode('[' .. text .. ']')[1])
    end
    raws[text] = known
  end
  return known
end

-- Note that a document moves within an index; all moves of a call are made at its end.
local function place(index, key, old, new)
  old, new = raw(old), raw(new)
  if old == new then return end
  if old then places[index][old .. '\0' .. key] = false end
  if new then places[index][new .. '\0' .. key] = true end
end

local function each_thousand(command, key, members)
  for i = 1, #members, 1000 do call(command, key, unpack(members, i, math.min(i + 999, #members))) end
end

local function make_moves()
  for index, moves in pairs(places) do
    local gone, come = {}, {}
    for member, is_there in pairs(moves) do
      if is_there then
        come[#come + 1], come[#come + 2] = 0, member
      else
        gone[#gone + 1] = member
      end
    end
    each_thousand('ZREM', P .. index, gone)
    each_thousand('ZADD', P .. index, come)
  end
end

-- Token, head as a part of a JSON text, and the names of its lists; nothing if there is no document. Names of fields
-- are written so that the body and, behind it, all of them with their values make such a part: of two values of a name
-- the last one counts.
local function head(key)
  local flat = call('HGETALL', document(key))
  if #flat == 0 then return nil end
  local own = {cas = '', lists = ''}
  for i = 1, #flat, 2 do
    local name = flat[i]
    if name == 'body' then
      local body = flat[i + 1]
      flat[i], flat[i + 1] = flat[1], flat[2]
      flat[1], flat[2] = '', body
    elseif OWN[name] then
      own[name] = flat[i + 1]
      flat[i], flat[i + 1] = '', ''
    end
  end
  return own.cas, table.concat(flat), own.lists
end

-- What follows writing a document whole under a token, in place of one with this status and due.
local function create(c, token, status, due)
  local key, fields = document(c.k), c.f
  call('HSET', key, 'cas', token, 'body', c.b, 'size', #c.b, 'lists', c.l, unpack(fields))
  for field, texts in pairs(c.h or {}) do each_thousand('RPUSH', history(field, c.k), texts) end
  local new = {}
  for i = 1, #fields, 2 do new[fields[i]] = fields[i + 1] end
  place('index', c.k, status, new[STATUS])
  place('due', c.k, due, new[DUE])
  return token
end

local function store(c)
  local key = document(c.k)
  local old = call('HMGET', key, 'cas', STATUS, DUE)
  local token = old[1]
  if c.t ~= '*' and (token or '0') ~= c.t then return 0 end
  if call('EXISTS', key) == 0 then return create(c, c.n) end
  if not token then return 0 end
  call('DEL', key, history(HISTORY[1], c.k), history(HISTORY[2], c.k), history(HISTORY[3], c.k))
  return create(c, whole(token + 1), old[2], old[3])
end

local function remove(c)
  local key = document(c.k)
  local old = call('HMGET', key, 'cas', STATUS, DUE)
  if c.t and c.t ~= old[1] then return old[1] and 2 or 0 end
  place('index', c.k, old[2], nil)
  place('due', c.k, old[3], nil)
  return call('DEL', key, history(HISTORY[1], c.k), history(HISTORY[2], c.k), history(HISTORY[3], c.k)) > 0 and 1 or 0
end

local function read(c)
  local token, text, lists = head(c.k)
  if not token then return 0 end
  local answer = {token, text, lists}
  if c.w then
    for i, field in ipairs(HISTORY) do
      answer[3 + i] = lists:find(field, 1, true) and call('LRANGE', history(field, c.k), 0, -1) or 0
    end
  end
  return answer
end

-- arithmetic on JSON texts

-- The number of a JSON text and whether it is a float; nothing for other texts and for what a double doesn't hold.
local function number(text)
  if text:find('^%-?%d+$') then
    if #text > 15 then return nil end
    return tonumber(text), false
  end
  if text:find('^%-?%d[%d%.eE+-]*$') then return tonumber(text), true end
end

local function added(old, amount, low, high)
  local total, float = number(old)
  local more, isfloat = number(amount)
  if not total or not more then return nil end
  total, float = total + more, float or isfloat
  for bound, text in pairs({low = low, high = high}) do
    if text ~= '' and not number(text) then return nil end
  end
  if low ~= '' then
    local bound, kind = number(low)
    if bound > total then total, float = bound, kind end
  end
  if high ~= '' then
    local bound, kind = number(high)
    if bound < total then total, float = bound, kind end
  end
  if not float then return whole(total) end
  if total ~= total or total == math.huge or total == -math.huge then return nil end
  local text = string.format('%.17g', total)
  return text:find('[%.e]') and text or text .. '.0'
end

-- By bytes: Lua's own comparison goes by the server's locale.
local function less(a, b)
  local first = 1
  while first <= #a and a:sub(first, first + 7) == b:sub(first, first + 7) do first = first + 8 end
  for i = first, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function raised(old, value)
  if old == 'null' then return value end
  if old:byte() == 34 and value:byte() == 34 then
    if old:find('\\', 1, true) or value:find('\\', 1, true) then return nil end
    return less(old:sub(2, -2), value:sub(2, -2)) and value or old
  end
  local before, after = number(old), number(value)
  if not before or not after then return nil end
  return after > before and value or old
end

-- queues

local function parse(entry)
  return entry:match('^([an]%d+):(%-?%d+):([%d%.e+-]+):(.*)$')
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

local function deliveries(held) return tonumber(held:match('%d+$')) end

local function is_held(base, entry, reservation)
  local held = call('HGET', base .. 'held', entry)
  if held and held:sub(1, #reservation + 1) == reservation .. ' ' then return held end
end

local function promote(base)
  local entries = call('ZRANGEBYSCORE', base .. 'later', '-inf', whole(now), 'LIMIT', 0, 1000)
  for _, entry in ipairs(entries) do
    call('ZREM', base .. 'later', entry)
    local held = call('HGET', base .. 'held', entry)
    if held then call('HSET', base .. 'held', entry, '- ' .. deliveries(held)) end
    ready(base, entry)
  end
end

-- Give an entry back that is held under a reservation; 0 if it isn't.
local function release(base, entry, reservation, delay)
  local held = is_held(base, entry, reservation)
  if not held then return 0 end
  call('HSET', base .. 'held', entry, '- ' .. deliveries(held))
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

-- The same without a reservation, for the engine: it is the claim of the document that keeps others out.
local function back(c)
  local base, delay = queue(c.a[1]), tonumber(c.s)
  if call('ZREM', base .. 'later', c.a[2]) == 0 then return 0 end
  if delay > 0 then later(base, c.a[2], delay) else ready(base, c.a[2]) end
  return 1
end

local function ack(base, entry)
  acked[base] = acked[base] or {}
  table.insert(acked[base], entry)
  return 1
end

-- Every SHAREth entry is the oldest of the lowest priority, of the last queue that has any.
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
  local held = call('HGET', base .. 'held', entry)
  call('HSET', base .. 'held', entry, reservation .. ' ' .. whole((held and deliveries(held) or 0) + 1))
  later(base, entry, ttr)
end

-- Claim a job that needs no look from outside: of one of the kinds c.k (what submit noted), waiting and not cancelled.
-- c.f: the fields that each claim sets, with room for more; c.u: the time; c.o: the owner before and behind the name of
-- the claim, which is n and the number of the claim. The name and the epoch; nothing if it is not for this function.
local function begin(c, uuid, n)
  local id = c.d .. uuid
  local key = document(id)
  local old = call('HMGET', key, 'cas', 'kind', STATUS, DUE, CANCEL, EPOCH, ATTEMPTS, UPDATED, ',"notBefore":')
  if not old[2] or not c.k[old[2]] or old[3] ~= '"queued"' then return nil end
  if (old[5] or 'null') ~= 'null' or (old[9] or 'null') ~= 'null' then return nil end
  for _, i in ipairs({1, 6, 7}) do
    if not old[i] or #old[i] > 15 or not old[i]:find('^%d+$') then return nil end
  end
  local at = raised(old[8] or 'null', c.u)
  if not at then return nil end
  local name, epoch, f, size = c.n .. n, whole(old[6] + 1), c.f, c.size
  f[size + 2], f[size + 4], f[size + 6] = whole(old[1] + 1), epoch, whole(old[7] + 1)
  f[size + 8], f[size + 10], f[size + 12] = c.o[1] .. name .. c.o[2], at, at
  call('HSET', key, unpack(f))
  place('index', id, old[3], c.status)
  place('due', id, old[4], nil)
  return name .. ' ' .. epoch
end

-- What a take may claim by itself, made ready; nothing if the take was given up.
local function claiming(c)
  local log = P .. 'takes:' .. c.i[1]
  local last = call('GET', log)
  if last and tonumber(last:match('^%d+')) >= tonumber(c.i[2]) then return nil end
  local f, kinds = c.f, {}
  for _, kind in ipairs(c.k) do kinds[kind] = true end
  c.k, c.size, c.log, c.won = kinds, #f, log, {}
  for i = 1, #f, 2 do
    if f[i] == STATUS then c.status = f[i + 1] end
  end
  for i, name in ipairs({'cas', EPOCH, ATTEMPTS, OWNER, ',"startedAt":', UPDATED}) do f[c.size + 2 * i - 1] = name end
  return c
end

-- Note what a take has claimed, for a worker that never hears of it.
local function note(c)
  if #c.won > 0 then call('SET', c.log, c.i[2] .. ' ' .. table.concat(c.won, ' '), 'EX', KEPT) end
end

-- What the take i (name and number), which is the last one, has claimed; if it was not done yet, it will claim nothing any
-- more.
local function won(c)
  local log = P .. 'takes:' .. c.i[1]
  local last = call('GET', log)
  if last and last:match('^%d+') == c.i[2] then return last:match(' (.*)$') or '' end
  call('SET', log, c.i[2], 'EX', KEPT)
  return ''
end

-- Take up to w entries of the queues q: under the reservation r if there is one; else each with the token and the head of
-- its job, and the name and epoch of its claim if that could be claimed at once. n: turns taken so far, which makes
-- for the share of low priorities; d: what the key of a uuid's document begins with.
local function take(c)
  local want, turn, taken, count, rejected = tonumber(c.w), tonumber(c.n), {}, 0, 0
  local claims = c.b and claiming(c.b)
  if c.b and not claims then return {0, {}, {}} end
  for _, name in ipairs(c.q) do promote(queue(name)) end
  while count < want do
    local name, entries
    if turn and turn % SHARE == SHARE - 1 then
      name, entries = next_share(c.q)
    else
      name, entries = next_run(c.q, turn and math.min(want - count, SHARE - 1 - turn % SHARE) or want - count)
    end
    if not name then break end
    local base, times, n = queue(name), {}, #taken
    for _, entry in ipairs(entries) do
      local _, _, ttr, uuid = parse(entry)
      if uuid and tonumber(ttr) and uuid:find(UUID) then
        turn, count = turn and turn + 1, count + 1
        taken[n + 1], taken[n + 2] = name, entry
        if c.r then
          reserve(base, entry, tonumber(ttr), c.r)
          n = n + 2
        else
          local begun, claimed, done, token, text = false, nil, false, nil, nil
          if claims then begun, claimed = pcall(begin, claims, uuid, count) end
          done, token, text = pcall(head, c.d .. uuid)
          taken[n + 3], taken[n + 4] = done and (token or '') or '?', done and text or '?'
          taken[n + 5] = begun and claimed or ''
          n = n + 5
          if begun and claimed then
            ack(base, entry)
            table.insert(claims.won, uuid)
          else
            times[#times + 1], times[#times + 2] = whole(now + tonumber(ttr) * 1000000), entry
          end
        end
      else
        rejected = rejected + 1
        call('HDEL', base .. 'held', entry)
        call('LPUSH', base .. 'rejected', entry)
        call('LTRIM', base .. 'rejected', 0, REJECTED - 1)
      end
    end
    each_thousand('ZADD', base .. 'later', times)
  end
  if claims then note(claims) end
  local empty = {}
  for _, name in ipairs(c.q) do
    if call('ZCARD', queue(name) .. 'ready') > 0 then bells[queue(name)] = true else empty[#empty + 1] = name end
  end
  return {rejected, empty, taken}
end

-- Whether anything is ready, and in how many microseconds something will be (-1: nothing is delayed).
local function peek(c)
  local soonest = -1
  for _, name in ipairs(c.q) do
    local base = queue(name)
    local first = call('ZRANGE', base .. 'later', 0, 0, 'WITHSCORES')[2]
    if call('ZCARD', base .. 'ready') > 0 or (first and tonumber(first) <= now) then return {1, '0'} end
    if first and (soonest < 0 or first - now < soonest) then soonest = first - now end
  end
  return {0, whole(soonest)}
end

-- changes

-- Where a field stands while operations go over it; nothing if only the body may know.
local function present(key, new, old, field)
  local text = new[field] or old[field]
  if text == nil then text = call('HGET', key, field) end
  return text or (HOT[field] and 'null') or nil
end

-- Go over the operations o of a change without writing; the new texts of fields, what is to be pushed and trimmed, and
-- the texts to answer with; seen has fields that were read. Nothing if one of them can't be done here.
local function plan(c, key, seen)
  local o, new, pushes, trims, lengths, answer, lists, i = c.o, {}, {}, {}, {}, {}, nil, 1
  while i <= #o do
    local kind, field = o[i], o[i + 1]
    if kind == 's' then
      new[field] = o[i + 2]
      i = i + 3
    elseif kind == 'a' or kind == 'm' then
      local old = present(key, new, seen, field)
      if not old then return nil end
      if kind == 'a' then
        new[field] = added(old == 'null' and '0' or old, o[i + 2], o[i + 3], o[i + 4])
        i = i + 5
      else
        new[field] = raised(old, o[i + 2])
        i = i + 3
      end
      if not new[field] then return nil end
      answer[#answer + 1] = new[field]
    else
      lists = lists or call('HGET', key, 'lists') or ''
      if not lists:find(field, 1, true) then return nil end
      if not pushes[field] then
        pushes[field], trims[field], lengths[field] = {}, 0, call('LLEN', history(field, c.k))
      end
      local keep, dropped = tonumber(o[i + 3]), ''
      table.insert(pushes[field], o[i + 2])
      lengths[field] = lengths[field] + 1
      if keep and lengths[field] > keep then
        local counter = field:sub(1, -3) .. 'Dropped":'
        local old = present(key, new, seen, counter)
        dropped = added(old == 'null' and '0' or old, whole(lengths[field] - keep), '', '')
        if not dropped then return nil end
        new[counter] = dropped
        trims[field] = trims[field] + lengths[field] - keep
        lengths[field] = keep
      end
      answer[#answer + 1] = dropped
      i = i + 4
    end
  end
  return new, pushes, trims, answer
end

-- f: fields and their new texts; o: operations on other fields; t: the token it must have; e: the epoch that must own it;
-- s, n: the number of the write before, and of this one; q: put it on a queue in the same step, unless it was cancelled;
-- z: answer with the token only.
local function mutate(c)
  local key = document(c.k)
  local old = call('HMGET', key, 'cas', STATUS, DUE, CANCEL, EPOCH, OWNER, SEQ, UPDATED, COMPLETE)
  local token = old[1]
  if not token or (c.t and c.t ~= token) then return 0 end
  if c.e and (old[5] ~= c.e or not old[6] or old[6] == 'null') then return 0 end
  if c.s and ((not old[7] or old[7] == 'null') and '0' or old[7]) ~= c.s then return 0 end
  local fields, answer, pushes, trims = c.f, {}, {}, {}
  local n = #fields
  if c.o then
    local new
    new, pushes, trims, answer = plan(c, key, {[UPDATED] = old[8], [COMPLETE] = old[9]})
    if not new then return 0 end
    for field, text in pairs(new) do
      fields[n + 1], fields[n + 2], n = field, text, n + 2
    end
  end
  local cancel, more, status, due = old[4] or 'null', 0, nil, nil
  for i = 1, n, 2 do
    local field, text = fields[i], fields[i + 1]
    if field == STATUS then status = text elseif field == DUE then due = text end
    if field == CANCEL then cancel = text end
    if KIND[field] then call('HDEL', key, 'kind') end
    if #text > SMALL then more = more + #text - call('HSTRLEN', key, field) end
  end
  if c.q and cancel ~= 'null' then return 0 end
  if more > 0 then
    more = more + call('HGET', key, 'size')
    if more > MAX_BYTES then return 0 end
    fields[n + 1], fields[n + 2], n = 'size', whole(more), n + 2
  end
  token = whole(token + 1)
  fields[n + 1], fields[n + 2], n = 'cas', token, n + 2
  if c.n then fields[n + 1], fields[n + 2], n = SEQ, c.n, n + 2 end
  for field, texts in pairs(pushes) do -- first, for what lies there may be no list
    each_thousand('RPUSH', history(field, c.k), texts)
    if trims[field] > 0 then call('LTRIM', history(field, c.k), trims[field], -1) end
  end
  if c.q then fields[n + 1], fields[n + 2] = ',"queueJobId":', put(c.q) end
  each_thousand('HSET', key, fields)
  if status then place('index', c.k, old[2], status) end
  if due then place('due', c.k, old[3], due) end
  if c.z then return token end
  return {token, cancel ~= 'null' and 1 or 0, answer}
end

-- A change that takes the entry a (name, entry) off its queue in the same step, or puts it back if nothing is changed.
local function claim(c)
  local answer = mutate(c)
  if answer == 0 then back({a = c.a, s = '0'}) else ack(queue(c.a[1]), c.a[2]) end
  return answer
end

-- All of them, or none if one is there already.
local function submit(c)
  for _, each in ipairs(c.d) do
    if call('EXISTS', document(each.k)) == 1 then return 0 end
  end
  local answer = {}
  for i, each in ipairs(c.d) do
    local id = put(each.q)
    local f, n = each.f, #each.f
    f[n + 1], f[n + 2], f[n + 3], f[n + 4] = ',"queueJobId":', id, 'kind', each.i
    answer[i] = {create(each, each.n), id}
  end
  return answer
end

-- Members of an index: of the status s or up to the due d, behind the place a (key, or due and key), at most w; of every
-- status if neither is given.
local function find(c)
  local function range(index, low, high) return call('ZRANGEBYLEX', P .. index, low, high, 'LIMIT', 0, c.w) end
  if c.d then
    local low = c.a and '(' .. indexed(c.a[1]) .. '\0' .. c.a[2] or '-'
    return {range('due', low, '(' .. indexed(c.d) .. '\0\255')}
  end
  local function of_status(status)
    local low = c.a and '(' .. status .. '\0' .. c.a[1] or '[' .. status .. '\0'
    return range('index', low, '(' .. status .. '\0\255')
  end
  if c.s then return {of_status(indexed(c.s))} end
  local answer, low = {}, '-'
  while true do
    local first = call('ZRANGEBYLEX', P .. 'index', low, '+', 'LIMIT', 0, 1)[1]
    if not first then return answer end
    local status = first:sub(1, first:find('%z[^\255]') - 1)
    answer[#answer + 1] = of_status(status)
    low = '[' .. status .. '\0\255'
  end
end

local COMMANDS = {
  read = read,
  store = store,
  remove = remove,
  mutate = mutate,
  claim = claim,
  submit = submit,
  find = find,
  take = take,
  won = won,
  peek = peek,
  put = function(c) return put(c.q) end,
  back = back,
  ack = function(c) return ack(queue(c.a[1]), c.a[2]) end,
  drop = function(c) return drop(queue(c.a[1]), c.a[2], c.a[3]) end,
  release = function(c) return release(queue(c.a[1]), c.a[2], c.a[3], tonumber(c.s)) end,
  touch = function(c)
    local base = queue(c.a[1])
    if not is_held(base, c.a[2], c.a[3]) then return 0 end
    local _, _, ttr = parse(c.a[2])
    later(base, c.a[2], tonumber(ttr))
    return 1
  end,
  stats = function(c)
    local held = call('HGET', queue(c.a[1]) .. 'held', c.a[2])
    if not held then return 0 end
    local _, priority = parse(c.a[2])
    return {deliveries(held), tonumber(priority)}
  end,
  wake = function(c)
    call('RPUSH', P .. c.l, '1')
    return call('PEXPIRE', P .. c.l, 10000)
  end,
  size = function(c) return call('ZCARD', queue(c.q) .. 'ready') + call('ZCARD', queue(c.q) .. 'later') end,
}

-- What breaks one command (a key that holds something else) is told in its place, and the others are done. What the
-- server refuses, it refuses at the first write; then nothing more is done.
local refusal
local function guarded(c)
  local done, answer = pcall(COMMANDS[c.c], c)
  if done then return answer end
  local text = type(answer) == 'table' and answer.err or tostring(answer)
  for code in string.gmatch('@REFUSALS@', '%S+') do
    if text:find(code, 1, true) then refusal = text end
  end
  return redis.error_reply(text)
end

local replies = {}
for i, c in ipairs(cjson.decode(ARGV[2])) do
  replies[i] = refusal and redis.error_reply(refusal) or guarded(c)
end
make_moves()
for base, entries in pairs(acked) do
  each_thousand('ZREM', base .. 'later', entries)
  each_thousand('HDEL', base .. 'held', entries)
end
for base in pairs(bells) do
  if call('ZCARD', base .. 'ready') + call('ZCARD', base .. 'later') > 0 and call('LLEN', base .. 'wake') == 0 then
    call('RPUSH', base .. 'wake', '1')
  end
end
return replies
