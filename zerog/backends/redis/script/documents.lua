-- documents

-- Escape a text for an index, where NUL ends it: NUL is written as NUL 255.
local function indexed(text) return (text:gsub('%z', '\0\255')) end

-- The same for the text that a JSON text encodes; false if it encodes no text.
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
local function move(index, key, old, new)
  if old == new then return end
  if old then places[index][old .. '\0' .. key] = false end
  if new then places[index][new .. '\0' .. key] = true end
end

local function place(index, key, old, new) move(index, key, raw(old), raw(new)) end

-- Return the place of a document with these values in the index of ended jobs; false if it doesn't belong there.
local function ending(status, kind, finished)
  status, kind, finished = raw(status), raw(kind), raw(finished)
  return ENDED[status] and kind and finished and status .. '\0' .. kind .. '\0' .. finished
end

-- Return the place of a document with these values in the index by creation; false if it doesn't belong there.
local function creation(status, created)
  status, created = raw(status), raw(created)
  return status and created and ((ENDED[status] or status == SCHEDULED) and status or 'open') .. '\0' .. created
end

-- Move a document within the index of terms: from those of lists (JSON texts; false for none) and a time of creation.
local function retermed(key, old, before, new, after)
  local function set(lists, created, is_there)
    for i = 1, created and 2 or 0 do
      for _, term in ipairs(lists[i] and cjson.decode(lists[i]) or {}) do
        places.terms[indexed(term[1]) .. '\0' .. indexed(term[2]) .. '\0' .. created .. '\0' .. key] = is_there
      end
    end
  end
  set(old, before, false)
  set(new, after, true)
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

-- Return token, head as a part of a JSON text, and the names of its lists; nil if there is no document. Names of fields
-- are written so that the body, followed by all of them with their values, makes such a part: of two values of a name
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

