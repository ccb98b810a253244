//! Whether packages can be installed together, by what their own headers say (rpm's
//! `rpmtsCheck`, lib/depends.c).
//!
//! The choice is made on a repository's metadata, which nobody signs where `repo_gpgcheck=0`; the
//! headers are signed. This holds the one against the other: whatever metadata claims, what gets
//! installed is a set in which every signed requirement is met.

mod beside;

use std::collections::{HashMap, HashSet};

use super::file::{Statement, relations};
use super::header::{Header, tag};
use super::rich::Conditional;
use super::{Comparison, Dependency, Evr, Relation, Rich, SyntaxError};

/// Features of the package format that rpm 4.15 and later answer to (rpm, lib/rpmds.c,
/// `rpmlibProvides`), with the versions in which they came.
const FEATURES: [(&str, &str, &str); 21] = [
    ("BuiltinLuaScripts", "4.2.2", "1"),
    ("CaretInVersions", "4.15.0", "1"),
    ("CompressedFileNames", "3.0.4", "1"),
    ("ConcurrentAccess", "4.1", "1"),
    ("DynamicBuildRequires", "4.15.0", "1"),
    ("ExplicitPackageProvide", "4.0", "1"),
    ("FileCaps", "4.6.1", "1"),
    ("FileDigests", "4.6.0", "1"),
    ("HeaderLoadSortsTags", "4.0.1", "1"),
    ("LargeFiles", "4.12.0", "1"),
    ("PartialHardlinkSets", "4.0.4", "1"),
    ("PayloadFilesHavePrefix", "4.0", "1"),
    ("PayloadIsBzip2", "3.0.5", "1"),
    ("PayloadIsLzma", "4.4.2", "1"),
    ("PayloadIsXz", "5.2", "1"),
    ("PayloadIsZstd", "5.4.18", "1"),
    ("RichDependencies", "4.12.0", "1"),
    ("ScriptletExpansion", "4.9.0", "1"),
    ("ScriptletInterpreterArgs", "4.0.3", "1"),
    ("TildeInVersions", "4.10.0", "1"),
    ("VersionedDependencies", "3.0.3", "1"),
];

/// Why packages cannot be installed together. Texts are fragments that fit after "failed to".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing answers a requirement.
    #[error("install {package}: it requires {relation}, which nothing among the packages provides")]
    Unmet {
        /// Name, version and architecture of the package.
        package: String,
        /// What it needs.
        relation: Relation,
    },
    /// It needs a feature of rpm that is not known here.
    #[error("install {package}: it requires {feature}, which is a feature of a later rpm")]
    Feature {
        /// Name, version and architecture of the package.
        package: String,
        /// The feature.
        feature: Dependency,
    },
    /// A package cannot be beside another.
    #[error("install {package}: it conflicts with {relation}{}", shown(other.as_deref()))]
    Conflict {
        /// Name, version and architecture of the package.
        package: String,
        /// What it cannot be beside.
        relation: Relation,
        /// The package that this is, where it is one.
        other: Option<String>,
    },
    /// A package takes the place of another.
    #[error("install {package}: it obsoletes {relation}{}", shown(Some(other)))]
    Obsolete {
        /// Name, version and architecture of the package.
        package: String,
        /// What it takes the place of.
        relation: Relation,
        /// The package that this is.
        other: String,
    },
    /// An expression that is none.
    #[error("install {package}")]
    Unreadable {
        /// Name, version and architecture of the package.
        package: String,
        /// Where it goes wrong.
        source: SyntaxError,
    },
}

impl Error {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Feature { .. } => "choose another version of the package".into(),
            _ => "the lock, or the metadata that it was made of, does not say what the packages say: make the lock \
                  anew, and if that does not help, do not use the repository"
                .into(),
        })
    }
}

fn shown(other: Option<&str>) -> String {
    other.map(|other| format!(", which is {other}")).unwrap_or_default()
}

/// Checks a set of packages that is to be installed where there is none: every requirement is met
/// within the set, files by the literal paths of the headers, and none conflicts with or obsoletes
/// another. As with rpm, a package may conflict with what it provides itself, and obsolete earlier
/// versions of itself.
///
/// # Errors
/// The first relation that does not hold.
pub fn check(headers: &[Header]) -> Result<(), Error> {
    check_beside(&[], headers)
}

