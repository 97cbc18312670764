-- changes

-- Text of a field while operations are applied; nil if only the body may have it.
local function present(key, new, old, field)
  local text = new[field] or old[field]
  if text == nil then text = call('HGET', key, field) end
  return text or (HOT[field] and 'null') or nil
end

-- Return how many of the last entries of a list fit in so many bytes.
local function fitting(list, most)
  local count, length = 0, call('LLEN', list)
  while count < length do
    local entries = call('LRANGE', list, -count - 100, -count - 1)
    for i = #entries, 1, -1 do
      most = most - #entries[i]
      if most < 0 then return count end
      count = count + 1
    end
  end
  return count
end

-- Plan the operations o of a change without writing; return the new texts of fields, the pushes and trims, and the
-- texts of the answer; seen has fields that were read. Return nil if one of them can't be done here.
local function plan(c, key, seen)
  local o, new, pushes, trims, lengths, answer, lists, i = c.operations, {}, {}, {}, {}, {}, nil, 1
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
        pushes[field], trims[field], lengths[field] = {}, 0, call('LLEN', history(field, c.key))
      end
      local keep, dropped = tonumber(o[i + 3]), ''
      table.insert(pushes[field], o[i + 2])
      lengths[field] = lengths[field] + 1
      if keep and c.measured then
        local most = HISTORY_BYTES
        for _, text in ipairs(pushes[field]) do most = most - #text end
        keep = math.min(keep, fitting(history(field, c.key), most) + #pushes[field])
      end
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

-- f: fields and their new texts; o: operations on other fields; t: the token it must have;
-- e, r: the epoch, and a part of the owner's text, of the run that must own it;
-- s, n: the numbers of the last write and of this one; q: put it on a queue in the same step, unless it was cancelled;
-- y: also bound the bytes of the lists that are appended to; z: answer with the token only.
local function mutate(c)
  local key = document(c.key)
  local old = call('HMGET', key, 'cas', STATUS, DUE, CANCEL, EPOCH, OWNER, SEQ, UPDATED, COMPLETE, TYPE,
    FINISHED, CREATED)
  local token = old[1]
  if not token or (c.token and c.token ~= token) then return 0 end
  if c.epoch and (old[5] ~= c.epoch or not old[6] or not old[6]:find(c.nonce, 1, true)) then return 0 end
  if c.seq_before and ((not old[7] or old[7] == 'null') and '0' or old[7]) ~= c.seq_before then return 0 end
  local fields, answer, pushes, trims = c.fields, {}, {}, {}
  local n = #fields
  if c.operations then
    local new
    new, pushes, trims, answer = plan(c, key, {[UPDATED] = old[8], [COMPLETE] = old[9]})
    if not new then return 0 end
    for field, text in pairs(new) do
      fields[n + 1], fields[n + 2], n = field, text, n + 2
    end
  end
  local cancel, more, status, due, limit = old[4] or 'null', 0, nil, nil, JOB_BYTES
  local kind, finished, created = old[10], old[11], old[12]
  for i = 1, n, 2 do
    local field, text = fields[i], fields[i + 1]
    if field == STATUS then status = text elseif field == DUE then due = text end
    if field == TYPE then kind = text elseif field == FINISHED then finished = text end
    if field == CREATED then created = text end
    if field == CANCEL then cancel = text end
    if field == STATUS or field == CANCEL then limit = MAX_BYTES end
    if KIND[field] then call('HDEL', key, 'kind') end
    if #text > SMALL then more = more + #text - call('HSTRLEN', key, field) end
  end
  if c.put and cancel ~= 'null' then return 0 end
  local ended = ending(status or old[2], kind, finished)
  if not (ended or kind) and ending(status or old[2], '""', finished) then return 0 end -- the type may be in the body
  if more > 0 then
    more = more + call('HGET', key, 'size')
    if more > limit then return 0 end
    fields[n + 1], fields[n + 2], n = 'size', whole(more), n + 2
  end
  token = whole(token + 1)
  fields[n + 1], fields[n + 2], n = 'cas', token, n + 2
  if c.seq then fields[n + 1], fields[n + 2], n = SEQ, c.seq, n + 2 end
  for field, texts in pairs(pushes) do -- first, since the key may hold no list
    each_thousand('RPUSH', history(field, c.key), texts)
    if trims[field] > 0 then call('LTRIM', history(field, c.key), trims[field], -1) end
  end
  if c.attrs or c.lastError or created ~= old[12] then
    local listed = call('HMGET', key, 'attrs', 'lastError')
    retermed(c.key, listed, raw(old[12]), {c.attrs or listed[1], c.lastError or listed[2]}, raw(created))
    for _, list in ipairs({'attrs', 'lastError'}) do
      if c[list] then fields[n + 1], fields[n + 2], n = list, c[list], n + 2 end
    end
  end
  if c.put then fields[n + 1], fields[n + 2] = ',"queueJobId":', put(c.put) end
  each_thousand('HSET', key, fields)
  if status then place('index', c.key, old[2], status) end
  if due then place('due', c.key, old[3], due) end
  move('ended', c.key, ending(old[2], old[10], old[11]), ended)
  if status or created ~= old[12] then
    move('created', c.key, creation(old[2], old[12]), creation(status or old[2], created))
  end
  if c.brief then return token end
  return {token, cancel ~= 'null' and 1 or 0, answer}
end
