//! Subordinate id ranges, and the maps that give them to the helper.

use crate::error::Error;
use rustix::process::{getegid, geteuid};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ids that an image needs besides 0: up to `nobody`, 65534.
pub(crate) const WANTED: u32 = 65_534;

/// First id of the range that root takes: above the ranges of containers and users, below
/// systemd's range for foreign ids (systemd's UIDS-GIDS document).
const ROOT_BASE: u32 = 0x7000_0000;

/// The first id that useradd(8) hands out (login.defs(5), `SUB_UID_MIN`).
const USERADD_FIRST: u32 = 100_000;

/// Where distributions put the setuid helpers; a search by `PATH` would let the environment
/// choose.
const HELPER_DIRECTORIES: [&str; 6] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/run/wrappers/bin"];

/// So many ids of the machine from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// Uid or gid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Uid,
    Gid,
}

impl Kind {
    const BOTH: [Kind; 2] = [Kind::Uid, Kind::Gid];

    fn file(self) -> &'static str {
        match self {
            Kind::Uid => "/etc/subuid",
            Kind::Gid => "/etc/subgid",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Kind::Uid => "newuidmap",
            Kind::Gid => "newgidmap",
        }
    }

    fn map(self) -> &'static str {
        match self {
            Kind::Uid => "uid_map",
            Kind::Gid => "gid_map",
        }
    }

    fn own(self) -> u32 {
        match self {
            Kind::Uid => geteuid().as_raw(),
            Kind::Gid => getegid().as_raw(),
        }
    }
}

/// Why there is no usable range, and what to do.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// The ranges of a user in the text of /etc/subuid or /etc/subgid (subuid(5)), in order.
fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        if Some(who) != name && who != number {
            return None;
        }
        let range = Range { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        // 0 and the user's own id are mapped already, and nothing may wrap around.
        let fits = range.start > 0 && range.count > 0;
        (fits && range.start.checked_add(range.count).is_some()).then_some(range)
    };
    text.lines().filter_map(line).collect()
}

/// First and last of the ids to suggest: the first 65536, counted as useradd(8) does, that no line
/// of these has. With those of another user, each could do as the other's images do.
fn free(text: &str) -> Option<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':').skip(1);
        let (start, count): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((start, start.saturating_add(count)))
    };
    let taken: Vec<(u64, u64)> = text.lines().filter_map(line).collect();
    let mut first = USERADD_FIRST;
    while first.checked_add(WANTED + 1)? < ROOT_BASE {
        let (start, end) = (u64::from(first), u64::from(first) + u64::from(WANTED) + 2);
        if taken.iter().all(|(from, to)| *to <= start || end <= *from) {
            return Some((first, first + WANTED + 1));
        }
        first += WANTED + 2;
    }
    None
}

/// Lines of a map: 0 is the caller, 1 and up are the ranges one after the other.
fn lines(own: u32, ranges: &[Range]) -> Vec<[u32; 3]> {
    let mut next = 1u32;
    let mut lines = vec![[0, own, 1]];
    for range in ranges {
        let count = range.count.min((WANTED + 2).saturating_sub(next));
        if count == 0 {
            break;
        }
        lines.push([next, range.start, count]);
        next += count;
    }
    lines
}

/// Whether ids `start..start+count` exist in a map such as /proc/self/uid_map.
fn covers(map: &str, range: Range) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().filter_map(|n| n.parse::<u64>().ok());
        let (Some(inside), Some(_), Some(count)) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        let (start, end) = (u64::from(range.start), u64::from(range.start) + u64::from(range.count));
        inside <= start && end <= inside + count
    })
}

fn ranges(kind: Kind) -> Result<Vec<Range>, Missing> {
    let uid = geteuid().as_raw();
    if uid == 0 {
        let own = Range { start: ROOT_BASE, count: WANTED + 2 };
        let map = fs::read_to_string(Path::new("/proc/self").join(kind.map()));
        if map.is_ok_and(|map| covers(&map, own)) {
            return Ok(vec![own]);
        }
    }
    let name = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    let who = name.clone().unwrap_or_else(|| uid.to_string());
    let text = fs::read_to_string(kind.file()).unwrap_or_default();
    let hint = match free(&Kind::BOTH.map(|kind| fs::read_to_string(kind.file()).unwrap_or_default()).concat()) {
        Some((first, last)) => {
            format!("as root: usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {who}")
        }
        None => format!("give {who} 65536 ids in /etc/subuid and /etc/subgid that nobody else has"),
    };
    let ranges = parse(&text, name.as_deref(), uid);
    let total: u64 = ranges.iter().map(|range| u64::from(range.count)).sum();
    if ranges.is_empty() {
        return Err(Missing { what: format!("{} has no line for {who}", kind.file()), hint });
    }
    if total < u64::from(WANTED) {
        let what = format!("the ranges of {who} in {} hold {total} ids, {WANTED} are needed", kind.file());
        return Err(Missing { what, hint });
    }
    Ok(ranges)
}

