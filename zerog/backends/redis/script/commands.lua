local COMMANDS = {
  read = read,
  store = store,
  remove = remove,
  discard = discard,
  list = list,
  mutate = mutate,
  claim = claim,
  submit = submit,
  find = find,
  tally = tally,
  take = take,
  peek = peek,
  holds = holds,
  withdraw = withdraw,
  put = function(c) return put(c.put) end,
  back = back,
  aside = aside,
  ack = function(c) return ack(queue(c.entry[1]), c.entry[2]) end,
  drop = function(c) return drop(queue(c.entry[1]), c.entry[2], c.entry[3]) end,
  release = function(c) return release(queue(c.entry[1]), c.entry[2], c.entry[3], tonumber(c.delay)) end,
  wake = function(c)
    call('RPUSH', P .. c.bell, '1')
    return call('PEXPIRE', P .. c.bell, 10000)
  end,
  size = function(c) return call('ZCARD', queue(c.queue) .. 'ready') + call('ZCARD', queue(c.queue) .. 'later') end,
}

-- The last reply is the time in microseconds.
-- An error of one command (a key that holds something else) is its reply, and the other commands are executed. The
-- server refuses a call at its first write; then nothing more is done.
local refusal
local function guarded(c)
  local done, answer = pcall(COMMANDS[c.command], c)
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
replies[#replies + 1] = whole(now)
return replies
