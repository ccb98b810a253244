//! What lies beneath an error, looked through as a whole.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use crate::error::Error;

/// What the kernel's answer reads like where a program inside the sandbox passed it on (ENOSPC,
/// EDQUOT; errno(3)).
const FULL_WORDS: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// An error with everything beneath it, as one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let words = current.to_string();
        // A transparent error says what its source says.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = current.source();
    }
    text
}

/// Whether a full disk is what lies beneath.
pub fn is_full_disk(error: &Error) -> bool {
    let mut current: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = current {
        let is_full = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        if error.downcast_ref::<sandbox::Error>().is_some_and(is_about_namespaces) {
            return false;
        }
        if error.downcast_ref::<io::Error>().is_some_and(is_full) {
            return true;
        }
        let text = error.to_string();
        if FULL_WORDS.iter().any(|words| text.contains(words)) {
            return true;
        }
        current = error.source();
    }
    false
}

/// The kernel says "no space left" too where there may be no more namespaces (unshare(2), clone(2)).
fn is_about_namespaces(error: &sandbox::Error) -> bool {
    match error {
        sandbox::Error::NoRung { .. } | sandbox::Error::Unavailable { .. } => true,
        sandbox::Error::System { call, .. } => call.starts_with("unshare(") || call.starts_with("clone("),
        _ => false,
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_seen_however_deep() {
        let full = || io::Error::from_raw_os_error(28);
        assert!(is_full_disk(&Error::build("failed to write").caused_by(full())));
        let deep = Error::build("failed to fetch").caused_by(Error::build("failed to write").caused_by(full()));
        assert!(is_full_disk(&deep));
        assert!(is_full_disk(&Error::build("ended with 1\n    | cp: No space left on device")));
        assert!(!is_full_disk(&Error::build("failed").caused_by(io::Error::from_raw_os_error(13))));
        let reason = "unshare(CLONE_NEWUSER): No space left on device".to_owned();
        let no_rung = sandbox::Error::NoRung { reason, hint: None };
        assert!(!is_full_disk(&Error::build("failed to find a way").caused_by(no_rung)));
        assert!(chain(&deep).starts_with("failed to fetch: failed to write: No space"), "{}", chain(&deep));
    }
}
