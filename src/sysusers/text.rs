//! What names, numbers and paths of accounts may look like (systemd, docs/USER_NAMES.md).

/// Longest name, in bytes: what utmp(5) has room for.
const NAME_MAX: usize = 31;

/// Longest path, in bytes.
const PATH_MAX: usize = 4095;

/// A name for a message.
pub(super) fn shown(text: &[u8]) -> String {
    format!("'{}'", text.escape_ascii())
}

/// Whether a user or a group may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    let Some((first, rest)) = name.split_first() else { return false };
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.len() <= NAME_MAX
        && is_letter(first)
        && rest.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit() || *byte == b'-')
}

/// A user's or a group's number: decimal, without a sign or leading zeros, and none of the two that
/// stand for no number.
pub(super) fn id(text: &[u8]) -> Option<u32> {
    let is_plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    let id = std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()?;
    (id != u32::MAX && id != u32::from(u16::MAX)).then_some(id)
}

/// Whether it may be a user's description.
pub(super) fn is_description(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && !text.iter().any(|byte| byte.is_ascii_control() || *byte == b':')
}

/// A path without what means nothing in it; `None` if it cannot be a field: relative, with `..`, with
/// a colon or a control character.
pub(super) fn path(text: &[u8]) -> Option<Vec<u8>> {
    let is_field = is_description(text) && text.first() == Some(&b'/') && text.len() <= PATH_MAX;
    let names = || text.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    if !is_field || names().any(|name| name == b"..") {
        return None;
    }
    let path: Vec<u8> = names().flat_map(|name| [b"/", name].concat()).collect();
    Some(if path.is_empty() { b"/".to_vec() } else { path })
}
