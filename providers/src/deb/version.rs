//! Debian versions and their order (deb-version(7), Debian policy 5.6.12).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::Error;

/// A Debian version, kept as it was written. Its order is dpkg's, so two spellings of one version
/// (`1.0` and `0:1.0-0`) compare as equal.
#[derive(Clone, Debug)]
pub struct Version(Box<str>);

/// The three parts of a version, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts<'a> {
    /// The epoch; 0 when none is written.
    pub epoch: u32,
    /// The upstream version.
    pub upstream: &'a str,
    /// The Debian revision; empty when none is written.
    pub revision: &'a str,
}

impl<'a> Parts<'a> {
    /// Splits a version without judging its characters: what indexes contain is compared even
    /// where policy would frown. An epoch that is no number, or too large, counts as the largest.
    pub fn of(text: &'a str) -> Self {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(u32::MAX), rest),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

/// Compares two versions as dpkg does.
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (a, b) = (Parts::of(a), Parts::of(b));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| compare_part(a.upstream.as_bytes(), b.upstream.as_bytes()))
        .then_with(|| compare_part(a.revision.as_bytes(), b.revision.as_bytes()))
}

/// Rank of a character in the parts that are not digits: `~` before the end of the part, the end
/// before letters, letters before everything else (deb-version(7), "Sorting algorithm").
fn rank(byte: Option<u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(byte) if byte.is_ascii_digit() => 1,
        Some(byte) if byte.is_ascii_alphabetic() => 2 + u16::from(byte),
        Some(byte) => 258 + u16::from(byte),
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let digit_next = |rest: &[u8]| rest.first().is_none_or(u8::is_ascii_digit);
    while !(a.is_empty() && b.is_empty()) {
        while !(digit_next(a) && digit_next(b)) {
            let order = rank(a.first().copied()).cmp(&rank(b.first().copied()));
            if order.is_ne() {
                return order;
            }
            a = &a[1..];
            b = &b[1..];
        }
        let (left, right);
        (left, a) = take_number(a);
        (right, b) = take_number(b);
        // Numbers may be longer than any integer: without leading zeros the longer is larger.
        let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The leading number without its leading zeros, and what follows it.
fn take_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|&&byte| byte == b'0').count();
    (&number[zeros..], rest)
}

impl Version {
    /// Reads a version and refuses what policy 5.6.12 does not allow.
    ///
    /// # Errors
    /// Empty versions, epochs that are no number below 2^31, characters that policy excludes.
    pub fn new(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Version { text: text.chars().take(80).collect(), reason };
        let rest = match text.split_once(':') {
            Some((epoch, rest)) => {
                if epoch.is_empty() || !epoch.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(refuse("its epoch is not a number"));
                }
                if !epoch.parse::<u32>().is_ok_and(|epoch| epoch <= i32::MAX as u32) {
                    return Err(refuse("its epoch is too large"));
                }
                rest
            }
            None => text,
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return Err(refuse("its revision is empty")),
            Some(parts) => parts,
            None => (rest, ""),
        };
        if upstream.is_empty() {
            return Err(refuse("it is empty"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~".contains(&byte);
        // `^` is not in policy, but dpkg compares it and derivatives use it.
        let allowed = |byte: u8| plain(byte) || byte == b'^';
        if !upstream.bytes().all(|byte| allowed(byte) || byte == b'-' || byte == b':') {
            return Err(refuse("it contains a character that versions may not have"));
        }
        if !revision.bytes().all(allowed) {
            return Err(refuse("its revision contains a character that revisions may not have"));
        }
        Ok(Self(text.into()))
    }

    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The three parts.
    pub fn parts(&self) -> Parts<'_> {
        Parts::of(&self.0)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Version {}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs with dpkg's own answers, one a line: a, b, order.
    const TABLE: &str = include_str!("../../tests/data/deb-version-order.tsv");

    #[test]
    fn the_order_is_dpkgs() {
        let mut lines = 0;
        for line in TABLE.lines().skip(1) {
            let mut fields = line.split('\t');
            let (a, b, order) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
            lines += 1;
            let Ok(order) = order.parse::<i8>() else {
                // "None": dpkg refuses one of the two.
                assert!(Version::new(a).is_err() || Version::new(b).is_err(), "{a} and {b}");
                continue;
            };
            let expected = order.cmp(&0);
            assert_eq!(compare(a, b), expected, "{a} against {b}");
            assert_eq!(compare(b, a), expected.reverse(), "{b} against {a}");
        }
        assert!(lines > 300, "the table has only {lines} lines");
    }

    #[test]
    fn what_policy_excludes_is_refused() {
        for good in ["1", "1:2.3-4~bpo12+1", "0", "2025a-1", "1.0^git"] {
            assert!(Version::new(good).is_ok(), "{good}");
        }
        for bad in ["", ":1", "a:1", "1-", "-1", "1 2", "1_2", "99999999999:1", "1.0-1:2", "ü"] {
            assert!(Version::new(bad).is_err(), "{bad}");
        }
    }
}
