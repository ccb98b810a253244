//! modules.yaml: streams of modules, of which a system has one each, and the default ones
//! (modulemd v2, as Fedora's modulemd-spec describes it). Packages of all streams lie in one
//! primary.xml: those of streams that are not active must not be chosen.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;

use super::Error;
use crate::rpm::Package;

/// The largest number of documents in one file: RHEL 8 has about two thousand.
const MAX_DOCUMENTS: usize = 50_000;

const DOCUMENT: &str = "modules.yaml";

/// A stream of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The module, such as `nodejs`.
    pub module: String,
    /// The stream, such as `22`.
    pub stream: String,
    /// Its packages, as `name-epoch:version-release.architecture`.
    pub artifacts: BTreeSet<String>,
}

/// The modules of a repository, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modules {
    /// The streams.
    pub streams: Vec<Stream>,
    /// Per module, its default stream, where it has one.
    pub defaults: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Head {
    document: String,
    version: u64,
}

#[derive(Deserialize)]
struct StreamDocument {
    data: StreamData,
}

#[derive(Deserialize)]
struct StreamData {
    name: String,
    stream: String,
    #[serde(default)]
    artifacts: Artifacts,
}

#[derive(Deserialize, Default)]
struct Artifacts {
    #[serde(default)]
    rpms: Vec<String>,
}

#[derive(Deserialize)]
struct DefaultsDocument {
    data: DefaultsData,
}

#[derive(Deserialize)]
struct DefaultsData {
    module: String,
    #[serde(default)]
    stream: Option<String>,
}

impl Modules {
    /// Reads modules.yaml.
    ///
    /// # Errors
    /// Not YAML, or a document of a kind or version that this program does not know: what it hides
    /// would be chosen.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut modules = Self::default();
        for (number, document) in documents(text).enumerate() {
            let wrong = |sentence: String| Error {
                document: DOCUMENT,
                at: None,
                sentence: format!("in its document {}, {sentence}", number.saturating_add(1)),
            };
            if number >= MAX_DOCUMENTS {
                return Err(wrong(format!("which is more than the {MAX_DOCUMENTS} allowed")));
            }
            let bad = |error: serde_saphyr::Error| wrong(error.to_string());
            let head: Head = serde_saphyr::from_str(document).map_err(bad)?;
            match (head.document.as_str(), head.version) {
                ("modulemd", 2) => {
                    let StreamDocument { data } = serde_saphyr::from_str(document).map_err(bad)?;
                    modules.streams.push(Stream {
                        module: data.name,
                        stream: data.stream,
                        artifacts: data.artifacts.rpms.into_iter().collect(),
                    });
                }
                ("modulemd-defaults", 1) => {
                    let DefaultsDocument { data } = serde_saphyr::from_str(document).map_err(bad)?;
                    if let Some(stream) = data.stream {
                        modules.defaults.insert(data.module, stream);
                    }
                }
                // They say nothing about which packages there are.
                ("modulemd-obsoletes" | "modulemd-translations", _) => {}
                (kind, version) => {
                    let kind: String = kind.chars().take(40).collect();
                    return Err(wrong(format!("it is '{kind}' of version {version}, which is not known")));
                }
            }
        }
        Ok(modules)
    }

    /// Adds the modules of another repository; a default that is known already stays.
    pub fn merge(&mut self, other: Self) {
        self.streams.extend(other.streams);
        for (module, stream) in other.defaults {
            self.defaults.entry(module).or_insert(stream);
        }
    }

    /// What hides packages when the default streams are active, and, in place of its module's
    /// default, each stream in `enabled` (module, stream).
    pub fn filter(&self, enabled: &BTreeMap<String, String>) -> Filter {
        let active = |stream: &Stream| {
            let wanted = enabled.get(&stream.module).or_else(|| self.defaults.get(&stream.module));
            wanted == Some(&stream.stream)
        };
        let mut filter = Filter::default();
        for stream in &self.streams {
            let artifacts = stream.artifacts.iter().cloned();
            if active(stream) {
                filter.names.extend(stream.artifacts.iter().filter_map(|text| artifact_name(text)).map(str::to_owned));
                filter.active.extend(artifacts);
            } else {
                filter.inactive.extend(artifacts);
            }
        }
        filter
    }
}

/// Which packages modules hide.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Packages of active streams.
    active: HashSet<String>,
    /// Their names.
    names: HashSet<String>,
    /// Packages of all other streams.
    inactive: HashSet<String>,
}

impl Filter {
    /// Whether a package must not be chosen: it belongs to streams of which none is active, or to
    /// no stream, and an active one has a package of its name.
    pub fn hides(&self, package: &Package) -> bool {
        if self.active.is_empty() && self.inactive.is_empty() {
            return false;
        }
        let id = artifact(package);
        !self.active.contains(&id) && (self.inactive.contains(&id) || self.names.contains(&*package.name))
    }
}

/// A package as modules name it.
fn artifact(package: &Package) -> String {
    let evr = &package.evr;
    format!(
        "{}-{}:{}-{}.{}",
        package.name,
        evr.epoch.unwrap_or_default(),
        evr.version,
        evr.release.as_deref().unwrap_or_default(),
        package.architecture
    )
}

/// The name in `name-epoch:version-release.architecture`; none for packages of sources.
fn artifact_name(text: &str) -> Option<&str> {
    let (rest, architecture) = text.rsplit_once('.')?;
    if matches!(architecture, "src" | "nosrc") {
        return None;
    }
    let (rest, _release) = rest.rsplit_once('-')?;
    rest.rsplit_once('-').map(|(name, _version)| name)
}

/// The documents of a YAML stream. Their marks stand at the beginning of a line, where no scalar
/// can stand (YAML 1.2, section 9.1.2).
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let end = marks(text).next();
            let document = match end {
                Some((from, to)) => {
                    rest = text.get(to..);
                    text.get(..from).unwrap_or_default()
                }
                None => {
                    rest = None;
                    text
                }
            };
            let empty = |line: &str| line.trim().is_empty() || line.starts_with(['#', '%']);
            if !document.lines().all(empty) {
                return Some(document);
            }
        }
    })
}

/// Where lines with marks of documents begin and end.
fn marks(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0usize;
    text.split_inclusive('\n').filter_map(move |line| {
        let from = at;
        at = at.saturating_add(line.len());
        matches!(line.trim_end(), "---" | "...").then_some((from, at))
    })
}
