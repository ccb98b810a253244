//! Corner packages with scriptlets and triggers of every kind. Each appends a line to one log, so
//! that the order of all shows.

use std::path::Path;

use super::corners::small;
use super::spec::Spec;

/// Where the lines go.
pub const LOG: &str = "/var/log/corner-order";

pub fn make(work: &Path) -> Vec<Spec> {
    let say = |what: &str| format!("echo \"{what} $*\" >> {LOG}");
    let scripts = small(work, "corner-scripts", "1.0", "1")
        .tagged("Requires(pre): bash filesystem\nRequires(post): bash coreutils\nRequires(preun): bash")
        .script(&format!("%pretrans -p <lua>\nposix.mkdir(\"/var\")\nposix.mkdir(\"/var/log\")\nlocal f = io.open(\"{LOG}\", \"a\")\nf:write(\"scripts pretrans\\n\")\nf:close()"))
        .script(&format!("%pre\n{}", say("scripts pre")))
        .script(&format!("%post\n{}", say("scripts post")))
        .script(&format!("%preun\n{}", say("scripts preun")))
        .script(&format!("%postun\n{}", say("scripts postun")))
        .script(&format!("%posttrans\n{}", say("scripts posttrans")))
        .script(&format!("%verifyscript\n[ -e {LOG} ]"));
    let mut scripts = scripts;
    scripts.list(LOG, "%ghost %attr(0644, root, root)");

    let lua = small(work, "corner-lua", "1.0", "1")
        .tagged("Requires(post): filesystem bash")
        .script(&format!(
            "%post -p <lua>\nlocal f = io.open(\"{LOG}\", \"a\")\nf:write(\"lua post \" .. tostring(arg[2]) .. \"\\n\")\nf:close()\n\
             posix.mkdir(\"/var/lib/corner-lua\")\nposix.chmod(\"/var/lib/corner-lua\", \"0750\")\n\
             posix.symlink(\"corner-lua\", \"/var/lib/corner-lua-link\")\n\
             if posix.stat(\"/usr/bin/bash\") then\n\
             \u{20} local f = io.open(\"/var/lib/corner-lua/found\", \"w\")\n\
             \u{20} for _, name in ipairs(posix.dir(\"/usr/share/corner\") or {{}}) do\n\
             \u{20}   if name == \"corner-lua\" then f:write(name .. \"\\n\") end\n\
             \u{20} end\n\
             \u{20} f:close()\n\
             end"
        ))
        .script(&format!("%posttrans -p <lua>\nlocal f = io.open(\"{LOG}\", \"a\")\nf:write(\"lua posttrans\\n\")\nf:close()"));

    let interpreters = small(work, "corner-interpreters", "1.0", "1")
        .script(&format!("%pre -p /bin/bash\n{}", say("interpreters pre")))
        .script(&format!(
            "%post -p /usr/bin/python3\nimport sys\nwith open(\"{LOG}\", \"a\") as log:\n    \
             print(\"interpreters post\", *sys.argv[1:], file=log)"
        ))
        .script("%posttrans -p /sbin/ldconfig");

    let each = |kind: &str, rest: &str, what: &str| format!("%{kind} {rest}\n{}", say(what));
    // Names of the files come on the standard input.
    let reading = |kind: &str, rest: &str, what: &str| {
        format!("%{kind} {rest}\nset -- \"$@\" $(LC_ALL=C sort | tr '\\n' ' ')\n{}", say(what))
    };
    let triggers = small(work, "corner-triggers", "1.0", "1")
        .tagged("Requires: bash coreutils")
        .script(&each("triggerprein", "-- corner-triggered", "triggers triggerprein"))
        .script(&each("triggerin", "-- corner-triggered", "triggers triggerin"))
        .script(&each("triggerin", "-- bash", "triggers triggerin bash"))
        .script(&each("triggerin", "-- corner-triggered > 2", "triggers never"))
        .script(&each("triggerun", "-- corner-triggered", "triggers triggerun"))
        .script(&each("triggerpostun", "-- corner-triggered", "triggers triggerpostun"))
        .script(&format!("%triggerin -p <lua> -- corner-lua\nlocal f = io.open(\"{LOG}\", \"a\")\nf:write(\"triggers lua\\n\")\nf:close()"))
        .script(&reading("filetriggerin", "-P 500 -- /usr/share/corner/corner-triggered", "triggers filetriggerin 500"))
        .script(&reading("filetriggerin", "-P 2000000 -- /usr/share/corner/corner-triggered", "triggers filetriggerin 2000000"))
        .script(&reading("filetriggerin", "-- /lib/corner", "triggers filetriggerin literal"))
        .script(&each("filetriggerun", "-- /usr/share/corner/corner-triggered", "triggers filetriggerun"))
        .script(&each("filetriggerpostun", "-- /usr/share/corner/corner-triggered", "triggers filetriggerpostun"))
        .script(&reading("filetriggerin", "-- /usr/lib/corner", "triggers filetriggerin canonical"))
        .script(&reading("transfiletriggerin", "-P 100 -- /usr/share/corner-trig", "triggers transfiletriggerin 100"))
        .script(&reading("transfiletriggerin", "-P 3000000 -- /usr/share/corner-triggered", "triggers transfiletriggerin 3000000"))
        // rpm looks for directories that begin so, and there is none.
        .script(&reading("transfiletriggerin", "-- /usr/share/corner-triggered/file", "triggers transfiletriggerin file"))
        .script(&format!(
            "%transfiletriggerin -p <lua> -P 50 -- /usr/share/corner-triggered\n\
             local f = io.open(\"{LOG}\", \"a\")\nlocal name = rpm.next_file()\nwhile name do\n\
             \u{20} f:write(\"triggers transfiletriggerin lua \" .. name .. \"\\n\")\n  name = rpm.next_file()\nend\nf:close()"
        ))
        .script(&each("transfiletriggerun", "-- /usr/share/corner/corner-triggered", "triggers transfiletriggerun"))
        .script(&each("transfiletriggerpostun", "-- /usr/share/corner/corner-triggered", "triggers transfiletriggerpostun"));
    let before = small(work, "corner-triggered", "1.0", "1")
        .file("/usr/share/corner-triggered/file-1", 0o644, "1\n")
        .file("/usr/share/corner-triggered/file-2", 0o644, "2\n")
        .script(&format!("%post\n{}", say("triggered post")))
        .script(&format!("%posttrans\n{}", say("triggered posttrans")))
        .tagged("Requires(pre): corner-triggers");
    // It comes after what it waits for.
    let late = small(work, "corner-late", "1.0", "1")
        .tagged("Requires(pre): corner-triggered")
        .script(&each("triggerin", "-- corner-triggered", "late triggerin"))
        .script(&each("triggerprein", "-- corner-triggered", "late triggerprein"))
        .script(&reading("filetriggerin", "-- /usr/share/corner-triggered", "late filetriggerin"));
    vec![scripts, lua, interpreters, triggers, before, late]
}
