//! Names of things at a registry: host, repository, tag, and the references people write.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use layers::Sha256;

use crate::descriptor::{digest_text, read_digest};

/// Characters of a repository's name together with its host (distribution-spec 1.1, "Pulling
/// manifests": many implementations keep to 255).
const NAME_MAX: usize = 255;
/// Characters of a tag (distribution-spec 1.1, "Pulling manifests").
const TAG_MAX: usize = 128;
/// The name that people know Docker Hub by.
const HUB: &str = "docker.io";
/// The host that speaks the protocol for it.
const HUB_API: &str = "registry-1.docker.io";

/// A text that does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?}: {why}")]
pub struct ReferenceError {
    text: String,
    why: String,
    hint: Option<String>,
}

impl ReferenceError {
    fn new(text: &str, why: impl Into<String>) -> Self {
        // What comes before an '@' may be a password that somebody put there.
        let shown = match text.split_once('@') {
            Some((before, after)) if !after.starts_with("sha") && before.contains("://") => after,
            _ => text,
        };
        Self { text: shown.chars().take(200).collect(), why: why.into(), hint: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// A registry's host, with the port when one is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// The host without its port; an IPv6 address is in brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, when it is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is this machine, so that nobody else hears what is said in plain text.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.name)
    }

    /// Whether this is Docker Hub, which has a different name for the protocol.
    pub fn is_hub(&self) -> bool {
        self.port.is_none() && matches!(self.name.as_str(), HUB | "index.docker.io" | HUB_API)
    }

    /// Host and port that speak the protocol.
    pub(crate) fn authority(&self) -> String {
        if self.is_hub() { HUB_API.to_owned() } else { self.to_string() }
    }
}

/// Whether a host, as in a URL, is this machine.
pub(crate) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Host {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fail = |why: &str| ReferenceError::new(text, why);
        let (name, port) = match text.rfind(']') {
            Some(end) => {
                let (name, rest) = text.split_at(end.saturating_add(1));
                (name, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some(rest) }))
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(fail("the port of a registry is a number from 1 to 65535")),
            },
        };
        if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if inner.parse::<Ipv6Addr>().is_err() {
                return Err(fail("what is in brackets is not an IPv6 address"));
            }
            return Ok(Self { name: name.to_ascii_lowercase(), port });
        }
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
            return Err(fail("the host of a registry is a domain name or an address"));
        }
        Ok(Self { name: name.to_ascii_lowercase(), port })
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The name of a repository at a registry, such as `team/images` (distribution-spec 1.1, "Pulling
/// manifests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);
text_type!(Name);

impl FromStr for Name {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::new(text, "the name of the repository is missing"));
        }
        if text.len() > NAME_MAX {
            return Err(ReferenceError::new(text, format!("a repository's name has at most {NAME_MAX} characters")));
        }
        if text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        let error = ReferenceError::new(
            text,
            "a repository's name is made of lower-case letters, digits and single separators (. _ - /) between them",
        );
        let lower = text.to_ascii_lowercase();
        Err(if lower != text && lower.split('/').all(is_component) {
            error.with_hint(format!("write it in lower case: {lower}"))
        } else {
            error
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = part.bytes().peekable();
    if !bytes.peek().copied().is_some_and(plain) {
        return false;
    }
    while let Some(byte) = bytes.next() {
        if plain(byte) {
            continue;
        }
        match byte {
            b'.' => {}
            b'_' => {
                bytes.next_if_eq(&b'_');
            }
            b'-' => while bytes.next_if_eq(&b'-').is_some() {},
            _ => return false,
        }
        if !bytes.peek().copied().is_some_and(plain) {
            return false;
        }
    }
    true
}

/// A tag: a name for a manifest that may come to mean another (distribution-spec 1.1, "Pulling
/// manifests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);
text_type!(Tag);

impl Tag {
    /// The tag that is meant when none is written.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The tag of a cache key: 66 characters that a tag may have.
    pub(crate) fn of_key(key: &layers::Key) -> Self {
        Self(format!("k-{}", key.to_hex()))
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if text.is_empty() || text.len() > TAG_MAX || !text.bytes().all(good) || text.starts_with(['.', '-']) {
            return Err(ReferenceError::new(
                text,
                format!("a tag has 1 to {TAG_MAX} letters, digits, dots, dashes and underscores, no dot or dash first"),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// What a tag means now.
    Tag(Tag),
    /// The one with this digest.
    Digest(Sha256),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => f.write_str(&digest_text(digest)),
        }
    }
}

/// What people write: `docker://host[:port]/repository[:tag][@digest]`, or the same with `oci://`.
///
/// Only `docker://` knows a registry that need not be written (Docker Hub), by docker's rule: the
/// first part is a host if it has a dot or a colon or is `localhost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry.
    pub host: Host,
    /// The repository.
    pub name: Name,
    /// The tag, when one is written.
    pub tag: Option<Tag>,
    /// The digest, when one is written; it wins over the tag.
    pub digest: Option<Sha256>,
}

impl Reference {
    /// Which manifest is meant: the digest, else the tag, else `latest`.
    pub fn selector(&self) -> Selector {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Selector::Digest(*digest),
            (None, Some(tag)) => Selector::Tag(tag.clone()),
            (None, None) => Selector::Tag(Tag::latest()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{}", digest_text(digest))?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, docker) = match (text.strip_prefix("docker://"), text.strip_prefix("oci://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Err(no_scheme(text)),
        };
        if rest.is_empty() {
            return Err(ReferenceError::new(text, "the registry and the repository are missing")
                .with_hint("write docker://HOST/REPOSITORY:TAG"));
        }
        if rest.contains(['?', '#', ' ']) {
            return Err(ReferenceError::new(text, "a reference has no spaces, query or fragment"));
        }
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((before, after)) if after.contains('/') => {
                let hint = format!("leave out what is before the '@' ({} characters)", before.chars().count());
                return Err(ReferenceError::new(text, "a reference has no user or password")
                    .with_hint(format!("{hint}; credentials come from docker's config.json (docker login)")));
            }
            Some((before, after)) => match read_digest(after) {
                Some(digest) => (before, Some(digest)),
                None => {
                    return Err(ReferenceError::new(text, "what follows '@' is not a digest that is supported")
                        .with_hint("write sha256: and 64 lower-case hexadecimal digits"));
                }
            },
        };
        let (path, tag) = match rest.rsplit_once(':') {
            // A colon before a slash belongs to the port.
            Some((path, tag)) if !tag.contains('/') && (path.contains('/') || docker) => {
                (path, Some(tag.parse::<Tag>()?))
            }
            _ => (rest, None),
        };
        let (host, name) = split_host(text, path, docker)?;
        Ok(Self { host, name, tag, digest })
    }
}

fn split_host(text: &str, path: &str, docker: bool) -> Result<(Host, Name), ReferenceError> {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let names_host = first.contains(['.', ':']) || first == "localhost" || first.starts_with('[');
    match rest {
        Some(rest) if names_host || !docker => Ok((first.parse()?, rest.parse()?)),
        None if names_host || !docker => Err(ReferenceError::new(text, "the name of the repository is missing")
            .with_hint(format!("write {first}/REPOSITORY"))),
        // One word at Docker Hub is one of its official images.
        None => Ok((hub(), format!("library/{path}").parse()?)),
        Some(_) => Ok((hub(), path.parse()?)),
    }
}

fn hub() -> Host {
    Host { name: HUB.to_owned(), port: None }
}

fn no_scheme(text: &str) -> ReferenceError {
    let error = ReferenceError::new(text, "it does not begin with docker:// or oci://");
    if let Some(path) = text.strip_prefix("oci:") {
        return error.with_hint(format!("oci:{path} is an image layout in a directory, not a place at a registry"));
    }
    if let Some((_, rest)) = text.split_once("://") {
        return error.with_hint(format!("write docker://{}", rest.rsplit('@').next().unwrap_or_default()));
    }
    error.with_hint(format!("write docker://{}", text.trim_start_matches("docker:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn read(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn references_mean_what_docker_means() {
        for (text, shown, selector) in [
            ("docker://debian", "docker.io/library/debian", "latest"),
            ("docker://debian:13", "docker.io/library/debian:13", "13"),
            ("docker://team/app", "docker.io/team/app", "latest"),
            ("docker://localhost/app", "localhost/app", "latest"),
            ("docker://localhost:5000/a/b:t", "localhost:5000/a/b:t", "t"),
            ("docker://Quay.io/a/b", "quay.io/a/b", "latest"),
            ("oci://ci/cache", "ci/cache", "latest"),
            ("oci://[::1]:5000/cache:x", "[::1]:5000/cache:x", "x"),
        ] {
            let reference = read(text);
            assert_eq!(reference.to_string(), shown);
            assert_eq!(reference.selector().to_string(), selector);
        }
        let both = read(&format!("docker://h.example/r:t@{DIGEST}"));
        assert_eq!(both.selector().to_string(), DIGEST);
        assert_eq!(both.tag.map(|tag| tag.to_string()).as_deref(), Some("t"));
        assert_eq!(read("docker://debian").host.authority(), "registry-1.docker.io");
        assert_eq!(read("docker://debian").host.to_string(), "docker.io");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (text, why, hint) in [
            ("debian", "does not begin with docker://", "docker://debian"),
            ("https://h.example/a", "does not begin with docker://", "docker://h.example/a"),
            ("oci:/some/dir", "does not begin with docker://", "image layout"),
            ("oci://host", "repository is missing", "host/REPOSITORY"),
            ("docker://host.example", "repository is missing", "host.example/REPOSITORY"),
            ("docker://host.example/Team/App", "lower-case", "team/app"),
            ("docker://h.example/a@sha512:00", "not a digest", "sha256:"),
            ("docker://", "missing", "docker://HOST"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
        }
        for text in [
            "oci://h/a/",
            "oci://h//a",
            "oci://h/.a",
            "oci://h/a..b",
            "oci://h/a___b",
            "oci://h/../a",
            "oci://h/a:-x",
            "oci://h:0/a",
            "oci://h:99999/a",
            "oci://-h/a",
            "oci://h/a?x",
            "oci://h/a b",
            "oci://[::1/a",
            "docker://a:b:c",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_a_reference_is_not_repeated() {
        let error = "docker://me:hunter2@h.example/a".parse::<Reference>().unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("hunter2"));
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (text, expected) in [
            ("localhost:5000", true),
            ("127.3.4.5", true),
            ("[::1]:80", true),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().is_loopback(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            for prefix in ["", "docker://", "oci://"] {
                if let Ok(reference) = format!("{prefix}{text}").parse::<Reference>() {
                    proptest::prop_assert_eq!(&format!("oci://{reference}").parse::<Reference>().map(|again| again.to_string()), &Ok(reference.to_string()));
                }
            }
        }
    }
}
