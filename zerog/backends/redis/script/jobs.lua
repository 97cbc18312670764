-- jobs: documents and queues together

local function set(text) return text and text ~= 'null' end
local function counts(text) return text and #text <= 15 and text:find('^%d+$') end

-- The translation of decide (zerog.engine.decision), for jobs that may run without a check of the clock:
-- claim a job of one of the kinds c.kinds (stored by submit), waiting and not cancelled.
-- c.fields: the fields that each claim sets, with room for more; c.now: the time; c.owner: the owner before and after the name of
-- the claim, which is n and the number of the claim. Return the name and the epoch; nil if decide must handle the job.
local function begin(c, uuid, n)
  local id = c.key_prefix .. uuid
  local key = document(id)
  local old = call('HMGET', key, 'cas', 'kind', STATUS, DUE, CANCEL, EPOCH, ATTEMPTS, UPDATED, ',"notBefore":', OWNER)
  if not old[2] or not c.kinds[old[2]] or old[3] ~= '"queued"' then return nil end
  if set(old[5]) or set(old[9]) or set(old[10]) then return nil end
  if not (counts(old[1]) and counts(old[6]) and counts(old[7])) then return nil end
  local at = raised(old[8] or 'null', c.now)
  if not at then return nil end
  local name, epoch, f, size = c.name .. n, whole(old[6] + 1), c.fields, c.size
  f[size + 2], f[size + 4], f[size + 6] = whole(old[1] + 1), epoch, whole(old[7] + 1)
  f[size + 8], f[size + 10], f[size + 12] = c.owner[1] .. name .. c.owner[2], '"' .. name .. '"', at
  f[size + 14] = at
  call('HSET', key, unpack(f))
  place('index', id, old[3], c.status)
  place('due', id, old[4], nil)
  return name .. ' ' .. epoch
end

-- Prepare the claims that a take may make alone.
local function claiming(c)
  local f, kinds = c.fields, {}
  for _, kind in ipairs(c.kinds) do kinds[kind] = true end
  c.kinds, c.size = kinds, #f
  for i = 1, #f, 2 do
    if f[i] == STATUS then c.status = f[i + 1] end
  end
  for i, name in ipairs({'cas', EPOCH, ATTEMPTS, OWNER, RUN, ',"startedAt":', UPDATED}) do f[c.size + 2 * i - 1] = name end
  return c
end

-- Take up to w entries of the queues q: under the reservation r if there is one; else each with the token and head of
-- its job, and the name and epoch of its claim if that could be made at once. n: turns taken so far, which decides the
-- share of low priorities; d: prefix of the key of a uuid's document.
local function take(c)
  local want, turn, taken, count, rejected = tonumber(c.want), tonumber(c.turn), {}, 0, 0
  local claims = c.claims and claiming(c.claims)
  for _, name in ipairs(c.queues) do promote(queue(name)) end
  while count < want do
    local name, entries
    if turn and turn % SHARE == SHARE - 1 then
      name, entries = next_share(c.queues)
    else
      name, entries = next_run(c.queues, turn and math.min(want - count, SHARE - 1 - turn % SHARE) or want - count)
    end
    if not name then break end
    local base, times, n = queue(name), {}, #taken
    for _, entry in ipairs(entries) do
      local ttr, uuid = understood(entry)
      if ttr then
        turn, count = turn and turn + 1, count + 1
        taken[n + 1], taken[n + 2] = name, entry
        if c.reservation then
          reserve(base, entry, ttr, c.reservation)
          n = n + 2
        else
          local begun, claimed, done, token, text = false, nil, false, nil, nil
          if claims then begun, claimed = pcall(begin, claims, uuid, count) end
          done, token, text = pcall(head, c.key_prefix .. uuid)
          taken[n + 3], taken[n + 4] = done and (token or '') or '?', done and text or '?'
          taken[n + 5] = begun and claimed or ''
          n = n + 5
          if begun and claimed then
            ack(base, entry)
          else
            times[#times + 1], times[#times + 2] = whole(now + ttr * 1000000), entry
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
  for _, name in ipairs(c.queues) do
    if call('ZCARD', queue(name) .. 'ready') > 0 then bells[queue(name)] = true end
  end
  return {rejected, taken}
end

-- Apply a change and take the entry a (name, entry) off its queue in the same step, or put it back if nothing changes.
local function claim(c)
  local answer = mutate(c)
  if answer == 0 then back({entry = c.entry, delay = '0'}) else ack(queue(c.entry[1]), c.entry[2]) end
  return answer
end

-- Create all of them, or none if one exists already.
local function submit(c)
  for _, each in ipairs(c.documents) do
    if call('EXISTS', document(each.key)) == 1 then return 0 end
  end
  local answer = {}
  for i, each in ipairs(c.documents) do
    local id = put(each.put)
    local f, n = each.fields, #each.fields
    f[n + 1], f[n + 2], f[n + 3], f[n + 4] = ',"queueJobId":', id, 'kind', each.kind
    answer[i] = {create(each, each.first_token), id}
  end
  return answer
end
