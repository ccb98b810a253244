//! Names that plain ISO 9660 and Joliet can hold, each at most once in a directory.

use std::collections::{BTreeMap, BTreeSet};

use super::unsupported;
use crate::Error;

/// Most characters of a file's name and extension together, and of a directory's name (ECMA-119,
/// 7.5.1 and 7.6.3; interchange level 2).
const FILE_MAX: usize = 30;
const DIRECTORY_MAX: usize = 31;
/// Most characters of an extension that we keep: beyond, it is no extension but a part of the name.
const EXTENSION_MAX: usize = 8;
/// Most characters of a name in Joliet, the version not counted (Joliet, "Allowed Characters").
const JOLIET_MAX: usize = 64;

/// The two kinds of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Alphabet {
    /// Upper-case letters, digits and `_` (ECMA-119, 7.4.1).
    Plain,
    /// UCS-2, but some signs.
    Joliet,
}

/// A name in two parts, in UTF-16 units of the basic plane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Parts {
    stem: Vec<u16>,
    extension: Vec<u16>,
}

impl Alphabet {
    fn allow(self, character: char) -> u16 {
        let allowed = match self {
            Self::Plain => character.is_ascii_alphanumeric(),
            Self::Joliet => !character.is_control() && !matches!(character, '*' | '/' | ':' | ';' | '?' | '\\'),
        };
        let character = if self == Self::Plain { character.to_ascii_uppercase() } else { character };
        // What lies beyond the basic plane has no place in UCS-2.
        if allowed { u16::try_from(u32::from(character)).unwrap_or(b'_'.into()) } else { b'_'.into() }
    }

    /// Most units of the stem beside such an extension.
    fn room(self, extension: usize, directory: bool) -> usize {
        match (self, directory) {
            (Self::Plain, true) => DIRECTORY_MAX,
            (Self::Plain, false) => FILE_MAX - extension,
            (Self::Joliet, _) => JOLIET_MAX - if extension > 0 { extension + 1 } else { 0 },
        }
    }

    /// The nearest name, and whether it says the same.
    fn nearest(self, name: &str, directory: bool) -> (Parts, bool) {
        // Readers strip dots at the end of a name of Joliet.
        let kept = if self == Self::Joliet { name.trim_end_matches(['.', ' ']) } else { name };
        let cut = kept
            .rsplit_once('.')
            .filter(|(stem, extension)| !stem.is_empty() && (1..=EXTENSION_MAX).contains(&extension.chars().count()));
        let (stem, extension) = match cut {
            Some(cut) if !directory || self == Self::Joliet => cut,
            _ => (kept, ""),
        };
        let extension: Vec<u16> = extension.chars().map(|character| self.allow(character)).collect();
        let mut stem: Vec<u16> = stem.chars().map(|character| self.allow(character)).collect();
        stem.truncate(self.room(extension.len(), directory));
        if stem.is_empty() {
            stem.push(b'_'.into());
        }
        let parts = Parts { stem, extension };
        let text = parts.text();
        let same = match self {
            Self::Plain => text.eq_ignore_ascii_case(name),
            Self::Joliet => text == name,
        };
        (parts, same)
    }
}

impl Parts {
    fn units(&self) -> Vec<u16> {
        let mut units = self.stem.clone();
        if !self.extension.is_empty() {
            units.push(b'.'.into());
            units.extend(&self.extension);
        }
        units
    }

    fn text(&self) -> String {
        String::from_utf16_lossy(&self.units())
    }

    /// As readers compare it: without case.
    fn folded(&self) -> Vec<u16> {
        self.units().into_iter().map(fold).collect()
    }

