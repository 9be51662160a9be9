-- What Redis gives a script: its globals, `redis`, and the way of its result into a reply. It is loaded once, and returns
-- three functions. Replies are encoded here, as a table that had to cross over to Python would cost more than the script
-- that made it.
-- ...  call(words...): carry out a command. It returns what `shape` takes
--      sha1hex(text), log(level, text)
local call, sha1hex, log = ...

local STATUS, ERROR, ARRAY = 1, 2, 3
local SOURCE = '@user_script'
local READONLY = 'Attempt to modify a readonly table'

local error, format, gsub, getinfo = error, string.format, string.gsub, debug.getinfo
local floor, ceil, max = math.floor, math.ceil, math.max
local load, pcall, rawget, select, setfenv, pairs = loadstring, pcall, rawget, select, setfenv, pairs
local tostring, type, unpack, xpcall, concat = tostring, type, unpack, xpcall, table.concat

-- A reply as a script sees it: `value` alone, or with a kind, or an array of all that follows.
local function shape(value, kind, ...)
  if kind == nil then
    return value
  elseif kind == ARRAY then
    return {...}
  elseif kind == STATUS then
    return {ok = value}
  end
  return {err = value}
end

-- The line of the script that runs now. Lua forgets where a script is that ends with the call (`return redis.call(…)`):
-- most often that is its last line.
local running
local function last_line()
  local last = 1
  for number in pairs(getinfo(running, 'L').activelines) do
    last = max(last, number)
  end
  return last
end

local function line()
  local level = 3
  local info = getinfo(level, 'Sl')
  while info do
    if info.source == SOURCE then
      return info.currentline
    end
    level = level + 1
    info = getinfo(level, 'Sl')
  end
  return last_line()
end

local function unless_refused(value, kind, ...)
  if kind == ERROR then
    error({err = value, line = line()}, 0)
  end
  return shape(value, kind, ...)
end

local redis = {
  REDIS_VERSION = '7.2.4',
  REDIS_VERSION_NUM = 0x070204,
  LOG_DEBUG = 0,
  LOG_VERBOSE = 1,
  LOG_NOTICE = 2,
  LOG_WARNING = 3,
}

function redis.call(...)
  return unless_refused(call(...))
end

function redis.pcall(...)
  return shape(call(...))
end

function redis.error_reply(text)
  if type(text) ~= 'string' then
    return {err = 'ERR wrong number or type of arguments'}
  end
  if text:sub(1, 1) == '-' then
    text = text:sub(2)
  end
  return {err = text:find(' ', 1, true) and text or 'ERR ' .. text}
end

function redis.status_reply(text)
  if type(text) ~= 'string' then
    return {err = 'ERR wrong number or type of arguments'}
  end
  return {ok = text}
end

function redis.sha1hex(...)
  if select('#', ...) ~= 1 then
    error({err = 'ERR wrong number of arguments', line = line()}, 0)
  end
  return sha1hex((tostring(...)))
end

function redis.log(level, ...)
  log(level, concat({...}, ' '))
end

-- The globals of all scripts. KEYS and ARGV are put here for each run.
local globals = {}
for _, name in pairs {
  'assert', 'coroutine', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'select',
  'setmetatable', 'string', 'table', 'tonumber', 'tostring', 'type', 'unpack', 'xpcall', '_VERSION',
} do
  globals[name] = _G[name]
end
globals.math = {}
for name, its in pairs(math) do
  if name ~= 'random' and name ~= 'randomseed' then
    globals.math[name] = its
  end
end
globals.redis, globals.server = redis, redis

-- What a script has for _G: nothing can be written, and what isn't there can't be read.
local environment = setmetatable({}, {
  __index = setmetatable(globals, {
    __index = function(_, name)
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
  }),
  __newindex = function()
    error(READONLY, 2)
  end,
  __metatable = false,
})
globals._G = environment

function globals.loadstring(text, name)
  local chunk, why = load(text, name)
  if chunk then
    setfenv(chunk, environment)
  end
  return chunk, why
end

-- An error that redis.call raised is its words for a script that catches it.
local function caught(ok, why, ...)
  if not ok and type(why) == 'table' and why.err then
    return false, why.err
  end
  return ok, why, ...
end

function globals.pcall(...)
  return caught(pcall(...))
end

-- A value as a reply: numbers lose their fraction, and an array ends at its first nil.
local null = '$-1\r\n'
local encode

local function encode_table(value)
  local refused, status = rawget(value, 'err'), rawget(value, 'ok')
  if type(refused) == 'string' then
    return '-' .. gsub(refused, '[\r\n]', ' ') .. '\r\n'
  elseif type(status) == 'string' then
    return '+' .. gsub(status, '[\r\n]', ' ') .. '\r\n'
  end
  local parts, count = {''}, 0
  local element = rawget(value, 1)
  while element ~= nil do
    count = count + 1
    parts[count + 1] = encode(element)
    element = rawget(value, count + 1)
  end
  parts[1] = '*' .. count .. '\r\n'
  return concat(parts)
end

function encode(value)
  local kind = type(value)
  if kind == 'string' then
    return '$' .. #value .. '\r\n' .. value .. '\r\n'
  elseif kind == 'number' then
    local whole = value < 0 and ceil(value) or floor(value)
    if not (whole > -9223372036854775808 and whole < 9223372036854775808) then
      return ':-9223372036854775808\r\n'
    end
    return whole == 0 and ':0\r\n' or format(':%.0f\r\n', whole)
  elseif kind == 'table' then
    return encode_table(value)
  elseif value == true then
    return ':1\r\n'
  end
  return null
end

local function described(why)
  if type(why) ~= 'table' then
    return {err = 'ERR ' .. tostring(why), line = line()}
  end
  why.line = why.line or line()
  return why
end

-- Compile the text of a script. Returns its function, or nil and why not.
local function compile(text)
  local script, why = load(text, SOURCE)
  if not script then
    return nil, why
  end
  return setfenv(script, environment)
end

-- Run a script with so many keys, which are followed by its arguments. Returns the encoded reply, or nil and the error.
local function run(script, resp3, keys, ...)
  if keys == 1 then
    globals.KEYS, globals.ARGV = {(...)}, {select(2, ...)}
  else
    local words = {...}
    globals.KEYS, globals.ARGV = {unpack(words, 1, keys)}, {unpack(words, keys + 1)}
  end
  running = script
  local done, value = xpcall(script, described)
  if done then
    null = resp3 and '_\r\n' or '$-1\r\n'
    return encode(value)
  end
  return nil, tostring(value.err or 'ERR unknown error') .. ' script: on ' .. SOURCE .. ':' .. tostring(value.line) .. '.'
end

return compile, run, shape
