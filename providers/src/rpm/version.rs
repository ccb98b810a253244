//! Versions: epoch, version and release (rpm-version(7)).

use std::cmp::Ordering;
use std::fmt;

use super::dependency::SyntaxError;

/// Longest version that is read, in bytes. The longest in a distribution have some 60; a header
/// string of this length is an attack.
const LENGTH_MAX: usize = 1024;

/// Epoch, version and release of a package, or of a constraint on one, in which parts may be missing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Evr {
    /// The epoch; a missing one counts as 0.
    pub epoch: Option<u32>,
    /// The version, without `-`.
    pub version: Box<str>,
    /// The release; a constraint without one leaves it open.
    pub release: Option<Box<str>>,
}

impl Evr {
    /// Reads `[epoch:]version[-release]`; the release begins after the last `-`.
    ///
    /// # Errors
    /// [`SyntaxError`] for an epoch that is no number, an empty part, or a character that no
    /// version can have.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let refuse = |at, reason| SyntaxError::new(text, at, reason);
        if text.len() > LENGTH_MAX {
            return Err(refuse(LENGTH_MAX, "it is too long for a version"));
        }
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (Some(epoch), rest),
            None => (None, text),
        };
        let start = text.len() - rest.len();
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        let epoch = match epoch {
            Some(epoch) => Some(parse_epoch(epoch).ok_or_else(|| refuse(0, "the epoch is not a number"))?),
            None => None,
        };
        if version.is_empty() {
            return Err(refuse(start, "the version is missing"));
        }
        if release.is_some_and(str::is_empty) {
            return Err(refuse(text.len(), "the release after the '-' is missing"));
        }
        if let Some(at) = rest.find(|c: char| !is_version_character(c)) {
            return Err(refuse(start + at, "a version cannot have this character"));
        }
        Ok(Self { epoch, version: version.into(), release: release.map(Into::into) })
    }

    /// From the parts as primary.xml and package headers have them; a release that is empty is
    /// none.
    ///
    /// # Errors
    /// [`SyntaxError`] as in [`Evr::parse`].
    pub fn from_parts(epoch: Option<&str>, version: &str, release: Option<&str>) -> Result<Self, SyntaxError> {
        let release = release.filter(|release| !release.is_empty());
        let length = version.len().saturating_add(release.map_or(0, str::len));
        if length > LENGTH_MAX {
            return Err(SyntaxError::new(version, LENGTH_MAX, "it is too long for a version"));
        }
        let epoch = match epoch {
            Some(epoch) => {
                Some(parse_epoch(epoch).ok_or_else(|| SyntaxError::new(epoch, 0, "the epoch is not a number"))?)
            }
            None => None,
        };
        if version.is_empty() {
            return Err(SyntaxError::new(version, 0, "the version is missing"));
        }
        for part in [Some(version), release].into_iter().flatten() {
            if let Some(at) = part.find(|c: char| !is_version_character(c)) {
                return Err(SyntaxError::new(part, at, "a version cannot have this character"));
            }
        }
        Ok(Self { epoch, version: version.into(), release: release.map(Into::into) })
    }

    /// The epoch as a number: 0 when none is written.
    pub fn epoch(&self) -> u32 {
        self.epoch.unwrap_or(0)
    }

    /// rpm's order. Two spellings of one version (`1.0` and `0:1.00`) are equal; a missing release
    /// comes before any.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.compare_version(other).then_with(|| match (&self.release, &other.release) {
            (Some(a), Some(b)) => compare_part(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
    }

    /// rpm's order of epoch and version, whatever the releases.
    pub fn compare_version(&self, other: &Self) -> Ordering {
        self.epoch().cmp(&other.epoch()).then_with(|| compare_part(&self.version, &other.version))
    }
}

/// An epoch; an empty one is 0, as rpm reads `:1.0`.
fn parse_epoch(text: &str) -> Option<u32> {
    match text {
        "" => Some(0),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// What may stand in a version. rpmbuild allows packages less (alphanumerics and `._+~^`);
/// capabilities that are versioned by something else than packages have more.
fn is_version_character(c: char) -> bool {
    c.is_ascii_graphic() && !"()<>=,:&|\"'`\\".contains(c)
}

/// Compares two versions, or two releases, as rpmvercmp does: by segments of digits or letters,
/// whatever separates them; `~` sorts before the end, `^` after the end but before all else.
pub fn compare_part(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                a = a.get(1..).unwrap_or_default();
                b = b.get(1..).unwrap_or_default();
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (Some(first), Some(other)) => {
                // Digits are newer than letters.
                let kinds = first.is_ascii_digit().cmp(&other.is_ascii_digit());
                if kinds.is_ne() {
                    return kinds;
                }
                let is_digits = first.is_ascii_digit();
                let (segment, rest) = split_segment(a, is_digits);
                let (other, other_rest) = split_segment(b, is_digits);
                let order = match is_digits {
                    true => compare_numbers(segment, other),
                    false => segment.cmp(other),
                };
                if order.is_ne() {
                    return order;
                }
                a = rest;
                b = other_rest;
            }
        }
    }
}

fn skip_separators(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^'));
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

fn split_segment(text: &[u8], is_digits: bool) -> (&[u8], &[u8]) {
    let within = |byte: &u8| match is_digits {
        true => byte.is_ascii_digit(),
        false => byte.is_ascii_alphabetic(),
    };
    text.split_at(text.iter().position(|byte| !within(byte)).unwrap_or(text.len()))
}

/// Compares numbers of any length.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    let (a, b) = (a.split_at(significant(a)).1, b.split_at(significant(b)).1);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = self.epoch.filter(|epoch| *epoch != 0) {
            write!(f, "{epoch}:")?;
        }
        f.write_str(&self.version)?;
        match &self.release {
            Some(release) => write!(f, "-{release}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_told_apart() {
        let parts = |text| {
            let evr = Evr::parse(text).unwrap();
            (evr.epoch, evr.version.to_string(), evr.release.map(String::from))
        };
        assert_eq!(parts("1.2"), (None, "1.2".into(), None));
        assert_eq!(parts("3:1.2-4.el10"), (Some(3), "1.2".into(), Some("4.el10".into())));
        assert_eq!(parts("0:1-2-3"), (Some(0), "1-2".into(), Some("3".into())));
        assert_eq!(parts(":1"), (Some(0), "1".into(), None));
        assert_eq!(Evr::parse("0:1.2~rc1^git-4").unwrap().to_string(), "1.2~rc1^git-4");
    }

    #[test]
    fn what_is_no_version_is_refused_with_its_place() {
        let refused = |text: &str| Evr::parse(text).unwrap_err().to_string();
        assert_eq!(refused("x:1"), "read \"x:1\" at column 1: the epoch is not a number");
        assert_eq!(refused("4294967296:1"), "read \"4294967296:1\" at column 1: the epoch is not a number");
        assert_eq!(refused(""), "read \"\" at column 1: the version is missing");
        assert_eq!(refused("1:-2"), "read \"1:-2\" at column 3: the version is missing");
        assert_eq!(refused("1-"), "read \"1-\" at column 3: the release after the '-' is missing");
        assert_eq!(refused("1:2:3"), "read \"1:2:3\" at column 4: a version cannot have this character");
        assert_eq!(refused("1.é"), "read \"1.é\" at column 3: a version cannot have this character");
        assert!(Evr::parse(&"1".repeat(LENGTH_MAX + 1)).is_err());
        assert!(Evr::from_parts(Some("1"), "1 2", None).is_err());
        assert!(Evr::from_parts(Some("1"), "1", Some("")).unwrap().release.is_none());
    }
}