/// As [`check`], beside packages that are installed already: these answer for what new ones need, and
/// what they say of each other was settled, well or badly, when they were installed.
///
/// # Errors
/// The first relation that does not hold.
pub fn check_beside(installed: &[&Header], new: &[Header]) -> Result<(), Error> {
    let headers: Vec<&Header> = installed.iter().copied().chain(new).collect();
    let mut members: Vec<Member> = installed.iter().map(|header| Member::read_installed(header)).collect();
    for header in new {
        members.push(Member::read(header)?);
    }
    let set = Set::of(&headers, &members);
    beside::check(installed.len(), &members, &set, &headers)?;
    for (at, member) in members.iter().enumerate().skip(installed.len()) {
        let package = || member.said.nevra();
        for feature in &member.features {
            if !is_known(feature) {
                return Err(Error::Feature { package: package(), feature: feature.clone() });
            }
        }
        for (relation, expression) in &member.requires {
            if !set.holds(expression) {
                return Err(Error::Unmet { package: package(), relation: relation.clone() });
            }
        }
        for (relation, expression) in &member.conflicts {
            let other = match expression {
                Rich::Simple(dependency) => match set.answers(dependency).find(|&other| other != at) {
                    Some(other) => members.get(other).map(|other| other.said.nevra()),
                    None => continue,
                },
                rich if set.holds(rich) => None,
                _ => continue,
            };
            return Err(Error::Conflict { package: package(), relation: relation.clone(), other });
        }
        for relation in &member.said.obsoletes {
            let Relation::Simple(dependency) = relation else { continue };
            let named = set.named.get(&*dependency.name).into_iter().flatten();
            let mut others = named.filter(|&&other| other != at).filter_map(|&other| members.get(other));
            if let Some(other) = others.find(|other| dependency.admits(&other.said.evr)) {
                let other = other.said.nevra();
                return Err(Error::Obsolete { package: package(), relation: relation.clone(), other });
            }
        }
    }
    Ok(())
}

/// One package of the set.
struct Member {
    said: Statement,
    features: Vec<Dependency>,
    requires: Vec<(Relation, Rich)>,
    conflicts: Vec<(Relation, Rich)>,
}

impl Member {
    fn read(header: &Header) -> Result<Self, Error> {
        let said = Statement::read(header);
        let expression = |relation: &Relation| match relation {
            Relation::Simple(dependency) => Ok((relation.clone(), Rich::Simple(dependency.clone()))),
            Relation::Rich(text) => Rich::parse(text)
                .map(|rich| (relation.clone(), rich))
                .map_err(|source| Error::Unreadable { package: said.nevra(), source }),
        };
        let features = relations(header, tag::REQUIRENAME, tag::REQUIREVERSION, tag::REQUIREFLAGS);
        let features = features.filter_map(|(relation, _)| match relation {
            Relation::Simple(dependency) if dependency.name.starts_with("rpmlib(") => Some(dependency),
            _ => None,
        });
        Ok(Self {
            features: features.collect(),
            requires: said.requires.iter().map(|needed| expression(&needed.relation)).collect::<Result<_, _>>()?,
            conflicts: said.conflicts.iter().map(expression).collect::<Result<_, _>>()?,
            said,
        })
    }

    /// A package that is installed: an expression in it that cannot be read, and a feature that is not
    /// known, were settled by an rpm that knew them.
    fn read_installed(header: &Header) -> Self {
        let said = Statement::read(header);
        let expression = |relation: &Relation| match relation {
            Relation::Simple(dependency) => Some((relation.clone(), Rich::Simple(dependency.clone()))),
            Relation::Rich(text) => Some((relation.clone(), Rich::parse(text).ok()?)),
        };
        let requires = said.requires.iter().map(|needed| &needed.relation);
        // Of what it needs only what depends on new packages is looked at.
        let rich = requires.filter(|relation| matches!(relation, Relation::Rich(_)));
        Self {
            features: Vec::new(),
            requires: rich.filter_map(expression).collect(),
            conflicts: said.conflicts.iter().filter_map(expression).collect(),
            said,
        }
    }

    /// Every dependency that is looked up.
    fn dependencies(&self) -> impl Iterator<Item = &Dependency> {
        self.requires.iter().chain(&self.conflicts).flat_map(|(_, expression)| expression.dependencies())
    }
}