fn helper(kind: Kind) -> Result<PathBuf, Missing> {
    HELPER_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(kind.program()))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing {
            what: format!("{} is not installed", kind.program()),
            hint: "as root: apt install uidmap (shadow-utils on other distributions)".into(),
        })
}

/// Whether the maps could be written: ranges, and the helpers if they are needed.
pub(crate) fn available() -> Result<String, Missing> {
    let mut seen = Vec::new();
    for kind in Kind::BOTH {
        let ranges = ranges(kind)?;
        if !geteuid().is_root() {
            seen.push(helper(kind)?.display().to_string());
        }
        let text: Vec<_> = ranges.iter().map(|range| format!("{}+{}", range.start, range.count)).collect();
        seen.push(format!("{} {}", kind.map(), text.join(" ")));
    }
    Ok(seen.join(", "))
}

/// Gives the helper process, which is in a user namespace of its own, its maps.
pub(crate) fn write(pid: u32) -> Result<(), Error> {
    let unavailable = |missing: Missing| Error::Unavailable {
        rung: crate::Rung::Userns,
        reason: missing.what,
        hint: Some(missing.hint),
    };
    for kind in Kind::BOTH {
        let lines = lines(kind.own(), &ranges(kind).map_err(unavailable)?);
        if geteuid().is_root() {
            let path = PathBuf::from(format!("/proc/{pid}/{}", kind.map()));
            let text: String = lines.iter().map(|[a, b, c]| format!("{a} {b} {c}\n")).collect();
            fs::write(&path, text).map_err(|source| Error::File { doing: "write", path, source })?;
            continue;
        }
        let program = helper(kind).map_err(unavailable)?;
        let mut command = Command::new(&program);
        command.arg(pid.to_string());
        command.args(lines.iter().flatten().map(u32::to_string));
        command.stdin(Stdio::null()).env_clear();
        let output = command.output().map_err(|source| Error::File { doing: "run", path: program.clone(), source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::System {
                doing: "write the id maps".into(),
                call: format!("{command:?}: {said}"),
                hint: helper_hint(&program),
                source: io::Error::other(output.status.to_string()),
            });
        }
    }
    Ok(())
}

/// Why a setuid helper that is there does not work.
fn helper_hint(program: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.trim_end() == "NoNewPrivs:\t1") {
        return Some(
            "no_new_privs is set, so the setuid bit of newuidmap has no effect: allow privilege \
             escalation for this container, or use --rung userns-single"
                .into(),
        );
    }
    let mode = fs::metadata(program).ok()?.permissions().mode();
    (mode & 0o4000 == 0).then(|| {
        format!("{} is not setuid; unless it has file capabilities, as root: chmod u+s {0}", program.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let text = "root:1:5\nann:100000:65536\n1001:300000:10\nann:bad:1\nann:4294967295:9\n";
        let ann = parse(text, Some("ann"), 1001);
        let expected = [Range { start: 100_000, count: 65_536 }, Range { start: 300_000, count: 10 }];
        assert_eq!(ann, expected);
        assert_eq!(parse(text, None, 7), []);
    }

    #[test]
    fn split_ranges_follow_each_other() {
        let ranges =
            [Range { start: 1000, count: 10 }, Range { start: 100_000, count: 100_000 }, Range { start: 5, count: 5 }];
        assert_eq!(lines(7, &ranges), [[0, 7, 1], [1, 1000, 10], [11, 100_000, 65_525]]);
    }

    #[test]
    fn a_suggested_range_is_nobodys() {
        assert_eq!(free(""), Some((100_000, 165_535)));
        assert_eq!(free("ann:100000:65536\n"), Some((165_536, 231_071)));
        assert_eq!(free("ann:231071:1\nnonsense\nben:0:100001\nroot:1:2:3\n"), Some((231_072, 296_607)));
        assert_eq!(free(&format!("ann:1:{ROOT_BASE}\n")), None);
    }

    #[test]
    fn a_nested_map_may_lack_the_range() {
        let range = Range { start: ROOT_BASE, count: 65_536 };
        assert!(covers("         0          0 4294967295\n", range));
        assert!(!covers("0 100000 65536\n", range));
    }
}
