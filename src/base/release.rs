//! Whether an image is of the distribution that the spec says, by its own os-release(5).

use std::collections::BTreeMap;

use layers::Stack;
use providers::distro::Distro;

use crate::configure::read_text;
use crate::error::Error;

/// Longest os-release(5) that is read, in bytes.
const RELEASE_MAX: u64 = 64 << 10;
/// Where it is: what is in /etc wins.
const PLACES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// The fields of an os-release(5), without their quotes.
pub fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
        .collect()
}

/// Refuses an image of another distribution or release than the spec's.
///
/// # Errors
/// It says that it is another one, or nothing at all; I/O errors.
pub fn check(written: &str, stack: &Stack, distro: &Distro) -> Result<(), Error> {
    let mut text = None;
    for place in PLACES {
        if text.is_none() {
            text = read_text(stack, place, RELEASE_MAX)?;
        }
    }
    let what = format!("failed to use the base image {written}");
    let hint = "correct image.base.os and image.base.version, or name another image";
    let Some(text) = text else {
        return Err(Error::build(format!("{what}: it has no os-release(5) to say what it is"))
            .hint("name an image of a whole distribution"));
    };
    match mismatch(&fields(&text), distro) {
        None => Ok(()),
        Some(found) => {
            Err(Error::build(format!("{what}: it is {found}, and the spec says {}", distro.title)).hint(hint))
        }
    }
}

/// What it is instead, if it is of another distribution or release.
fn mismatch(fields: &BTreeMap<&str, &str>, distro: &Distro) -> Option<String> {
    let get = |key: &str| fields.get(key).copied().unwrap_or_default();
    // The default of os-release(5).
    let id = if get("ID").is_empty() { "linux" } else { get("ID") };
    let says = [get("VERSION_ID"), get("VERSION_CODENAME")];
    let (os, number) = match &distro.os_release {
        Some(says) => (&says.id, &says.version),
        None => (&distro.os, &distro.version),
    };
    let is_version = |text: &&str| *text == number || distro.aliases.contains(*text);
    if id == os && says.iter().any(is_version) {
        return None;
    }
    let version = says.iter().find(|text| !text.is_empty()).copied().unwrap_or("of no version");
    Some(format!("{id} {version}").chars().take(100).flat_map(char::escape_default).collect())
}

#[cfg(test)]
mod tests {
    use providers::distro::Catalogue;

    use super::*;

    #[test]
    fn an_image_says_what_it_is() {
        let catalogue = Catalogue::embedded().unwrap();
        let debian = catalogue.find("debian", "13").unwrap();
        let found = |text: &str| mismatch(&fields(text), debian);
        assert_eq!(found("NAME=x\nID=debian\nVERSION_ID=\"13\"\n"), None);
        // Before the release there is no number.
        assert_eq!(found("ID=debian\nVERSION_CODENAME=trixie\n"), None);
        assert_eq!(found("ID=debian\nVERSION_ID='12'\nVERSION_CODENAME=bookworm\n").as_deref(), Some("debian 12"));
        assert_eq!(found("ID=ubuntu\nVERSION_ID=13\n").as_deref(), Some("ubuntu 13"));
        assert_eq!(found("").as_deref(), Some("linux of no version"));
    }
}