/// What the packages are called, provide and own; packages by their place.
struct Set<'a> {
    named: HashMap<&'a str, Vec<usize>>,
    provided: HashMap<&'a str, Vec<(usize, &'a Dependency)>>,
    /// Owners of the paths that some dependency names.
    owners: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Set<'a> {
    fn of(headers: &[&Header], members: &'a [Member]) -> Self {
        let mut set = Self { named: HashMap::new(), provided: HashMap::new(), owners: HashMap::new() };
        let mut names: HashSet<&[u8]> = HashSet::new();
        for (at, member) in members.iter().enumerate() {
            set.named.entry(&member.said.name).or_default().push(at);
            for provided in &member.said.provides {
                set.provided.entry(&provided.name).or_default().push((at, provided));
            }
            for path in member.dependencies().map(|dependency| &*dependency.name).filter(|name| name.starts_with('/')) {
                set.owners.entry(path).or_default();
                names.extend(path.rsplit('/').next().map(str::as_bytes));
            }
        }
        for (at, header) in headers.iter().enumerate() {
            let directories: Vec<&[u8]> = header.string_list(tag::DIRNAMES).into_iter().flatten().collect();
            let files = header.string_list(tag::BASENAMES).into_iter().flatten();
            let indexes = header.u32_list(tag::DIRINDEXES).into_iter().flatten();
            // Most names are of no interest, and their paths need not be put together.
            for (name, index) in files.zip(indexes).filter(|(name, _)| names.contains(name)) {
                let Some(directory) = usize::try_from(index).ok().and_then(|index| directories.get(index)) else {
                    continue;
                };
                let path = [*directory, name].concat();
                if let Some(owners) = std::str::from_utf8(&path).ok().and_then(|path| set.owners.get_mut(path)) {
                    owners.push(at);
                }
            }
        }
        set
    }

    /// The packages that a dependency is about.
    fn answers<'s>(&'s self, dependency: &'s Dependency) -> impl Iterator<Item = usize> + 's {
        let owners = self.owners.get(&*dependency.name).into_iter().flatten().copied();
        let provided = self.provided.get(&*dependency.name).into_iter().flatten();
        owners.chain(provided.filter(|(_, provided)| dependency.matches(provided)).map(|(at, _)| *at))
    }

    fn holds(&self, rich: &Rich) -> bool {
        match rich {
            Rich::Simple(dependency) => self.answers(dependency).next().is_some() || is_known(dependency),
            Rich::And(parts) => parts.iter().all(|part| self.holds(part)),
            Rich::Or(parts) => parts.iter().any(|part| self.holds(part)),
            Rich::With(_) | Rich::Without(_) => !self.packages(rich).is_empty(),
            Rich::If(conditional) => {
                let Conditional { then, condition, otherwise } = &**conditional;
                match self.holds(condition) {
                    true => self.holds(then),
                    false => otherwise.as_ref().is_none_or(|otherwise| self.holds(otherwise)),
                }
            }
            Rich::Unless(conditional) => {
                let Conditional { then, condition, otherwise } = &**conditional;
                match self.holds(condition) {
                    true => otherwise.as_ref().is_some_and(|otherwise| self.holds(otherwise)),
                    false => self.holds(then),
                }
            }
        }
    }

    /// The packages of which an expression about one package is true.
    fn packages(&self, rich: &Rich) -> HashSet<usize> {
        match rich {
            Rich::Simple(dependency) => self.answers(dependency).collect(),
            Rich::Or(parts) => parts.iter().flat_map(|part| self.packages(part)).collect(),
            Rich::With(parts) => {
                let mut sets = parts.iter().map(|part| self.packages(part));
                let first = sets.next().unwrap_or_default();
                sets.fold(first, |known, set| known.intersection(&set).copied().collect())
            }
            Rich::Without(pair) => &self.packages(&pair.0) - &self.packages(&pair.1),
            // The parser lets none of these stand within `with` and `without`.
            Rich::And(_) | Rich::If(_) | Rich::Unless(_) => HashSet::new(),
        }
    }
}

/// Whether rpm itself answers a dependency.
fn is_known(dependency: &Dependency) -> bool {
    let Some(name) = dependency.name.strip_prefix("rpmlib(").and_then(|name| name.strip_suffix(')')) else {
        return false;
    };
    FEATURES.iter().filter(|(feature, ..)| *feature == name).any(|(_, version, release)| {
        let evr = Evr { epoch: None, version: (*version).into(), release: Some((*release).into()) };
        dependency.versions.as_ref().is_none_or(|_| {
            dependency.matches(&Dependency { name: dependency.name.clone(), versions: Some((Comparison::Equal, evr)) })
        })
    })
}
