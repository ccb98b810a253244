//! Names, versions and dependencies of Debian's packages in rpm's words.

use std::collections::BTreeSet;

use super::changes::CHANGES;
use super::spec::SUFFIX;

/// Epoch, version and release of a package.
pub fn evr(version: &str) -> (Option<u32>, String, String) {
    let (epoch, rest) = split_epoch(version);
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version.replace('-', "."), release.to_owned()),
        None => (epoch, rest.to_owned(), "1".to_owned()),
    }
}

fn split_epoch(version: &str) -> (Option<u32>, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (Some(epoch.parse().unwrap()), rest),
        None => (None, version),
    }
}

/// What the distribution calls one of Debian's packages, and whether it has its version.
pub fn renamed(name: &str) -> (String, bool) {
    if is_kernel(name) {
        return ("kernel".to_owned(), true);
    }
    let found = CHANGES.iter().find(|change| change.debs.contains(&name));
    match found {
        Some(change) => (change.name.to_owned(), change.debs[0] == name),
        None => (name.to_owned(), true),
    }
}

/// Whether this is the kernel itself, not a package that only depends on it.
pub fn is_kernel(name: &str) -> bool {
    name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// All names that something can depend on.
#[derive(Default)]
pub struct Names {
    pub packages: BTreeSet<String>,
    /// What packages provide besides themselves.
    pub provided: BTreeSet<String>,
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.packages.contains(name) || self.provided.contains(name)
    }

    /// A field of relations as lines of a spec. What nothing in the distribution has is left out,
    /// and so is what a package of several asks of itself.
    pub fn lines(&self, tag: &str, field: &str, me: &str) -> Vec<String> {
        let groups = field.split(',').map(str::trim).filter(|group| !group.is_empty());
        let lines = groups.filter_map(|group| {
            let mut known: Vec<String> = Vec::new();
            for alternative in group.split('|') {
                let (name, relation) = self.relation(alternative.trim());
                if name == me {
                    return None;
                }
                if self.has(&name) && !known.contains(&relation) {
                    known.push(relation);
                }
            }
            match known.len() {
                0 => None,
                1 => Some(format!("{tag}: {}", known[0])),
                _ => Some(format!("{tag}: ({})", known.join(" or "))),
            }
        });
        lines.collect()
    }

    /// Conflicts and the like, where they say a version: without one, Debian's mean that a package
    /// has the files of another. In Debian a version never matches a name that is provided without
    /// one; for rpm each does, so that such names are left out.
    pub fn versioned(&self, tag: &str, field: &str, me: &str) -> Vec<String> {
        let mut lines = self.lines(tag, field, me);
        lines.retain(|line| {
            let name = line.split(' ').nth(1).unwrap_or_default();
            line.contains(['<', '>', '=']) && !line.contains('(') && self.packages.contains(name)
        });
        lines
    }

    /// A relation's name, and all of it in rpm's words.
    fn relation(&self, text: &str) -> (String, String) {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let name = name.split(':').next().unwrap();
        let (name, has_version) = renamed(name);
        let inner = rest.trim().trim_start_matches('(').split(')').next().unwrap_or("");
        let Some((operator, version)) = inner.split_once(' ').filter(|_| has_version) else {
            return (name.clone(), name);
        };
        let operator = match operator {
            "<<" => "<",
            ">>" => ">",
            other => other,
        };
        // What is compared with equality has to have our suffix.
        let suffix = if version.contains('-') && matches!(operator, "=" | "<=" | ">") { SUFFIX } else { "" };
        let (epoch, rest) = split_epoch(version);
        let epoch = epoch.map_or(String::new(), |epoch| format!("{epoch}:"));
        let version = match rest.rsplit_once('-') {
            Some((version, release)) => format!("{}-{release}", version.replace('-', ".")),
            None => rest.to_owned(),
        };
        (name.clone(), format!("{name} {operator} {epoch}{version}{suffix}"))
    }
}

/// What a package provides besides itself.
pub fn provides(field: &str) -> Vec<String> {
    let names = Names { provided: provided(field).collect(), ..Names::default() };
    names.lines("Provides", field, "")
}

/// Names of what a field provides.
pub fn provided(field: &str) -> impl Iterator<Item = String> {
    field
        .split(',')
        .filter_map(|one| one.trim().split([' ', ':']).next().map(str::to_owned))
        .filter(|name| !name.is_empty())
}
