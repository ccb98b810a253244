-- Called with the tables posix, rpm and native; returns the function that runs a script.
local posix, rpm, native = ...

-- Kept, as scripts may replace the globals.
local error, load, pcall, setmetatable, tonumber, tostring, type =
  error, load, pcall, setmetatable, tonumber, tostring, type
local select, rawlen, io, os, string, table = select, rawlen, io, os, string, table
local stdout = io.stdout
local open, write, flush, close, seek, read =
  io.open, stdout.write, stdout.flush, stdout.close, stdout.seek, stdout.read

-- What programs print comes between what the script prints.
stdout:setvbuf("line")

-- Through Lua's own stream, so that it keeps its place among io.write's.
function print(...)
  for i = 1, select("#", ...) do
    if i > 1 then write(stdout, "\t") end
    write(stdout, (tostring((select(i, ...)))))
  end
  write(stdout, "\n")
end

-- A copy of the process must not write again what this one has not written yet; and what takes its
-- place never would.
local function flushed(f)
  return function(...)
    flush(stdout)
    return f(...)
  end
end
posix.fork = flushed(posix.fork)
posix.exec = flushed(posix.exec)
rpm.execute = flushed(rpm.execute)
rpm.spawn = flushed(rpm.spawn)
os.exit = flushed(native.exit)
posix.redirect2null = rpm.redirect2null

local mkstemp = posix.mkstemp
function posix.mkstemp(template)
  local path, message, code = mkstemp(template)
  if not path then return nil, message, code end
  return open(path, "a+"), path
end

package.path = "/usr/lib/rpm/lua/?.lua"

-- Versions: the parts lie in a table of ours, where scripts see attributes only.
local parts = setmetatable({}, { __mode = "k" })
local order = {}
local function compare(a, b)
  local x, y = parts[a], parts[b]
  if not x or not y then error("rpm.ver expected", 3) end
  return native.compare(x.e, x.v, x.r, y.e, y.v, y.r)
end
function order.__index(version, key)
  if key ~= "e" and key ~= "v" and key ~= "r" then error("invalid attribute: " .. tostring(key), 2) end
  return parts[version][key]
end
function order.__tostring(version)
  local p = parts[version]
  return (p.e and p.e .. ":" or "") .. p.v .. (p.r and "-" .. p.r or "")
end
function order.__eq(a, b) return compare(a, b) == 0 end
function order.__lt(a, b) return compare(a, b) < 0 end
function order.__le(a, b) return compare(a, b) <= 0 end
order.__name = "rpm.ver"

function rpm.ver(...)
  local count = select("#", ...)
  local e, v, r
  if count == 1 then
    e, v, r = native.parse(...)
  elseif count == 3 then
    e, v, r = ...
  else
    error("invalid number of arguments: " .. count, 2)
  end
  if v == nil or v == "" then return end
  local version = setmetatable({}, order)
  parts[version] = { e = e and tostring(e), v = tostring(v), r = r and tostring(r) }
  return version
end

-- Files: rpm's own streams, of which those of plain files are kept.
local files = setmetatable({}, { __mode = "k" })
local stream = { __name = "rpm.fd" }
stream.__index = stream
local function file_of(fd)
  local f = files[fd]
  if not f then error("attempt to use a closed file", 3) end
  return f.file, f.path
end
function stream.read(fd, count)
  local file, path = file_of(fd)
  local text, message = read(file, count and count >= 0 and count or "a")
  if not text and message then error("error reading " .. path .. ": " .. message, 2) end
  return text or ""
end
function stream.write(fd, text, size)
  local file, path = file_of(fd)
  text = tostring(text)
  if size then text = string.sub(text, 1, size) end
  local ok, message = write(file, text)
  if not ok then error("error writing " .. path .. ": " .. message, 2) end
  return #text
end
function stream.flush(fd) return flush((file_of(fd))) and 0 or -1 end
function stream.seek(fd, whence, offset)
  local file, path = file_of(fd)
  local at, message = seek(file, whence or "cur", offset or 0)
  if not at then error(path .. ": seek failed: " .. message, 2) end
  return at
end
function stream.close(fd)
  local f = files[fd]
  if not f then return -1 end
  files[fd] = nil
  return close(f.file) and 0 or -1
end
function stream.reopen(fd, mode)
  local _, path = file_of(fd)
  if not native.plain(mode) then error(path .. " stream reopen failed (invalid mode?)", 2) end
  return fd
end
function stream.__tostring(fd)
  local f = files[fd]
  return f and f.path or "[none]"
end
stream.__gc = stream.close

function rpm.open(path, mode)
  path = tostring(path)
  local plain = native.plain(mode or "r")
  if not plain then error(path .. " open failed: only plain files can be opened here", 2) end
  local file, message = open(path, plain)
  if not file then error(path .. " open failed: " .. string.sub(message, #path + 3), 2) end
  local fd = setmetatable({}, stream)
  files[fd] = { file = file, path = path }
  return fd
end

-- Hooks are for rpm's own plugins: nobody calls them here.
function rpm.register(name, f)
  if type(name) ~= "string" then error("bad argument #1 to 'register' (hook name expected)", 2) end
  if type(f) ~= "function" then error("bad argument #2 to 'register' (function expected)", 2) end
  return {}
end
function rpm.unregister() end
function rpm.call() end
function rpm.interactive() error("not a tty", 2) end
function rpm.load(path) error("macro files cannot be loaded here: " .. tostring(path), 2) end

local isdefined, expand, define, undefine = rpm.isdefined, rpm.expand, rpm.define, rpm.undefine
macros = setmetatable({}, {
  __index = function(_, name)
    if isdefined(name) then return expand("%{" .. name .. "}") end
  end,
  __newindex = function(_, name, body)
    if body == nil then undefine(name) else define(name .. " " .. tostring(body)) end
  end,
})

return function(name, text, arguments)
  for i = 2, #arguments do
    arguments[i] = tonumber(arguments[i]) or arguments[i]
  end
  local chunk, message = load("local opt, arg = ...;" .. text, name, "t")
  if not chunk then return "syntax", message end
  local ok, failure = pcall(chunk, {}, arguments)
  flush(stdout)
  if ok then return "ran" end
  if type(failure) ~= "string" then
    local told, words = pcall(tostring, failure)
    failure = told and words or "(error object is a " .. type(failure) .. " value)"
  end
  return "failed", failure
end
