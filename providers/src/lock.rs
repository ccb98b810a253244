//! The lock: what a spec resolved to, exactly, in a file that people can read and compare.
//!
//! JSON with a fixed order of fields and one block per package, so that a line-by-line comparison
//! of two locks says what changed. Repositories are named by id and canonical URL; the mirror
//! that served the bytes is in the build report, never here, so that two machines with different
//! mirrors write the same lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use layers::Sha256;
use serde::{Deserialize, Serialize};

use crate::distro::Architecture;
use crate::repository::RepositoryId;

/// The version of the file format that this program writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// The largest lock read, in bytes: about 20 times one of 2,000 packages.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The largest number of packages in one lock: more than Debian has in all its components.
const MAX_PACKAGES: usize = 100_000;

/// What one spec resolved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`FORMAT`].
    pub format: u32,
    /// The provider, such as `debian`.
    pub os: String,
    /// Its release, such as `13`.
    pub os_version: String,
    /// The target, in the family's own spelling.
    pub architecture: Architecture,
    /// Seconds since 1970-01-01 UTC: the date of the newest release used, or of the image that it starts
    /// from if that is newer. Times in the image that are not a package's own are this one.
    pub epoch: i64,
    /// What was asked for, so that a locked build can tell whether spec and lock still agree.
    pub request: Request,
    /// The image that it starts from; none when it starts from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<LockedBase>,
    /// The releases that the packages were chosen from.
    pub repositories: Vec<LockedRepository>,
    /// The packages, in the order in which they are configured; those of the base are not among them.
    pub packages: Vec<LockedPackage>,
}

/// The image that another one starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// Digest of its manifest, which covers its configuration and its layers.
    pub manifest: Sha256,
    /// The packages that it has, sorted.
    pub packages: Vec<BasePackage>,
}

/// A package of the image that another one starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePackage {
    /// The package's name.
    pub name: String,
    /// Its full version, in the family's own spelling.
    pub version: String,
    /// The package's own architecture, such as `amd64` or `all`.
    pub architecture: String,
}

/// The part of a spec that decides which packages are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The kind of base, such as `minimal`.
    pub variant: String,
    /// The image to start from, as the spec has it; none for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The boot loader asked for; none for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootloader: Option<String>,
    /// Whether it must start from live media.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// The kernel package asked for; none when the image has no kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What the version of the kernel package has to begin with; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// Whether recommended packages are taken too.
    pub recommends: bool,
    /// Packages that must be in the image.
    pub install: BTreeSet<String>,
    /// Packages that must not be in the image.
    pub remove: BTreeSet<String>,
    /// Where packages may come from: id and canonical description (URL, suites, components).
    pub repositories: BTreeMap<RepositoryId, String>,
}

/// One verified release of one repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    /// The name used by [`LockedPackage::repository`].
    pub id: RepositoryId,
    /// The canonical URL, without a trailing slash and without credentials.
    pub url: String,
    /// The suite; `./` and the like for a flat repository.
    pub suite: String,
    /// The component; empty for a flat repository.
    pub component: String,
    /// Digest of the signed release text.
    pub release_sha256: Sha256,
    /// The release's date, seconds since 1970-01-01 UTC.
    pub date: i64,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// The package's name.
    pub name: String,
    /// Its full version, in the family's own spelling.
    pub version: String,
    /// The package's own architecture, such as `amd64` or `all`.
    pub architecture: String,
    /// Digest of the package file, as the signed index states it.
    pub sha256: Sha256,
    /// Size of the package file in bytes.
    pub size: u64,
    /// Which of [`Lock::repositories`] it comes from.
    pub repository: RepositoryId,
    /// Path of the package file relative to the repository's URL.
    pub path: String,
    /// Which cut point of the configure order it belongs to.
    pub group: Group,
    /// Whether it is in the image only because something else wants it.
    pub automatic: bool,
    /// Why it is in the image.
    pub why: Why,
}

