#!lua name=@LIBRARY@

-- The backplane's functions inside Redis. Every function touches one partition, whose keys all
-- carry its hash tag, and is atomic as Redis runs it.
--
-- Numbers of 64 bits are byte strings, most significant byte first: Lua's numbers are doubles.
-- Offsets are numbers while they are counted, which is exact below 2^53.
-- Nothing of Lua's libraries can be named while the library is loaded, only in functions.
--
-- Keys of a partition, always in this order:
--   1 meta      hash: lineage, past lineages, epoch, when ids and tops took turns, and lacks: 1 when
--               it began from nothing and an archive may know more channels, 0 once it was told all,
--               nothing a turn of tops later
--   2 tops      hash: channel => offset and chain of its newest event
--   3 tops.old  the same of the turn before
--   4 ids       hash: record id => place
--   5 ids.old   the same of the turn before
--   6 recent    sorted set: channel by the milliseconds of its last event
--   7 ...       streams of the channels of a call
-- and in partition 0
--   nodes       sorted set: node by the milliseconds at which its lease ends
-- place  = epoch 8, offset 8, chain 8, previous chain 8
-- item   = place 32, record id 16, class 1, accepted at (microseconds) 8
-- top    = offset 8, chain 8
-- Stream entries have the id <offset>-0 and the fields h (item) and f (frame).

local LINEAGE_BYTES = 32
local PAST_LINEAGES = 8
local IDS_TURN_MS = 300000
local IDS_LIFE_MS = 3 * IDS_TURN_MS
local TOPS_TURN_MS = 30 * 86400000
local RECENT_MS = 60000
local RECENT_LIFE_MS = 3 * RECENT_MS
local MESSAGE_BYTES_MAX = 65536
local ZERO = '\0\0\0\0\0\0\0\0'

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether one string of 8 bytes stands above another; `<` would ask the locale.
local function is_above(one, other)
  for at = 1, 8 do
    local a, b = one:byte(at), other:byte(at)
    if a ~= b then
      return a > b
    end
  end
  return false
end

local function hex(bytes)
  return (bytes:gsub('.', function(byte)
    return string.format('%02x', byte:byte())
  end))
end

-- Keeps a key for its life from now on, or a quarter less: each command of a call is one more for
-- the replicas and the file, and what a key has left is not.
local function keep(key, life)
  if redis.call('PTTL', key) < life * 3 / 4 then
    redis.call('PEXPIRE', key, life)
  end
end

-- Lets the older of two keys go and the younger take its place.
local function take_turns(young, old, missed)
  redis.call('UNLINK', old)
  if missed then
    redis.call('UNLINK', young)
  elseif redis.call('EXISTS', young) == 1 then
    redis.call('RENAME', young, old)
  end
end

-- The epoch to place in, or nil and an error. A lineage that was never seen starts an epoch; one
-- that is past belongs to a server that is not the master any more, or was not read again. A
-- caller that has placed before says in which epoch: when that is another one now, or none since
-- the keys were removed, it has to submit again what may be lost, before anything new.
-- Returns the epoch, an error, what the partition lacks, and whether it begins from nothing with
-- this call.
local function enter(keys, lineage, known, proposal, now)
  local meta = redis.call('HMGET', keys[1], 'lineage', 'past', 'epoch', 'ids', 'tops', 'lacks')
  local epoch, lacks = meta[3], meta[6] or ''
  local begins = not epoch
  local ids, tops = tonumber(meta[4] or now), tonumber(meta[5] or now)
  local ids_due, tops_due = now - ids >= IDS_TURN_MS, now - tops >= TOPS_TURN_MS
  local is_known = known == ZERO or known == epoch
  if is_known and meta[1] == lineage and not ids_due and not tops_due then
    return epoch, nil, lacks, false
  end
  local is_new = meta[1] ~= lineage
  local past = meta[2] or ''
  if is_new then
    for at = 1, #past, LINEAGE_BYTES do
      if past:sub(at, at + LINEAGE_BYTES - 1) == lineage then
        return nil, redis.error_reply('STALE_LINEAGE read the lineage of the server again')
      end
    end
    past = ((meta[1] or '') .. past):sub(1, PAST_LINEAGES * LINEAGE_BYTES)
  end
  if not is_known then
    return nil, redis.error_reply('EPOCH_CHANGED submit again what was placed last')
  end
  -- Channels that are forgotten with a turn of tops start again: never under the same epoch.
  if is_new or tops_due then
    if epoch and not is_above(proposal, epoch) then
      return nil, redis.error_reply('EPOCH_BEHIND ' .. hex(epoch))
    end
    epoch = proposal
  end
  -- What begins from nothing may have been emptied. A turn of tops later every channel that was
  -- not asked for has been silent for so long that it would be forgotten anyway.
  if begins then
    lacks = '1'
  elseif tops_due then
    lacks = ''
  end
  if ids_due then
    take_turns(keys[4], keys[5], now - ids >= 2 * IDS_TURN_MS)
    ids = now
  end
  if tops_due then
    take_turns(keys[2], keys[3], now - tops >= 2 * TOPS_TURN_MS)
    tops = now
  end
  redis.call('HSET', keys[1], 'lineage', lineage, 'past', past, 'epoch', epoch,
    'ids', string.format('%.0f', ids), 'tops', string.format('%.0f', tops), 'lacks', lacks)
  return epoch, nil, lacks, begins
