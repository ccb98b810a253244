//! Versions in rpm's order (lib/rpmvercmp.c, rpmio/rpmver.c), of texts that need not be versions.

use std::cmp::Ordering;

/// Epoch, version and release of a text.
pub(super) type Parts<'a> = (Option<&'a [u8]>, &'a [u8], Option<&'a [u8]>);

/// Takes `[epoch:]version[-release]` apart; `None` if it is empty.
pub(super) fn parse(text: &[u8]) -> Option<Parts<'_>> {
    if text.is_empty() {
        return None;
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (epoch, rest) = match text.split_at(digits) {
        (epoch, [b':', rest @ ..]) => (Some(if epoch.is_empty() { &b"0"[..] } else { epoch }), rest),
        _ => (None, text),
    };
    Some(match rest.iter().rposition(|byte| *byte == b'-') {
        Some(at) => (epoch, rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
        None => (epoch, rest, None),
    })
}

/// Compares epochs, versions and releases; an epoch that is missing is 0, a missing release is the least.
pub(super) fn compare_parts(a: Parts<'_>, b: Parts<'_>) -> Ordering {
    let epoch = |epoch: Option<&[u8]>| epoch.unwrap_or(b"0").to_vec();
    compare(&epoch(a.0), &epoch(b.0)).then_with(|| compare(a.1, b.1)).then_with(|| match (a.2, b.2) {
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    })
}

/// Compares two versions segment by segment.
pub(super) fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let begins = |text: &[u8], letter: u8| text.first() == Some(&letter);
    loop {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
        a = a.get(a.iter().take_while(|byte| !word(byte)).count()..).unwrap_or_default();
        b = b.get(b.iter().take_while(|byte| !word(byte)).count()..).unwrap_or_default();
        // A tilde is less than the end, a caret more, but less than anything else.
        match (begins(a, b'~'), begins(b, b'~')) {
            (true, true) => {
                (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        match (begins(a, b'^'), begins(b, b'^')) {
            (true, true) => {
                (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default());
                continue;
            }
            (true, false) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (false, false) => {}
        }
        let (Some(first), false) = (a.first(), b.is_empty()) else { return a.len().min(1).cmp(&b.len().min(1)) };
        let numeric = first.is_ascii_digit();
        let same = |byte: &u8| if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
        let (x, rest_a) = a.split_at(a.iter().take_while(|byte| same(byte)).count());
        let (y, rest_b) = b.split_at(b.iter().take_while(|byte| same(byte)).count());
        if y.is_empty() {
            // Numbers are newer than letters.
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let trimmed = |text: &[u8]| text.iter().copied().skip_while(|byte| *byte == b'0').collect::<Vec<u8>>();
        let order = if numeric {
            let (x, y) = (trimmed(x), trimmed(y));
            x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
        } else {
            x.cmp(y)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_rpm() {
        let ascending = ["1.0~rc1", "1.0", "1.0^git1", "1.0a", "1.0.1", "1.1", "1.10", "2"];
        for (at, a) in ascending.iter().enumerate() {
            for (after, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a.as_bytes(), b.as_bytes()), at.cmp(&after), "{a} {b}");
            }
        }
        assert_eq!(compare(b"1.05", b"1..5"), Ordering::Equal);
        assert_eq!(parse(b":1-2-3"), Some((Some(&b"0"[..]), &b"1-2"[..], Some(&b"3"[..]))));
        assert_eq!(parse(b"a:1"), Some((None, &b"a:1"[..], None)));
    }
}