-- Do the rest of writing a document whole under a token, in place of one with these places.
local function create(c, token, status, due, ended, created)
  local key, fields = document(c.key), c.fields
  call('HSET', key, 'cas', token, 'body', c.body, 'size', #c.body, 'lists', c.lists, unpack(fields))
  for field, texts in pairs(c.history or {}) do each_thousand('RPUSH', history(field, c.key), texts) end
  local new = {}
  for i = 1, #fields, 2 do new[fields[i]] = fields[i + 1] end
  place('index', c.key, status, new[STATUS])
  place('due', c.key, due, new[DUE])
  move('ended', c.key, ended or false, ending(new[STATUS], new[TYPE], new[FINISHED]))
  move('created', c.key, created or false, creation(new[STATUS], new[CREATED]))
  if c.attrs then call('HSET', key, 'attrs', c.attrs) end
  if c.lastError then call('HSET', key, 'lastError', c.lastError) end
  if c.attrs or c.lastError then retermed(c.key, {}, false, {c.attrs, c.lastError}, raw(new[CREATED])) end
  return token
end

local function store(c)
  local key = document(c.key)
  local old = call('HMGET', key, 'cas', STATUS, DUE, TYPE, FINISHED, CREATED, 'attrs', 'lastError')
  local token = old[1]
  if c.token ~= '*' and (token or '0') ~= c.token then return 0 end
  if call('EXISTS', key) == 0 then return create(c, c.first_token) end
  if not token then return 0 end
  retermed(c.key, {old[7], old[8]}, raw(old[6]), {}, false)
  call('DEL', key, history(HISTORY[1], c.key), history(HISTORY[2], c.key), history(HISTORY[3], c.key))
  return create(c, whole(token + 1), old[2], old[3], ending(old[2], old[4], old[5]), creation(old[2], old[6]))
end

local function remove(c)
  local key = document(c.key)
  local old = redis.pcall('HMGET', key, 'cas', STATUS, DUE, TYPE, FINISHED, CREATED, 'attrs', 'lastError')
  if old.err then old = {} end -- no hash, so it is damaged; remove it all the same
  if c.token and c.token ~= old[1] then return old[1] and 2 or 0 end
  place('index', c.key, old[2], nil)
  place('due', c.key, old[3], nil)
  move('ended', c.key, ending(old[2], old[4], old[5]), false)
  move('created', c.key, creation(old[2], old[6]), false)
  retermed(c.key, {old[7], old[8]}, raw(old[6]), {}, false)
  return call('DEL', key, history(HISTORY[1], c.key), history(HISTORY[2], c.key), history(HISTORY[3], c.key)) > 0 and 1 or 0
end

-- Remove a document whose fields f still have these texts.
local function discard(c)
  local key = document(c.key)
  for i = 1, #c.fields, 2 do
    if call('HGET', key, c.fields[i]) ~= c.fields[i + 1] then return 0 end
  end
  return remove({key = c.key})
end

-- Move documents within an index from these places (status, type, end and key; or group, time of creation and key)
-- to those where they belong.
local function list(c)
  for _, m in ipairs(c.members) do
    local key, actual = table.remove(m), nil
    for i, text in ipairs(m) do m[i] = indexed(text) end
    local at = table.concat(m, '\0')
    if c.index == 'ended' then
      actual = ending(unpack(call('HMGET', document(key), STATUS, TYPE, FINISHED)))
    else
      actual = creation(unpack(call('HMGET', document(key), STATUS, CREATED)))
    end
    move(c.index, key, actual ~= at and at, actual)
  end
  return 1
end

local function read(c)
  local token, text, lists = head(c.key)
  if not token then return 0 end
  local answer = {token, text, lists}
  if c.whole then
    for i, field in ipairs(HISTORY) do
      answer[3 + i] = lists:find(field, 1, true) and call('LRANGE', history(field, c.key), 0, -1) or 0
    end
  end
  return answer
end

-- Return how many of these documents have fields with these JSON texts (name, text, …), and the keys of those that have
-- to be read to find out. A text within the body counts if the name occurs there once.
local function tally(c)
  local number, unsure = 0, {}
  for _, key in ipairs(c.keys) do
    local fits, is_sure = true, true
    for i = 1, #c.fields, 2 do
      local name, text = c.fields[i], c.fields[i + 1]
      local whole = redis.pcall('HGET', document(key), name)
      if type(whole) == 'table' then -- an error: no hash
        fits = false
      elseif whole then
        fits = fits and whole == text
      else
        local body = call('HGET', document(key), 'body') or ''
        local at = body:find(name, 1, true)
        is_sure = is_sure and not (at and body:find(name, at + 1, true))
        fits = fits and at and body:sub(at + #name, at + #name + #text - 1) == text
      end
    end
    if not is_sure then
      unsure[#unsure + 1] = key
    elseif fits then
      number = number + 1
    end
  end
  return {number, unsure}
end

-- arithmetic on JSON texts

-- Return the number of a JSON text and whether it is a float; nil for other texts and numbers that no double can hold.
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

-- Compare by bytes: Lua's own comparison uses the server's locale.
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

-- Return members of an index, at most c.limit after the place c.after: up to c.due (after: due and key); or of c.status
-- (after: key), and of c.job_type up to the end c.until_time (after: end and key); of every status if none is given. With
-- c.order by creation, of a group, from c.since up to c.until_time (after: time of creation and key).
local function find(c)
  local index = c.order and 'created' or 'index'
  local function range(name, low, high)
    if c.order == 'newest' then return call('ZREVRANGEBYLEX', P .. name, high, low, 'LIMIT', 0, c.limit) end
    return call('ZRANGEBYLEX', P .. name, low, high, 'LIMIT', 0, c.limit)
  end
  local function timed(name, at)
    local low = '[' .. at .. indexed(c.since or '')
    local high = '(' .. at .. (c.until_time and indexed(c.until_time) .. '\0' or '') .. '\255'
    if c.after then
      local last = '(' .. at .. indexed(c.after[1]) .. '\0' .. c.after[2]
      if c.order == 'newest' then high = last else low = last end
    end
    return range(name, low, high)
  end
  if c.due then
    local low = c.after and '(' .. indexed(c.after[1]) .. '\0' .. c.after[2] or '-'
    return {range('due', low, '(' .. indexed(c.due) .. '\0\255')}
  end
  local function of_status(status)
    local at = status .. '\0'
    if c.order then return timed(index, at) end
    return range(index, c.after and '(' .. at .. c.after[1] or '[' .. at, '(' .. at .. '\255')
  end
  if c.until_time and not c.order then
    return {timed('ended', indexed(c.status) .. '\0' .. indexed(c.job_type) .. '\0')}
  end
  if c.status then return {of_status(indexed(c.status))} end
  local answer, low = {}, '-'
  while true do
    local first = call('ZRANGEBYLEX', P .. index, low, '+', 'LIMIT', 0, 1)[1]
    if not first then return answer end
    local status = first:sub(1, first:find('%z[^\255]') - 1)
    answer[#answer + 1] = of_status(status)
    low = '[' .. status .. '\0\255'
  end
end
