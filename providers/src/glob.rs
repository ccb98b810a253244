//! Shell patterns over names (fnmatch(3) without flags): `*`, `?`, `[a-z]`, `[!a-z]`.

/// Whether a text has characters that make it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a pattern describes the whole of a text. Time grows with the product of their lengths
/// at worst.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    matches_bytes(pattern.as_bytes(), text.as_bytes())
}

/// As [`matches`], for names that need not be text.
pub(crate) fn matches_bytes(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0usize, 0usize);
    // Where to go on when what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        let next = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, seen));
                at += 1;
                continue;
            }
            Some(_) => one(pattern, at, text.get(seen).copied().unwrap_or_default()),
            None => None,
        };
        match (next, star) {
            (Some(next), _) => {
                at = next;
                seen += 1;
            }
            (None, Some((after, taken))) => {
                star = Some((after, taken + 1));
                at = after;
                seen = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern.iter().skip(at).all(|&byte| byte == b'*')
}

/// Matches one character at a place of the pattern; the place after it.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => match class(pattern, at, byte) {
            Some((true, after)) => Some(after),
            Some((false, _)) => None,
            // A bracket that is not closed stands for itself.
            None => (byte == b'[').then_some(at + 1),
        },
        b'\\' if pattern.get(at + 1) == Some(&byte) => Some(at + 2),
        &other => (other == byte).then_some(at + 1),
    }
}

fn class(pattern: &[u8], at: usize, byte: u8) -> Option<(bool, usize)> {
    let mut place = at + 1;
    let negated = matches!(pattern.get(place), Some(b'!' | b'^'));
    if negated {
        place += 1;
    }
    let first = place;
    let mut found = false;
    loop {
        let low = *pattern.get(place)?;
        if low == b']' && place > first {
            return Some((found != negated, place + 1));
        }
        match (pattern.get(place + 1), pattern.get(place + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                found |= (low..=high).contains(&byte);
                place += 3;
            }
            _ => {
                found |= low == byte;
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_a_shells() {
        for (pattern, text, answer) in [
            ("systemd*", "systemd-udev", true),
            ("*d*u*v", "systemd-udev", true),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("lib[a-c]x", "libbx", true),
            ("lib[!a-c]x", "libbx", false),
            ("a[", "a[", true),
            ("a[]]", "a]", true),
            ("a*b", "ab", true),
            ("a*b", "abc", false),
            ("abc", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), answer, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_end() {
        assert!(!matches(&"a*".repeat(500), &"a".repeat(499)));
    }
}
