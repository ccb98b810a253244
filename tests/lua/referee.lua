-- Run by our runner and by `rpm --eval`, in an empty directory each: every line must be the same.

local function show(...)
  local words = {}
  for i = 1, select("#", ...) do
    words[i] = tostring((select(i, ...))):gsub("\n", "\\n")
  end
  io.write(table.concat(words, "|"), "\n")
  -- A forked copy would write it again.
  io.stdout:flush()
end

local number = 0
local function case(f)
  number = number + 1
  local answer = table.pack(pcall(f))
  -- A function of Lua's that is returned to has no place to name, one of C's has.
  if not answer[1] then answer[2] = tostring(answer[2]):gsub("^referee.lua:%d+: ", "") end
  show(number, table.unpack(answer, 1, answer.n))
end

local function sorted(list)
  table.sort(list)
  return table.concat(list, ",")
end

local function mode(path)
  return posix.stat(path, "mode"), posix.stat(path, "_mode")
end

posix.umask("rwxr-xr-x")

-- Directories, links and files.
case(function() return posix.mkdir("d") end)
case(function() return posix.mkdir("d") end)
case(function() return posix.mkdir("no/where") end)
case(function() return posix.mkdir() end)
case(function() return posix.mkdir({}) end)
case(function()
  local ok, message = pcall(function() local made = posix.mkdir({}) end)
  return message, #message
end)
case(function() return posix.mkdir(7), posix.stat("7", "type") end)
case(function() return posix.symlink("d", "l"), posix.readlink("l"), posix.stat("l", "type") end)
case(function() return posix.symlink("d", "l") end)
case(function() return posix.symlink("d") end)
case(function() return posix.readlink("d") end)
case(function() return posix.readlink("none") end)
case(function() return posix.rmdir("7") end)
case(function() return posix.rmdir("l") end)
case(function() return posix.unlink("none") end)
case(function() return posix.mkfifo("p"), posix.stat("p", "type"), mode("p") end)
case(function()
  local f = io.open("f", "w")
  f:write("some text")
  f:close()
  return posix.stat("f", "size"), posix.stat("f", "type"), mode("f")
end)
case(function() return posix.link("f", "g"), posix.stat("f", "nlink") end)
case(function() return posix.link("none", "h") end)
case(function() return sorted(posix.dir(".")) end)
case(function() return posix.dir("none") end)
case(function() return posix.dir("f") end)
case(function()
  local names = {}
  for name in posix.files("d") do names[#names + 1] = name end
  return sorted(names)
end)
case(function() return posix.files("none") end)
case(function() return posix.unlink("l"), posix.unlink("p"), posix.unlink("g") end)
case(function() return posix.access("f"), posix.access("f", "rw"), posix.access("none", "f") end)
case(function() return posix.access("f", "q") end)
case(function() return posix.chdir("d"), posix.getcwd():match("[^/]+$"), posix.chdir("..") end)
case(function() return posix.chdir("none") end)
case(function() return posix.errno() end)

-- Modes, owners and times.
local modes = {
  "rwxr-xr-x", "rwsr-sr-x", "rwx", "---------", "0755", "1777", "4755", "u+w", "go-rwx", "a=r", "+x", "u+s",
  "ug+s,o-x", " u + r", "u=rwx,g+x", "9", "08", "u", "", "u+x,", "u+q", "rwxrwxrws", "r", "rw",
}
for _, text in ipairs(modes) do
  case(function()
    posix.chmod("f", "0644")
    return text, posix.chmod("f", text), mode("f")
  end)
end
case(function() return mode("f") end)
case(function() return posix.chmod("none", "0755") end)
case(function() return posix.chmod("f") end)
case(function() return posix.chmod("d", "2775"), mode("d") end)
for _, text in ipairs({ "rwx------", "0022", "u+w", "nonsense", "rwxr-xr-x" }) do
  case(function() return posix.umask(text), posix.umask() end)
end
case(function() return posix.chown("f", 0, 0), posix.stat("f", "uid"), posix.stat("f", "gid") end)
case(function() return posix.chown("f", "root", "root"), posix.stat("f", "uid") end)
case(function() return posix.chown("f", "nobody-of-this-name", "0"), posix.stat("f", "uid") end)
case(function() return posix.chown("f", -1, -1), posix.stat("f", "uid") end)
case(function() return posix.chown("f") end)
case(function() return posix.chown("f", {}) end)
case(function() return posix.chown("none", 0, 0) end)
case(function() return posix.utime("f", 1e9, 2e9), posix.stat("f", "mtime"), posix.stat("f", "atime") end)
case(function() return posix.utime("none") end)
case(function() return posix.stat("none") end)
case(function() return posix.stat("f", "nothing") end)
case(function() return posix.stat("f", nil) end)
case(function()
  local keys = {}
  for key in pairs(posix.stat("f")) do keys[#keys + 1] = key end
  return sorted(keys)
end)

-- Processes, the environment and the system.
case(function() return posix.getenv("A"), posix.getenv("NOTHING") end)
case(function() return posix.setenv("A", "2"), posix.getenv("A"), os.getenv("A") end)
case(function() return posix.setenv("A", "3", false), posix.getenv("A"), posix.setenv("", "x") end)
case(function() return posix.putenv("B=x=y"), posix.getenv("B"), posix.getenv().B end)
case(function() return select("#", posix.unsetenv("B")), posix.getenv("B") end)
case(function() return posix.exec("/bin/true") end)
case(function() return os.exit(0) end)
case(function() return posix.redirect2null(1) end)
case(function() return posix.wait() end)
case(function() return posix.kill(1 << 30, 0) end)
case(function() return posix.kill("x") end)
case(function() return posix.kill(1.5) end)
case(function()
  local pid = posix.fork()
  if pid == 0 then os.exit(0) end
  return pid > 0, posix.wait(pid) == pid
end)
case(function()
  local pid = posix.fork()
  if pid == 0 then
    posix.exec("/no/program")
    os.exit(3)
  end
  return posix.wait() == pid
end)
case(function() return posix.sleep(0) end)
case(function() return posix.getprocessid("uid"), posix.getprocessid("gid"), posix.getprocessid("none") end)
case(function() return posix.getprocessid().pid == posix.getprocessid("pid") end)
case(function() return posix.getpasswd("root", "uid"), posix.getpasswd(0).name, posix.getpasswd("0", "gid") end)
case(function() return posix.getpasswd("nobody-of-this-name"), posix.getgroup("none-of-this-name") end)
case(function() return posix.getgroup("root").gid, posix.getgroup(0).name, #posix.getgroup(0) end)
case(function() return posix.getgroup() end)
case(function() return posix.uname("%s %%"), posix.uname() == posix.uname("%s %n %r %v %m") end)
case(function() return posix.uname("%q") end)
case(function() return posix.pathconf("f", "name_max"), posix.pathconf("f", "pipe_buf") end)
case(function() return posix.sysconf("clk_tck"), posix.sysconf("job_control"), posix.sysconf("version") end)
case(function() return posix.sysconf("open_max"), posix.sysconf("child_max"), posix.sysconf("arg_max") end)
case(function() return posix.sysconf("tzname_max"), posix.sysconf("ngroups_max"), posix.sysconf("stream_max") end)
case(function() return posix.ctermid(), posix.ttyname(), posix.getlogin() end)
case(function() return type(posix.times("utime")), type(posix.times().elapsed) end)

-- rpm's own.
local versions = { "1", "1.0", "1.0-1", "0:1.0-1", "1:0.5", "1.0~rc", "1.0^git", "1.0a", "1.00", "2", "a", "-", ":1" }
for _, a in ipairs(versions) do
  case(function()
    local orders = {}
    for i, b in ipairs(versions) do orders[i] = rpm.vercmp(a, b) end
    return a, table.concat(orders, " ")
  end)
end
case(function() return rpm.vercmp("", "1") end)
case(function() return rpm.vercmp("1", "") end)
case(function() return rpm.vercmp("1") end)
case(function()
  local v = rpm.ver("3:1.2-4")
  return v.e, v.v, v.r, tostring(v), rpm.ver("1").e, rpm.ver("1").r
end)
case(function() return rpm.ver("1.0") < rpm.ver("1.1"), rpm.ver("1") == rpm.ver("1"), rpm.ver(1, 2, 3) <= rpm.ver("1") end)
case(function() return rpm.ver("1").x end)
case(function() return rpm.ver("1", "2") end)
for _, length in ipairs({ 0, 1, 2, 3, 47, 48, 49, 100 }) do
  case(function()
    local data = ("\0\255x"):rep(length)
    local text = rpm.b64encode(data)
    return text, length == 0 or rpm.b64decode(text) == data, rpm.b64encode(data .. "y", 0), rpm.b64encode(data .. "y", 10)
  end)
end
case(function() return rpm.b64decode("%%%") end)
case(function() return rpm.expand("%{nothing_of_this_name} %{?nothing_of_this_name} %% %{!?nothing_of_this_name:x}") end)
case(function() return rpm.expand("%{_sysconfdir} %_bindir %{?_sbindir} %{?_var:<%{_localstatedir}>}") end)
case(function() return rpm.expand("%{_prefix} %{_libexecdir} %{_datadir} %{_includedir} %{_os}") end)
case(function() return rpm.expand("%{unfinished") end)
case(function() return select("#", rpm.define("thing of %{_os}")), rpm.expand("%{thing}"), rpm.isdefined("thing") end)
case(function() return rpm.define("x") end)
case(function() return rpm.undefine("thing"), rpm.isdefined("thing") end)
case(function()
  macros.other = "body"
  local before = macros.other
  macros.other = nil
  return before, macros.other
end)
case(function() return rpm.execute("/bin/true") end)
case(function() return (rpm.execute("/bin/false")) end)
case(function() return (rpm.execute("/no/program")), select(3, rpm.execute("/no/program")) end)
case(function() return rpm.execute() end)
case(function() return os.execute("exit 3") end)
case(function() return io.popen("echo popen"):read("a") end)
case(function()
  local f = rpm.open("r", "w")
  f:write("one\ntwo\n")
  f:close()
  f = rpm.open("r")
  local first = f:read(2)
  f:seek("set", 4)
  return first, f:read(), f:close(), tostring(rpm.open("r"))
end)
case(function() return rpm.open("none") end)

-- What scriptlets find in Lua.
case(function() return type(string), type(utf8), type(coroutine), type(os.tmpname) end)
case(function() return posix.version:match("^posix library for Lua") end)
case(function() return require("posix") == posix, require("rpm") == rpm end)
case(function() return error("on purpose") end)
case(function() return ("x"):rep(3), #string.format("%5.1f", 2), 7 // 2, 1 << 4, 3 / 2 end)
