-- Withdraws from the quotas of keys, all of one hash tag, by this server's clock.
--
-- KEYS  the keys; and then, where something comes back, one that says that this call was made
-- ARGV  how many keys, and of each: w (fixed window) or b (token bucket), quota, window in ms, what the bucket holds, want, least,
--       share in millionths, debt, what comes back, and what withdrew it
-- Gives of each key: granted, left, ms until the window ends or the bucket is full, ms until there may be more, and a name for
-- this withdrawal. A key of a window is a hash (n: its number, c: what is used), one of a bucket the time at which it is full, in
-- microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count = tonumber(ARGV[1])
-- What comes back comes back once, however often a call is made.
local fresh = true
if #KEYS > count then
  fresh = redis.call('SET', KEYS[count + 1], 1, 'NX', 'PX', 60000) ~= false
end
local function whole(number)
  return string.format('%.0f', number)
end
local told = {}
for i = 1, count do
  local at = 1 + (i - 1) * 10
  local kind, key = ARGV[at + 1], KEYS[i]
  local quota, window = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]) * 1000
  local capacity, want, least = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local share, debt = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
  local back, mark = tonumber(ARGV[at + 9]), tonumber(ARGV[at + 10])
  local function grant(left)
    return math.min(want, left, math.max(least, math.floor(left * share / 1000000)))
  end
  local granted, left, reset, none
  if kind == 'w' then
    local number = math.floor(now / window)
    local kept = redis.call('HMGET', key, 'n', 'c')
    local before, used = tonumber(kept[1]) or -1, tonumber(kept[2]) or 0
    reset = (number + 1) * window - now
    if before == number + 1 then
      -- The clock was set back a little: time does not go back for a key.
      number = before
    elseif before > number then
      -- By more: of this window nothing is known.
      used = quota
    elseif before < number then
      used = 0
    end
    if fresh and back > 0 and mark == number then
      used = math.max(0, used - back)
    end
    used = math.min(used + debt, math.max(used, 2 * quota))
    left = math.max(0, quota - used)
    granted = grant(left)
    used = used + granted
    left = left - granted
    none = reset
    mark = number
    redis.call('HSET', key, 'n', whole(number), 'c', whole(used))
    redis.call('PEXPIRE', key, math.ceil((reset + window) / 1000))
  else
    local cap = math.floor(capacity * window / quota)
    local full = tonumber(redis.call('GET', key) or '0') or 0
    if full - now > 2 * cap + window then
      -- The clock was set back: of this time nothing is known.
      full = now + cap
    end
    full = math.max(full, now)
    if fresh and back > 0 then
      -- What has dripped in again meanwhile does not come back.
      local rest = back * window / quota - math.max(0, now - mark)
      if rest > 0 then
        full = math.max(now, full - math.floor(rest))
      end
    end
    full = math.min(full + math.ceil(debt * window / quota), math.max(full, now + 2 * cap + window))
    left = math.max(0, math.floor((cap - (full - now)) * quota / window))
    granted = grant(left)
    local after = full + math.ceil(granted * window / quota)
    if granted > 0 and after - now > cap then
      -- What was rounded would be one too many.
      granted = granted - 1
      after = full + math.ceil(granted * window / quota)
    end
    full = after
    left = math.max(0, left - granted)
    reset = full - now
    none = math.max(1000, reset + math.ceil(math.max(1, least) * window / quota) - cap)
    mark = now
    if reset > 0 then
      redis.call('SET', key, whole(full), 'PX', math.ceil(reset / 1000) + 1)
    else
      redis.call('DEL', key)
    end
  end
  told[#told + 1] = granted
  told[#told + 1] = left
  told[#told + 1] = math.floor(reset / 1000)
  told[#told + 1] = math.ceil(none / 1000)
  told[#told + 1] = mark
end
return told