end

-- Tops of channels, in their order; false where nothing is known.
local function read_tops(keys, names)
  local tops = redis.call('HMGET', keys[2], unpack(names))
  local old
  for at = 1, #names do
    if not tops[at] then
      old = old or redis.call('HMGET', keys[3], unpack(names))
      tops[at] = old[at]
    end
  end
  return tops
end

-- Where a channel without a top goes on: after what its stream holds, or after the floor.
local function revive(stream, floor)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last then
    return last[2][2]:sub(9, 24)
  end
  return floor
end

-- args: lineage, epoch in which the caller placed last (zero: it does not know), proposed epoch,
-- PUBLISH or SPUBLISH, prefix of pub/sub names, most entries of a stream, life of a stream in ms,
-- number of channels, then (channel, floor) for each, then (head, frame) for each record; head =
-- number of the channel 2, record id 16, class 1, accepted at 8. An empty floor says that the
-- caller can ask an archive for it. Returns the epoch, and R or N (repeated or new) and the place,
-- for each record; or, when nothing is placed before the archive was asked, a list of the channels.
local function publish(keys, args)
  local now = now_ms()
  local epoch, refusal, lacks, begins = enter(keys, args[1], args[2], args[3], now)
  if not epoch then
    return refusal
  end
  local command, prefix, entries_max, life_ms = args[4], args[5], args[6], tonumber(args[7])
  local channels = tonumber(args[8])
  local names, first = {}, 9 + 2 * channels
  for at = 1, channels do
    names[at] = args[7 + 2 * at]
  end
  local tops, wanted = read_tops(keys, names), {}
  local offsets, chains, messages, sizes = {}, {}, {}, {}
  for at = 1, channels do
    local floor = args[8 + 2 * at]
    local top = tops[at] or revive(keys[6 + at], floor)
    if top == '' then
      top = ZERO .. ZERO
      if lacks == '1' then
        wanted[#wanted + 1] = names[at]
      end
    end
    offsets[at], chains[at] = struct.unpack('>I8c8', top)
    -- A top without events is what an archive knew, which may be behind the node.
    if lacks ~= '' and tops[at] and floor ~= '' and struct.unpack('>I8', floor) > offsets[at]
        and redis.call('EXISTS', keys[6 + at]) == 0 then
      offsets[at], chains[at] = struct.unpack('>I8c8', floor)
    end
    messages[at], sizes[at] = {'\1'}, 0
  end
  if #wanted > 0 then
    -- The epoch has to be above those that the archive knows, which the next call brings.
    if begins then
      redis.call('UNLINK', keys[1])
    end
    return wanted
  end
  local ids, count = {}, 0
  for at = first, #args, 2 do
    count = count + 1
    ids[count] = args[at]:sub(3, 18)
  end
  local placed = redis.call('HMGET', keys[4], unpack(ids))
  local placed_before = redis.call('HMGET', keys[5], unpack(ids))
  local pack = struct.pack
  local answers, in_call, new_ids, full = {}, {}, {}, {}
  for record = 1, count do
    local id = ids[record]
    local place = placed[record] or placed_before[record] or in_call[id]
    if place then
      answers[record] = 'R' .. place
    else
      local head, frame = args[first + 2 * record - 2], args[first + 2 * record - 1]
      local channel = head:byte(1) * 256 + head:byte(2) + 1
      local offset, previous = offsets[channel] + 1, chains[channel]
      local digest = redis.sha1hex(previous .. id)
      local chain = pack('>I4I4', tonumber(digest:sub(1, 8), 16), tonumber(digest:sub(9, 16), 16))
      place = epoch .. pack('>I8', offset) .. chain .. previous
      local item = place .. head:sub(3)
      redis.call('XADD', keys[6 + channel], 'MAXLEN', '~', entries_max,
        string.format('%.0f-0', offset), 'h', item, 'f', frame)
      offsets[channel], chains[channel] = offset, chain
      local parts = messages[channel]
      if #parts > 1 and sizes[channel] + #frame > MESSAGE_BYTES_MAX then
        full[#full + 1], full[#full + 2] = prefix .. names[channel], table.concat(parts)
        parts, sizes[channel] = {'\1'}, 0
        messages[channel] = parts
      end
      parts[#parts + 1] = pack('>I4', #frame)
      parts[#parts + 1] = item
      parts[#parts + 1] = frame
      sizes[channel] = sizes[channel] + #frame
      in_call[id] = place
      new_ids[#new_ids + 1] = id
      new_ids[#new_ids + 1] = place
      answers[record] = 'N' .. place
    end
  end
  if #new_ids > 0 then
    redis.call('HSET', keys[4], unpack(new_ids))
    keep(keys[4], IDS_LIFE_MS)
    local changed, times, score = {}, {}, string.format('%.0f', now)
    for channel = 1, channels do
      if #messages[channel] > 1 then
        local top = pack('>I8', offsets[channel]) .. chains[channel]
        changed[#changed + 1], changed[#changed + 2] = names[channel], top
        times[#times + 1], times[#times + 2] = score, names[channel]
        keep(keys[6 + channel], life_ms)
        full[#full + 1], full[#full + 2] = prefix .. names[channel], table.concat(messages[channel])
      end
    end
    redis.call('HSET', keys[2], unpack(changed))
    redis.call('ZADD', keys[6], unpack(times))
    redis.call('ZREMRANGEBYSCORE', keys[6], '-inf', string.format('(%.0f', now - RECENT_MS))
    keep(keys[6], RECENT_LIFE_MS)
    -- Nobody listens at replicas. Last, so that nothing is half placed when it is refused.
    redis.set_repl(redis.REPL_NONE)
    for at = 1, #full, 2 do
      redis.call(command, full[at], full[at + 1])
    end
  end
  return epoch .. table.concat(answers)
end

-- Takes what an archive knows of channels whose streams are keys: those without events go on there,
-- unless they are further. args: lineage, epoch in which the caller placed last, proposed epoch,
-- highest epoch among the tops, 1 when the archive knows no others of the partition and 0
-- otherwise, then (channel, top) for each. Returns the epoch, and 1 while other channels may have
-- been lost.
local function seed(keys, args)
  local epoch, refusal, lacks = enter(keys, args[1], args[2], args[3], now_ms())
  if not epoch then
    return refusal
  end
  if lacks == '1' then
    -- Whoever began the partition may have had a slow clock.
    if is_above(args[4], epoch) and is_above(args[3], args[4]) then
      epoch = args[3]
      redis.call('HSET', keys[1], 'epoch', epoch)
    end
    local names, places, new = {}, {}, {}
    for at = 6, #args, 2 do
      names[#names + 1], places[#places + 1] = args[at], args[at + 1]
    end
    local known = #names > 0 and read_tops(keys, names)
    for at = 1, #names do
      local is_new = not known[at] or is_above(places[at], known[at])
      if is_new and redis.call('EXISTS', keys[6 + at]) == 0 then
        new[#new + 1], new[#new + 2] = names[at], places[at]
      end
    end
    if #new > 0 then
      redis.call('HSET', keys[2], unpack(new))
    end
    if args[5] == '1' then
      lacks = '0'
      redis.call('HSET', keys[1], 'lacks', lacks)
    end
  end
  return {epoch, lacks == '1' and 1 or 0}
end

-- Events of a channel from an offset on, with the epoch and the top. args: channel, first offset,
-- most events, most bytes of frames. Returns epoch, top and a list of items and frames.
local function range(keys, args)
  local epoch = redis.call('HGET', keys[1], 'epoch') or ZERO
  local top = read_tops(keys, {args[1]})[1] or revive(keys[7], ZERO .. ZERO)
  local from, left, room = args[2] .. '-0', tonumber(args[3]), tonumber(args[4])
  local events = {}
  while left > 0 and room > 0 do
    local asked = math.min(left, 64)
    local entries = redis.call('XRANGE', keys[7], from, '+', 'COUNT', asked)
    for at = 1, #entries do
      if room <= 0 then
        break
      end
      local fields = entries[at][2]
      events[#events + 1], events[#events + 2] = fields[2], fields[4]
      room = room - #fields[4]
    end
    left = left - #entries
    if #entries < asked then
      break
    end
    from = '(' .. entries[#entries][1]
  end
  return {epoch, top, events}
end

-- Tops of channels. args: channels. Returns the epoch and a top for each channel; channels of
-- which nothing is known have an empty one.
local function tops(keys, args)
  local epoch = redis.call('HGET', keys[1], 'epoch') or ZERO
  local found = read_tops(keys, args)
  for at = 1, #args do
    found[at] = found[at] or ''
  end
  return {epoch, found}
end

-- Channels whose events came at or after a time. args: milliseconds, most channels. Returns the
-- epoch, the time to ask from next, and channels with their tops.
local function recent(keys, args)
  local epoch = redis.call('HGET', keys[1], 'epoch') or ZERO
  local listed = redis.call('ZRANGEBYSCORE', keys[6], args[1], '+inf', 'WITHSCORES',
    'LIMIT', 0, args[2])
  local names, next_from, found = {}, args[1], {}
  for at = 1, #listed, 2 do
    names[#names + 1] = listed[at]
    next_from = listed[at + 1]
  end
  if #names > 0 then
    local changed = read_tops(keys, names)
    for at = 1, #names do
      found[2 * at - 1], found[2 * at] = names[at], changed[at] or ''
    end
  end
  return {epoch, next_from, found}
end

-- An error for a lineage that is past.
local function refuse_past(keys, lineage)
  local meta = redis.call('HMGET', keys[1], 'lineage', 'past')
  local past = meta[2] or ''
  for at = 1, #past, LINEAGE_BYTES do
    if meta[1] ~= lineage and past:sub(at, at + LINEAGE_BYTES - 1) == lineage then
      return redis.error_reply('STALE_LINEAGE read the lineage of the server again')
    end
  end
end

-- Where records stand. args: lineage, record ids. Returns a place for each record, empty where it is
-- not known. Only the server that the caller means answers.
local function known(keys, args)
  local refusal = refuse_past(keys, args[1])
  if refusal then
    return refusal
  end
  local ids = {unpack(args, 2)}
  local found = redis.call('HMGET', keys[4], unpack(ids))
  local before = redis.call('HMGET', keys[5], unpack(ids))
  for at = 1, #ids do
    found[at] = found[at] or before[at] or ''
  end
  return found
end

-- Sends a probe, as nothing but a master that takes writes can. args: lineage, PUBLISH or
-- SPUBLISH, pub/sub name, message.
local function probe(keys, args)
  local refusal = refuse_past(keys, args[1])
  if refusal then
    return refusal
  end
  redis.set_repl(redis.REPL_NONE)
  redis.call(args[2], args[3], args[4])
  return redis.status_reply('OK')
end

-- Keeps the lease of a node and lists the nodes that have one. keys: nodes. args: node, life in
-- milliseconds (0 ends it), most nodes. Returns whether its lease had not ended, and the nodes.
local function lease(keys, args)
  local now, life, most = now_ms(), tonumber(args[2]), tonumber(args[3])
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', string.format('%.0f', now))
  local held = redis.call('ZSCORE', keys[1], args[1]) and 1 or 0
  if life == 0 then
    redis.call('ZREM', keys[1], args[1])
  elseif held == 1 or redis.call('ZCARD', keys[1]) < most then
    redis.call('ZADD', keys[1], string.format('%.0f', now + life), args[1])
    -- The lease of another node may last longer.
    if redis.call('PTTL', keys[1]) < life then
      redis.call('PEXPIRE', keys[1], life)
    end
  end
  return {held, redis.call('ZRANGE', keys[1], 0, most - 1)}
end

-- Lists the leases that have not ended. keys: nodes. args: most nodes. Returns nodes, each with the
-- milliseconds that its lease lasts.
local function leases(keys, args)
  local now = now_ms()
  local listed = redis.call('ZRANGEBYSCORE', keys[1], string.format('(%.0f', now), '+inf',
    'WITHSCORES', 'LIMIT', 0, args[1])
  for at = 2, #listed, 2 do
    listed[at] = string.format('%.0f', tonumber(listed[at]) - now)
  end
  return listed
end

redis.register_function('@LIBRARY@_publish', publish)
redis.register_function('@LIBRARY@_seed', seed)
redis.register_function('@LIBRARY@_lease', lease)
redis.register_function('@LIBRARY@_probe', probe)
redis.register_function{
  function_name = '@LIBRARY@_known', callback = known, flags = {'no-writes'},
}
redis.register_function{
  function_name = '@LIBRARY@_leases', callback = leases, flags = {'no-writes'},
}
redis.register_function{
  function_name = '@LIBRARY@_range', callback = range, flags = {'no-writes'},
}
redis.register_function{
  function_name = '@LIBRARY@_tops', callback = tops, flags = {'no-writes'},
}
redis.register_function{
  function_name = '@LIBRARY@_recent', callback = recent, flags = {'no-writes'},
}
