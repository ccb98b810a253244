//! Long names and the short ones that stand for them (fatgen103, "Long Directory Entries").

use std::collections::{BTreeMap, BTreeSet};

use super::format::{FORMAT, LONG_NAME_UNITS_MAX, LONG_UNITS};
use crate::Error;

/// A short name: eight characters and three, filled with spaces.
pub(crate) type Short = [u8; 11];

/// Characters besides letters and digits that short names may have.
const SHORT_SIGNS: &[u8] = b"!#$%&'()-@^_`{}~";
/// Characters that no name may have.
const FORBIDDEN: &[char] = &['"', '*', '/', ':', '<', '>', '?', '\\', '|', '\u{7f}'];

/// Reads a name of a tree as FAT can keep it.
///
/// # Errors
/// [`Error::Unsupported`] with `path` for what is no UTF-8, too long, or has characters that FAT
/// forbids or that readers strip.
pub(crate) fn check<'a>(name: &'a [u8], path: &str) -> Result<&'a str, Error> {
    let refuse =
        |reason: &str| Err(Error::Unsupported { format: FORMAT, what: path.to_owned(), reason: reason.to_owned() });
    let Ok(name) = std::str::from_utf8(name) else {
        return refuse("its name is not UTF-8");
    };
    if let Some(bad) = name.chars().find(|&c| c < ' ' || FORBIDDEN.contains(&c)) {
        return refuse(&format!("its name contains {bad:?}"));
    }
    if name.ends_with(['.', ' ']) {
        return refuse("its name ends with a dot or a space, which readers strip");
    }
    if name.encode_utf16().count() > LONG_NAME_UNITS_MAX {
        return refuse("its name is longer than 255 UTF-16 units");
    }
    Ok(name)
}

/// The name as readers compare it: without case.
pub(crate) fn folded(name: &str) -> String {
    let fold = |c: char| {
        // A character whose upper case is several characters stays, as in Windows' own table.
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(only), None) => only,
            _ => c,
        }
    };
    name.chars().map(fold).collect()
}

fn is_short_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || SHORT_SIGNS.contains(&byte)
}

fn join(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// The short name that differs from the name in case at most, if there is one.
pub(crate) fn exact(name: &str) -> Option<Short> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let valid = |text: &str| text.bytes().all(is_short_character);
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && valid(base) && valid(extension);
    // "name." has an empty extension; such names are refused before.
    fits.then(|| join(base.to_ascii_uppercase().as_bytes(), extension.to_ascii_uppercase().as_bytes()))
}

/// Whether the short name is spelled exactly as the name, so that no long one is needed.
pub(crate) fn is_enough(name: &str, short: &Short) -> bool {
    spelled(short) == name.as_bytes()
}

/// A short name as people write it.
pub(crate) fn spelled(short: &Short) -> Vec<u8> {
    let trimmed = |part: &[u8]| part.trim_ascii_end().to_vec();
    let (mut text, extension) = (trimmed(&short[..8]), trimmed(&short[8..]));
    if !extension.is_empty() {
        text.push(b'.');
        text.extend(extension);
    }
    text
}

/// Slots of a directory that an entry with this name takes.
pub(crate) fn slots(name: &str, short: &Short) -> u64 {
    if is_enough(name, short) { 1 } else { 1 + name.encode_utf16().count().div_ceil(LONG_UNITS) as u64 }
}

/// Gives the names of one directory their short names: first to those that have one by nature,
/// then numbered ones (`LONGNA~1.TXT`) to the others in the order given. The cost does not grow
/// with the number of names that begin alike.
pub(crate) fn assign(names: &[&str]) -> Result<Vec<Short>, Error> {
    let exact: Vec<Option<Short>> = names.iter().map(|name| exact(name)).collect();
    let mut taken: BTreeSet<Short> = exact.iter().flatten().copied().collect();
    let mut next = BTreeMap::new();
    let numbered = |(name, exact): (&&str, Option<Short>)| match exact {
        Some(short) => Ok(short),
        None => number(name, &mut taken, &mut next),
    };
    names.iter().zip(exact).map(numbered).collect()
}

/// What is left of a part of a name: upper case, no spaces and dots, `_` for the rest.
fn reduced(part: &str, length: usize) -> Vec<u8> {
    part.chars()
        .filter(|c| !matches!(c, ' ' | '.'))
        .map(|c| u8::try_from(c).ok().filter(|&byte| is_short_character(byte)).unwrap_or(b'_'))
        .map(|byte| byte.to_ascii_uppercase())
        .take(length)
        .collect()
}

/// `next` holds the number to try next for each stem with a number of digits: a stem is never
/// asked for the same number twice.
fn number(name: &str, taken: &mut BTreeSet<Short>, next: &mut BTreeMap<(Short, u32), u32>) -> Result<Short, Error> {
    let stripped = name.trim_start_matches(['.', ' ']);
    let (base, extension) = stripped.rsplit_once('.').unwrap_or((stripped, ""));
    let extension = reduced(extension, 3);
    let mut base = reduced(base, 8);
    if base.is_empty() {
        base.push(b'_');
    }
    for digits in 1..=6 {
        base.truncate(7 - digits as usize);
        let counter = next.entry((join(&base, &extension), digits)).or_insert(10u32.pow(digits - 1));
        while *counter < 10u32.pow(digits) {
            let mut tailed = base.clone();
            tailed.extend(format!("~{counter}").bytes());
            *counter += 1;
            let short = join(&tailed, &extension);
            if taken.insert(short) {
                return Ok(short);
            }
        }
    }
    Err(Error::Unsupported {
        format: FORMAT,
        what: format!("the name {name:?}"),
        reason: "a directory has more than a million names that begin alike".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        assign(names).unwrap().iter().map(|short| String::from_utf8(spelled(short)).unwrap()).collect()
    }

    #[test]
    fn short_names() {
        let names = ["KERNEL.IMG", "loader", "loader.conf", "loader~1.con", ".bashrc", "a+b", "grüße.txt", "x.y.z"];
        let expected =
            ["KERNEL.IMG", "LOADER", "LOADER~2.CON", "LOADER~1.CON", "BASHRC~1", "A_B~1", "GR__E~1.TXT", "XY~1.Z"];
        assert_eq!(shorts(&names), expected);
        assert!(is_enough("KERNEL.IMG", &exact("KERNEL.IMG").unwrap()));
        assert!(!is_enough("loader", &exact("loader").unwrap()));
    }

    #[test]
    fn ten_thousand_alike_stay_apart() {
        let names: Vec<String> =
            (0..10_000).map(|n| format!("vmlinuz-6.12.{}-{n}", if n % 2 == 0 { "1" } else { "2" })).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = assign(&names).unwrap();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn names_that_cannot_be_kept() {
        for bad in [&b"a\xff"[..], b"a:b", b"end.", b"end ", b"tab\t", &[b'x'; 256]] {
            assert!(check(bad, "/x").is_err(), "{bad:?}");
        }
        assert_eq!(folded("Grüße.txt"), folded("GRÜßE.TXT"));
    }
}