/// The cut points of the configure order, in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Essential packages and what they need.
    Essential,
    /// The provider's base set.
    Base,
    /// The kernel and what only it needs.
    Kernel,
    /// What the provider installs besides by default; of the rpm family only.
    Defaults,
    /// Everything else.
    Rest,
}

impl Group {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Essential, Self::Base, Self::Kernel, Self::Defaults, Self::Rest];
}

/// The reason for which a package was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Why {
    /// Every system of this distribution has it.
    Essential,
    /// The spec names it.
    Requested,
    /// The provider's default set names it.
    Default,
    /// Another package needs it.
    Dependency {
        /// The package that needs it.
        of: String,
        /// The relation that it satisfies, as written.
        relation: String,
    },
    /// Another package recommends it.
    Recommended {
        /// The package that recommends it.
        by: String,
    },
    /// It says itself that it belongs beside another package (rpm's Supplements).
    Supplements {
        /// The package that it belongs beside.
        of: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Essential => f.write_str("every system has it"),
            Self::Requested => f.write_str("the spec asks for it"),
            Self::Default => f.write_str("the default packages include it"),
            Self::Dependency { of, relation } => write!(f, "{of} depends on {relation}"),
            Self::Recommended { by } => write!(f, "{by} recommends it"),
            Self::Supplements { of } => write!(f, "it supplements {of}"),
        }
    }
}

/// One way in which a spec and a lock disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The part of the spec.
    pub what: String,
    /// What the lock has.
    pub locked: String,
    /// What the spec has.
    pub asked: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the lock has {}, the spec has {}", self.what, self.locked, self.asked)
    }
}

/// A lock that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Larger than any lock this program writes.
    #[error("read the lock: it has {size} bytes, more than the {MAX_BYTES} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not JSON, or not of the right shape.
    #[error("read the lock")]
    Syntax(#[source] serde_json::Error),
    /// Written by another version of the program.
    #[error("read the lock: it has format {found}, this program reads format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
    /// Well-formed, but not something this program would write.
    #[error("read the lock: {0}")]
    Content(String),
    /// Spec and lock ask for different things.
    #[error("use the lock: {}", join(.0))]
    Disagrees(Vec<Disagreement>),
}

fn join(list: &[Disagreement]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("write a new lock with `image-composer lock SPEC`".into())
    }
}