    /// As it lies in a directory record. Files have a version, which everybody strips.
    fn identifier(&self, alphabet: Alphabet, directory: bool) -> Vec<u8> {
        let mut units = self.units();
        if !directory {
            // Plain names of files have a dot in any case (ECMA-119, 7.5.1).
            if alphabet == Alphabet::Plain && self.extension.is_empty() {
                units.push(b'.'.into());
            }
            units.extend(";1".encode_utf16());
        }
        match alphabet {
            // Nothing but ASCII is left.
            Alphabet::Plain => units.into_iter().map(|unit| unit as u8).collect(),
            Alphabet::Joliet => units.into_iter().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

fn fold(unit: u16) -> u16 {
    let Some(mut upper) = char::from_u32(unit.into()).map(char::to_uppercase) else { return unit };
    match (upper.next(), upper.next()) {
        (Some(only), None) => u16::try_from(u32::from(only)).unwrap_or(unit),
        _ => unit,
    }
}

/// Gives the names of one directory, each with whether it is a directory's, their identifiers: first
/// to those that can be said as they are, then to the others in the order given, numbered where the
/// nearest name is taken. Names that differ in case only count as the same: on some systems one of
/// them could not be opened.
pub(super) fn assign(alphabet: Alphabet, names: &[(&[u8], bool)]) -> Result<Vec<Vec<u8>>, Error> {
    let nearest: Vec<(Parts, bool)> =
        names.iter().map(|&(name, directory)| alphabet.nearest(&String::from_utf8_lossy(name), directory)).collect();
    let mut taken = BTreeSet::new();
    let mut next = BTreeMap::new();
    let mut found = vec![Vec::new(); names.len()];
    for exact in [true, false] {
        for (index, (parts, same)) in nearest.iter().enumerate() {
            if *same != exact {
                continue;
            }
            let directory = names[index].1;
            let parts = if taken.insert(parts.folded()) {
                parts.clone()
            } else {
                number(alphabet, parts, directory, &mut taken, &mut next)?
            };
            found[index] = parts.identifier(alphabet, directory);
        }
    }
    Ok(found)
}

/// `next` holds the number to try next for each stem with a number of digits: a stem is never asked
/// for the same number twice.
fn number(
    alphabet: Alphabet,
    wanted: &Parts,
    directory: bool,
    taken: &mut BTreeSet<Vec<u16>>,
    next: &mut BTreeMap<(Vec<u16>, u32), u32>,
) -> Result<Parts, Error> {
    let room = alphabet.room(wanted.extension.len(), directory);
    let mut base = wanted.clone();
    for digits in 1..=7 {
        base.stem.truncate(room - 1 - digits as usize);
        let counter = next.entry((base.folded(), digits)).or_insert(10u32.pow(digits - 1));
        while *counter < 10u32.pow(digits) {
            let mut tried = base.clone();
            tried.stem.extend(format!("_{counter}").encode_utf16());
            *counter += 1;
            if taken.insert(tried.folded()) {
                return Ok(tried);
            }
        }
    }
    Err(unsupported(
        format_args!("the name {:?}", wanted.text()),
        "a directory has more than ten million names that begin alike",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(names: &[(&[u8], bool)]) -> Vec<String> {
        let found = assign(Alphabet::Plain, names).unwrap();
        found.into_iter().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    fn joliet(names: &[&[u8]]) -> Vec<String> {
        let names: Vec<_> = names.iter().map(|&name| (name, false)).collect();
        let units =
            |name: Vec<u8>| name.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect::<Vec<_>>();
        let found = assign(Alphabet::Joliet, &names).unwrap();
        found.into_iter().map(|name| String::from_utf16(&units(name)).unwrap()).collect()
    }

    #[test]
    fn plain_names() {
        let names: [(&[u8], bool); 9] = [
            (b"boot.cfg", false),
            (b"Boot.CFG", false),
            (b"a-b.c.d", false),
            (b"README", false),
            (b".disk", true),
            (b"x.y", true),
            (b"this is a very long name of a file.conf", false),
            (b"this is a very long name of a file, 2.conf", false),
            (b"\xff\xfe", false),
        ];
        let expected = [
            "BOOT.CFG;1",
            "BOOT_1.CFG;1",
            "A_B_C.D;1",
            "README.;1",
            "_DISK",
            "X_Y",
            "THIS_IS_A_VERY_LONG_NAME_O.CONF;1",
            "THIS_IS_A_VERY_LONG_NAME_1.CONF;1",
            "__.;1",
        ];
        assert_eq!(plain(&names), expected);
        assert!(plain(&names).iter().all(|name| name.len() <= 33));
    }

    #[test]
    fn joliet_names() {
        let long = [b'n'; 100];
        let names: [&[u8]; 7] = [b"gr\xc3\xbc\xc3\x9fe.txt", b"a:b", b"a?b", b"end.", "😀".as_bytes(), &long, b"x\xff"];
        let cut = format!("{};1", "n".repeat(64));
        assert_eq!(joliet(&names), ["grüße.txt;1", "a_b;1", "a_b_1;1", "end;1", "_;1", &cut, "x\u{fffd};1"]);
        assert_eq!(joliet(&[b"MARK.h", b"mark.h"]), ["MARK.h;1", "mark_1.h;1"]);
    }

    #[test]
    fn a_hundred_thousand_alike_stay_apart() {
        let names: Vec<Vec<u8>> = (0..100_000).map(|n| format!("the same long beginning, then: {n}").into()).collect();
        let names: Vec<(&[u8], bool)> = names.iter().map(|name| (name.as_slice(), false)).collect();
        let found = plain(&names);
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
