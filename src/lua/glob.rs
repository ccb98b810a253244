//! File names by pattern (glob(7)), with braces, as rpmGlobPath (rpmio/rpmglob.c) expands them.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::unix::ffi::OsStrExt;

/// Names and patterns that one call may give; a script that wants more is hostile.
const MAX: usize = 100_000;

/// Depth of nested braces.
const MAX_DEPTH: usize = 32;

/// There are too many names, or braces too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// The paths that fit, sorted within each alternative of the braces; an alternative that nothing
/// fits is given as it is, without its escapes.
pub(super) fn expand(pattern: &[u8]) -> Result<Vec<Vec<u8>>, TooMany> {
    let mut plain = Vec::new();
    braces(pattern, &mut plain, 0)?;
    let mut found = Vec::new();
    for pattern in plain {
        let mut paths = paths(&pattern)?;
        if paths.is_empty() {
            paths.push(pattern);
        }
        found.append(&mut paths);
        if found.len() > MAX {
            return Err(TooMany);
        }
    }
    Ok(found)
}

/// Writes out the first braces, and those of what comes of it.
fn braces(pattern: &[u8], out: &mut Vec<Vec<u8>>, depth: usize) -> Result<(), TooMany> {
    if depth > MAX_DEPTH || out.len() > MAX {
        return Err(TooMany);
    }
    let Some(open) = pattern.iter().position(|byte| *byte == b'{') else {
        out.push(pattern.to_vec());
        return Ok(());
    };
    let (mut level, mut cuts, mut close) = (0usize, vec![open], None);
    for (at, byte) in pattern.iter().enumerate().skip(open) {
        match byte {
            b'{' => level += 1,
            b',' if level == 1 => cuts.push(at),
            b'}' => {
                level = level.saturating_sub(1);
                if level == 0 {
                    close = Some(at);
                    break;
                }
            }
            _ => {}
        }
    }
    let Some(close) = close else {
        out.push(pattern.to_vec());
        return Ok(());
    };
    cuts.push(close);
    let part = |from: usize, to: usize| pattern.get(from..to).unwrap_or_default();
    for pair in cuts.windows(2) {
        let [from, to] = pair else { continue };
        let next = [part(0, open), part(from + 1, *to), part(close + 1, pattern.len())].concat();
        braces(&next, out, depth + 1)?;
    }
    Ok(())
}

fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| b"*?[".contains(byte))
}

fn paths(pattern: &[u8]) -> Result<Vec<Vec<u8>>, TooMany> {
    let mut found: Vec<Vec<u8>> = vec![if pattern.starts_with(b"/") { b"/".to_vec() } else { Vec::new() }];
    for name in pattern.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let mut next = Vec::new();
        for directory in &found {
            let joined = |name: &[u8]| {
                let slash: &[u8] = if directory.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
                [directory, slash, name].concat()
            };
            if is_pattern(name) {
                next.extend(names(directory).iter().filter(|entry| fits(name, entry)).map(|entry| joined(entry)));
            } else if rustix::fs::lstat(joined(name).as_slice()).is_ok() {
                next.push(joined(name));
            }
            if next.len() > MAX {
                return Err(TooMany);
            }
        }
        found = next;
    }
    found.sort();
    found.retain(|path| !path.is_empty());
    Ok(found)
}

fn names(directory: &[u8]) -> Vec<Vec<u8>> {
    let path = if directory.is_empty() { b"." } else { directory };
    std::fs::read_dir(std::ffi::OsStr::from_bytes(path))
        .map(|entries| entries.flatten().map(|entry| entry.file_name().as_bytes().to_vec()).collect())
        .unwrap_or_default()
}

/// Names of a directory, `.` and `..` too, sorted.
pub(super) fn list(path: &[u8]) -> Result<Vec<Vec<u8>>, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(directory)? {
        names.push(entry?.file_name().to_bytes().to_vec());
    }
    names.sort();
    Ok(names)
}

/// Whether a name fits a pattern of `*`, `?` and `[...]`; a dot at its begin wants a dot.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when it does not fit: behind the last star, with one letter more under it.
    let mut again = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                again = Some((p + 1, n + 1));
                Some((p + 1, n))
            }
            (Some(b'?'), Some(_)) => Some((p + 1, n + 1)),
            (Some(b'['), Some(letter)) => match class(pattern.get(p + 1..).unwrap_or_default(), *letter) {
                Some((true, length)) => Some((p + 1 + length, n + 1)),
                Some((false, _)) => None,
                None => (*letter == b'[').then_some((p + 1, n + 1)),
            },
            (Some(b'\\'), Some(letter)) if pattern.get(p + 1) == Some(letter) => Some((p + 2, n + 1)),
            (Some(a), Some(b)) if a == b => Some((p + 1, n + 1)),
            _ => None,
        };
        (p, n) = match (step, again) {
            (Some(next), _) => next,
            (None, Some((star, next))) if next <= name.len() => {
                again = Some((star, next + 1));
                (star, next)
            }
            _ => return false,
        };
    }
}

/// Whether a letter is in the class that begins here, and how long the class is; `None` if it has
/// no end.
fn class(text: &[u8], letter: u8) -> Option<(bool, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let end = text.iter().skip(start + 1).position(|byte| *byte == b']')? + start + 1;
    let mut inside = text.get(start..end)?;
    let mut found = false;
    while let [first, rest @ ..] = inside {
        inside = match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&letter);
                rest
            }
            _ => {
                found |= *first == letter;
                rest
            }
        };
    }
    Some((found != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name) in [("*.d", "x.d"), ("a?c", "abc"), ("[a-c]x", "bx"), ("[!a]", "b"), ("*a*b", "xaxaxb")] {
            assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("*", ".x"), ("a?", "a"), ("[a-c]", "d"), ("[!a]", "a"), ("*ab", "abx"), ("", "x")] {
            assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        assert!(fits(b"[x", b"[x"));
        // Linear in stars, not exponential.
        assert!(!fits(&b"*a".repeat(2000), &b"a".repeat(3000).iter().chain(b"b").copied().collect::<Vec<_>>()));
    }

    #[test]
    fn braces_are_written_out() {
        let written = |text: &str| {
            let mut out = Vec::new();
            braces(text.as_bytes(), &mut out, 0).map(|()| {
                out.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(written("a{b,c{d,e}}f").as_deref(), Ok("abf acdf acef"));
        assert_eq!(written("a{b").as_deref(), Ok("a{b"));
        assert_eq!(written(&"{a,b}".repeat(64)), Err(TooMany));
    }

    #[test]
    fn files_are_found() {
        let top = tempfile::tempdir().unwrap();
        for name in ["b.x", "a.x", ".h.x", "c.y"] {
            std::fs::write(top.path().join(name), "").unwrap();
        }
        let base = top.path().to_str().unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let paths = expand(format!("{base}/{pattern}").as_bytes()).unwrap();
            paths.iter().map(|path| String::from_utf8_lossy(path).replace(&format!("{base}/"), "")).collect()
        };
        assert_eq!(found("*.x"), ["a.x", "b.x"]);
        assert_eq!(found("{c,a}.*"), ["c.y", "a.x"]);
        assert_eq!(found("*.z"), ["*.z"]);
        assert_eq!(list(base.as_bytes()).unwrap().len(), 6);
    }
}