impl Lock {
    /// Reads and checks a lock.
    ///
    /// # Errors
    /// See [`Error`]; unknown fields, unsafe paths, duplicates and dangling references are refused.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { size: bytes.len() });
        }
        // The format first: a lock of the future should be called that, not a syntax error.
        let probe: Probe = serde_json::from_slice(bytes).map_err(Error::Syntax)?;
        if probe.format != FORMAT {
            return Err(Error::Format { found: probe.format });
        }
        let lock: Self = serde_json::from_slice(bytes).map_err(Error::Syntax)?;
        lock.check()?;
        Ok(lock)
    }

    /// The lock as text, ending in a newline. Equal locks give equal text.
    ///
    /// # Errors
    /// The contents are not what [`Lock::read`] would accept.
    pub fn write(&self) -> Result<String, Error> {
        self.check()?;
        let mut text = serde_json::to_string_pretty(self).map_err(Error::Syntax)?;
        text.push('\n');
        Ok(text)
    }

    /// In which ways this lock was made for something else; empty when it fits.
    pub fn disagreements(
        &self,
        os: &str,
        os_version: &str,
        architecture: &Architecture,
        request: &Request,
    ) -> Vec<Disagreement> {
        let mut found = Vec::new();
        let mut note = |what: &str, locked: String, asked: String| {
            if locked != asked {
                found.push(Disagreement { what: what.into(), locked, asked });
            }
        };
        let kernel = |kernel: &Option<String>| kernel.clone().unwrap_or_else(|| "none".into());
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "any".into());
        note("image.base.os", self.os.clone(), os.into());
        note("image.base.version", self.os_version.clone(), os_version.into());
        note("architecture", self.architecture.to_string(), architecture.to_string());
        note("image.base.type", self.request.variant.clone(), request.variant.clone());
        note("image.base.from", kernel(&self.request.from), kernel(&request.from));
        note("live media", self.request.live.to_string(), request.live.to_string());
        note("kernel", kernel(&self.request.kernel), kernel(&request.kernel));
        note("bootloader", version(&self.request.bootloader), version(&request.bootloader));
        note("kernel.version", version(&self.request.kernel_version), version(&request.kernel_version));
        note("recommends", self.request.recommends.to_string(), request.recommends.to_string());
        for (what, locked, asked) in [
            ("packages to install", &self.request.install, &request.install),
            ("packages to remove", &self.request.remove, &request.remove),
        ] {
            for name in locked.symmetric_difference(asked) {
                let side = |has: bool| if has { name.clone() } else { format!("no {name}") };
                note(what, side(locked.contains(name)), side(asked.contains(name)));
            }
        }
        let ids: BTreeSet<_> = self.request.repositories.keys().chain(request.repositories.keys()).collect();
        for id in ids {
            let side = |map: &BTreeMap<RepositoryId, String>| map.get(id).cloned().unwrap_or_else(|| "nothing".into());
            let what = format!("repository {id}");
            note(&what, side(&self.request.repositories), side(&request.repositories));
        }
        found
    }

    /// As [`Lock::disagreements`], as an error.
    ///
    /// # Errors
    /// [`Error::Disagrees`] when the lock was made for something else.
    pub fn agree(
        &self,
        os: &str,
        os_version: &str,
        architecture: &Architecture,
        request: &Request,
    ) -> Result<(), Error> {
        let found = self.disagreements(os, os_version, architecture, request);
        if found.is_empty() { Ok(()) } else { Err(Error::Disagrees(found)) }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |sentence: String| Err(Error::Content(sentence));
        if self.packages.len() > MAX_PACKAGES {
            return refuse(format!("it has {} packages, more than the {MAX_PACKAGES} allowed", self.packages.len()));
        }
        if self.base.is_some() != self.request.from.is_some() {
            return refuse("it has an image to start from, or names one, and not both".into());
        }
        let base = self.base.iter().flat_map(|base| &base.packages);
        if base.clone().count() > MAX_PACKAGES {
            return refuse(format!("its base has more than the {MAX_PACKAGES} packages allowed"));
        }
        for BasePackage { name, version, architecture } in base {
            if !is_word(name) || !is_word(architecture) || !is_version(version) {
                return refuse(format!("{name:?} {version:?} {architecture:?} is no name, version and architecture"));
            }
        }
        let known: BTreeSet<&RepositoryId> = self.repositories.iter().map(|r| &r.id).collect();
        let mut seen = BTreeSet::new();
        let mut last = Group::Essential;
        for package in &self.packages {
            let name = &package.name;
            if !is_word(name) || !is_word(&package.architecture) || !is_version(&package.version) {
                return refuse(format!(
                    "{name:?} {:?} {:?} is no name, version and architecture",
                    package.version, package.architecture
                ));
            }
            if !known.contains(&package.repository) {
                let id = &package.repository;
                return refuse(format!("{name} comes from {id}, which is not in the lock"));
            }
            if !is_relative_path(&package.path) {
                return refuse(format!("{name} has the unsafe path {:?}", package.path));
            }
            if !seen.insert((name, &package.architecture)) {
                return refuse(format!("{name} is listed twice"));
            }
            if package.group < last {
                return refuse(format!("{name} stands behind a later group"));
            }
            last = package.group;
        }
        Ok(())
    }
}

/// Names and architectures (Debian policy 5.6.1, and what rpm adds): they become file names.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Versions (Debian policy 5.6.12; rpm adds `^`).
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~:^".contains(&b))
}

/// Whether a path stays below the place it is relative to, under any reading of it.
pub(crate) fn is_relative_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 4096
        && !path.starts_with('/')
        && !path.contains(['\\', '\0', '\n', '?', '#'])
        && !path.bytes().any(|b| b < 0x20)
        && path.split('/').all(|part| part != ".." && !part.is_empty())
}

#[cfg(test)]
mod tests;
