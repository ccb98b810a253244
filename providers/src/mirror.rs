//! The mirrors that the machine itself uses, found in its apt configuration: they are close, and
//! in closed networks often the only ones there are.
//!
//! The caller reads the files; here they are understood (sources.list(5)). What is found is only
//! a place to fetch from: signatures decide what is used.

use crate::distro::{Distro, MirrorRule, RepositoryFacts};
use crate::fetch::BaseUrl;

/// The largest configuration file looked at, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// One file of the machine's apt configuration.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name, which decides how it is read: `*.sources` or anything else.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// A file of the machine's apt configuration that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("read the package sources {name}: {sentence}")]
pub struct Error {
    name: String,
    sentence: String,
}

/// One place that the machine gets packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its URL.
    pub url: BaseUrl,
    /// Suites.
    pub suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// What `Signed-By` or `signed-by` says.
    pub signed_by: Option<String>,
}

/// Reads all files, in the order given. Sources of kinds that are not understood (`cdrom:`,
/// `mirror:`, `deb-src`, disabled ones) are passed over.
///
/// # Errors
/// A file is larger than any such file, or not text.
pub fn read(files: &[SourceFile]) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for file in files {
        let fail = |sentence: &str| Error { name: file.name.clone(), sentence: sentence.into() };
        if file.bytes.len() > MAX_BYTES {
            return Err(fail("it is too large"));
        }
        let text = std::str::from_utf8(&file.bytes).map_err(|_| fail("it is not text"))?;
        if file.name.ends_with(".sources") {
            paragraphs(text, &mut sources);
        } else {
            lines(text, &mut sources);
        }
    }
    Ok(sources)
}

/// The one-line format: `deb [options] URI suite component…`.
fn lines(text: &str, sources: &mut Vec<Source>) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else { continue };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => ("", rest),
        };
        let signed_by =
            options.split_ascii_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
        let mut words = rest.split_ascii_whitespace();
        let (Some(url), Some(suite)) = (words.next(), words.next()) else { continue };
        let Ok(url) = BaseUrl::parse(url) else { continue };
        sources.push(Source {
            url,
            suites: vec![suite.to_owned()],
            components: words.map(str::to_owned).collect(),
            signed_by,
        });
    }
}

/// The deb822 format: paragraphs of fields.
fn paragraphs(text: &str, sources: &mut Vec<Source>) {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain(std::iter::once("")) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            paragraph(&fields, sources);
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn paragraph(fields: &[(String, String)], sources: &mut Vec<Source>) {
    let get = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let words = |name: &str| -> Vec<String> {
        get(name).unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    };
    let disabled = get("enabled").is_some_and(|value| matches!(value, "no" | "false" | "0" | "off"));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return;
    }
    for url in words("uris") {
        let Ok(url) = BaseUrl::parse(&url) else { continue };
        sources.push(Source {
            url,
            suites: words("suites"),
            components: words("components"),
            signed_by: get("signed-by").map(str::to_owned),
        });
    }
}

/// The machine's mirrors of a repository, in the order of its configuration; empty when the
/// machine runs another distribution or names none. `machine_os` is `ID` of its os-release(5).
///
/// The suite need not be the same: a mirror of one release has the others too.
pub fn mirrors_of(repository: &RepositoryFacts, machine_os: &str, sources: &[Source]) -> Vec<BaseUrl> {
    let Some(rule) = repository.mirror.as_ref().filter(|rule| rule.os == machine_os) else { return Vec::new() };
    let wanted = BaseUrl::parse(&repository.url).ok();
    let wanted = wanted.as_ref().map(BaseUrl::last_part).unwrap_or_default();
    let of_suite: Vec<&Source> = sources
        .iter()
        .filter(|source| source.suites.iter().any(|suite| rule.covers(suite)))
        .filter(|source| source.components.iter().any(|component| component == "main"))
        .collect();
    let mut exact: Vec<BaseUrl> =
        of_suite.iter().filter(|source| source.url.last_part() == wanted).map(|source| source.url.clone()).collect();
    if exact.is_empty() {
        // Proxies of mirrors go by any name. Third parties use the same suites, but their own keys.
        exact = of_suite
            .iter()
            .filter(|source| match &source.signed_by {
                None => true,
                Some(key) => key.contains(&format!("{machine_os}-archive-keyring")),
            })
            .map(|source| source.url.clone())
            .collect();
    }
    let mut unique: Vec<BaseUrl> = Vec::new();
    for url in exact {
        if !unique.contains(&url) {
            unique.push(url);
        }
    }
    unique
}

/// The mirror of one repository where the user has named one mirror for the whole distribution.
///
/// A distribution's repositories lie beside each other under names of their own (`debian`,
/// `debian-security`): where the mirror's URL ends like one of them, the others are found beside
/// it; otherwise the mirror has all of them in one place.
pub fn configured(distro: &Distro, repository: &RepositoryFacts, mirror: &BaseUrl) -> BaseUrl {
    let name = |facts: &RepositoryFacts| BaseUrl::parse(&facts.url).map(|url| url.last_part().to_owned()).ok();
    match name(repository) {
        Some(own) if distro.repositories.iter().any(|facts| name(facts).as_deref() == Some(mirror.last_part())) => {
            mirror.with_last_part(&own)
        }
        _ => mirror.clone(),
    }
}

impl MirrorRule {
    /// Whether a suite is one of this distribution's releases with one of the suffixes.
    fn covers(&self, suite: &str) -> bool {
        // Old security suites are called RELEASE/updates.
        let suite = suite.strip_suffix("/updates").map_or_else(|| suite.to_owned(), |name| format!("{name}-security"));
        self.releases
            .iter()
            .filter_map(|release| suite.strip_prefix(release.as_str()))
            .any(|rest| self.suffixes.contains(rest))
    }
}

#[cfg(test)]
mod tests;
