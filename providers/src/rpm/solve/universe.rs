//! The packages that there are, with indexes of what they provide.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::glob;
use crate::rpm::{Dependency, Evr, Package, Relation, Rich};

/// The architecture of packages that fit every machine.
const NOARCH: &str = "noarch";

/// Where packages come from: kept with each, never interpreted but for the priority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositoryRef {
    /// The lock's id of the repository.
    pub id: String,
    /// dnf's priority: packages of the repository with the lowest number are preferred, whatever
    /// their versions. 99 is usual (dnf.conf(5)).
    pub priority: i32,
}

impl RepositoryRef {
    /// A repository of the usual priority.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), priority: 99 }
    }
}

/// One repository's packages, and which of them may be chosen.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where they come from.
    pub repository: RepositoryRef,
    /// The packages, in the order of primary.xml, which decides between equals.
    pub packages: Vec<Package>,
    /// Patterns of packages that are never chosen, as if the repository did not have them
    /// (dnf.conf(5) `excludepkgs`): names, `name.arch`, `name-version-release.arch` and the like.
    pub excluded: Vec<String>,
    /// Where not empty, patterns of the only packages that may be chosen (`includepkgs`).
    pub included: Vec<String>,
    /// Whether the packages are installed already. They stay as they are, whatever their architecture:
    /// no repository has another version of them.
    pub is_installed: bool,
}

impl Source {
    /// All packages of a repository.
    pub fn new(repository: RepositoryRef, packages: Vec<Package>) -> Self {
        Self { repository, packages, excluded: Vec::new(), included: Vec::new(), is_installed: false }
    }

    /// The packages of an image to start from.
    pub fn installed(packages: Vec<Package>) -> Self {
        Self { is_installed: true, ..Self::new(RepositoryRef::new("the base image"), packages) }
    }

    fn offers(&self, package: &Package) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| names(pattern, package));
        (self.included.is_empty() || named(&self.included)) && !named(&self.excluded)
    }
}

/// Whether a pattern names a package in one of the ways that dnf understands.
fn names(pattern: &str, package: &Package) -> bool {
    let Package { name, evr, architecture, .. } = package;
    let fits = |text: &str| glob::matches(pattern, text);
    if fits(name) || fits(&format!("{name}.{architecture}")) {
        return true;
    }
    let release = evr.release.as_deref().unwrap_or_default();
    let versions = [format!("{}-{release}", evr.version), format!("{}:{}-{release}", evr.epoch(), evr.version)];
    versions
        .iter()
        .any(|version| fits(&format!("{name}-{version}")) || fits(&format!("{name}-{version}.{architecture}")))
        || fits(&format!("{name}-{}", evr.version))
}

/// One package of a universe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PackageId(pub(super) u32);

impl PackageId {
    pub(super) fn at(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// One package name of a universe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NameId(pub u32);

impl NameId {
    pub(super) fn at(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[derive(Debug)]
struct Record {
    package: Package,
    source: usize,
    name: NameId,
    is_installed: bool,
}

/// A relation with its expression parsed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Term<'u> {
    Simple(&'u Dependency),
    Rich(&'u Rich),
}

/// All packages of some repositories that fit one architecture.
#[derive(Debug)]
pub struct Universe {
    architecture: String,
    repositories: Vec<RepositoryRef>,
    records: Vec<Record>,
    /// Other versions of what is installed, for people.
    passed_over: Vec<Package>,
    name_ids: HashMap<Box<str>, NameId>,
    by_name: Vec<Vec<PackageId>>,
    /// By capability: the package and the place among its provides.
    provided: HashMap<Box<str>, Vec<(PackageId, usize)>>,
    /// Owners of those paths that some relation names.
    owners: HashMap<Box<str>, Vec<PackageId>>,
    /// Expressions by their text.
    rich: HashMap<Box<str>, Rich>,
    /// What a relation is where its expression cannot be read: a capability that nothing has.
    unreadable: HashMap<Box<str>, Dependency>,
}

impl Universe {
    /// Takes the packages of repositories, in dnf's order of them. Packages of other architectures
    /// than the target's and `noarch` are left out.
    pub fn new(sources: Vec<Source>, architecture: &str) -> Self {
        let mut universe = Self {
            architecture: architecture.to_owned(),
            repositories: Vec::new(),
            records: Vec::new(),
            passed_over: Vec::new(),
            name_ids: HashMap::new(),
            by_name: Vec::new(),
            provided: HashMap::new(),
            owners: HashMap::new(),
            rich: HashMap::new(),
            unreadable: HashMap::new(),
        };
        let installed = sources.iter().filter(|source| source.is_installed).flat_map(|source| &source.packages);
        let installed: HashSet<Box<str>> = installed.map(|package| package.name.clone()).collect();
        for mut source in sources {
            let packages = std::mem::take(&mut source.packages);
            let at = universe.repositories.len();
            for package in packages {
                let fits = &*package.architecture == architecture || &*package.architecture == NOARCH;
                match source.is_installed || (fits && source.offers(&package)) {
                    true if !source.is_installed && installed.contains(&package.name) => {
                        universe.passed_over.push(package);
                    }
                    true => universe.add(package, at, source.is_installed),
                    false => {}
                }
            }
            universe.repositories.push(source.repository);
        }
        universe.index();
        universe
    }

    fn add(&mut self, package: Package, source: usize, is_installed: bool) {
        // More packages than ids: none is added.
        let Ok(id) = u32::try_from(self.records.len()).map(PackageId) else { return };
        let name = match self.name_ids.get(&package.name) {
            Some(&name) => name,
            None => {
                // There are no more names than packages.
                let name = NameId(u32::try_from(self.by_name.len()).unwrap_or(u32::MAX));
                self.name_ids.insert(package.name.clone(), name);
                self.by_name.push(Vec::new());
                name
            }
        };
        if let Some(named) = self.by_name.get_mut(name.at()) {
            named.push(id);
        }
        self.records.push(Record { package, source, name, is_installed });
    }

    fn index(&mut self) {
        let mut paths: BTreeSet<Box<str>> = BTreeSet::new();
        let mut note = |dependency: &Dependency| {
            if dependency.name.starts_with('/') && !paths.contains(&dependency.name) {
                paths.insert(dependency.name.clone());
            }
        };
        for record in &self.records {
            for relation in relations(&record.package) {
                match relation {
                    Relation::Simple(dependency) => note(dependency),
                    Relation::Rich(text) if self.rich.contains_key(text) => {}
                    Relation::Rich(text) => match Rich::parse(text) {
                        Ok(rich) => {
                            rich.dependencies().into_iter().for_each(&mut note);
                            self.rich.insert(text.clone(), rich);
                        }
                        Err(_) => {
                            self.unreadable.insert(text.clone(), Dependency::any(text.clone()));
                        }
                    },
                }
            }
        }
        for (at, record) in self.records.iter().enumerate() {
            let Ok(id) = u32::try_from(at).map(PackageId) else { break };
            for (place, provide) in record.package.provides.iter().enumerate() {
                match self.provided.get_mut(&provide.name) {
                    Some(known) => known.push((id, place)),
                    None => {
                        self.provided.insert(provide.name.clone(), vec![(id, place)]);
                    }
                }
            }
            for path in record.package.files.iter().filter(|path| paths.contains(*path)) {
                self.owners.entry(path.clone()).or_default().push(id);
            }
        }
    }

    /// The target's architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Number of packages.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no repository has a package.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Every package, in the order in which they were given.
    pub fn ids(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..u32::try_from(self.records.len()).unwrap_or(u32::MAX)).map(PackageId)
    }

    /// What the repository says of a package.
    pub fn package(&self, id: PackageId) -> &Package {
        &self.records[id.at()].package
    }

    /// The package's name.
    pub fn name(&self, id: PackageId) -> &str {
        &self.package(id).name
    }

    /// The package's version.
    pub fn evr(&self, id: PackageId) -> &Evr {
        &self.package(id).evr
    }

    /// Whether the package is installed already.
    pub fn is_installed(&self, id: PackageId) -> bool {
        self.records[id.at()].is_installed
    }

    /// The packages that are installed already.
    pub(super) fn installed(&self) -> impl Iterator<Item = PackageId> {
        self.ids().filter(|&id| self.is_installed(id))
    }

    /// The package's version, and where it is where that is no repository, for people.
    pub(super) fn shown_version(&self, id: PackageId) -> String {
        let of = if self.is_installed(id) { " of the base image" } else { "" };
        format!("{}{of}", self.evr(id))
    }

    /// Where the package comes from.
    pub fn repository(&self, id: PackageId) -> &RepositoryRef {
        &self.repositories[self.records[id.at()].source]
    }

    /// All packages of a name, in the order in which they were given.
    pub fn packages_named(&self, name: &str) -> &[PackageId] {
        self.name_ids.get(name).map_or(&[], |&name| self.named(name))
    }

    /// The best package of a name: of the repository with the lowest priority, the newest.
    pub fn candidate(&self, name: &str) -> Option<PackageId> {
        let better = |&&a: &&PackageId, &&b: &&PackageId| {
            let priorities = self.repository(b).priority.cmp(&self.repository(a).priority);
            // Of equals the first.
            priorities.then_with(|| self.evr(a).compare(self.evr(b))).then(b.cmp(&a))
        };
        self.packages_named(name).iter().max_by(better).copied()
    }

    /// Every name that packages have, in no order.
    pub fn package_names(&self) -> impl Iterator<Item = &str> {
        self.name_ids.keys().map(|name| &**name)
    }

    pub(super) fn named(&self, name: NameId) -> &[PackageId] {
        self.by_name.get(name.at()).map_or(&[], Vec::as_slice)
    }

    pub(super) fn name_of(&self, id: PackageId) -> NameId {
        self.records[id.at()].name
    }

    pub(super) fn name_count(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn term<'u>(&'u self, relation: &'u Relation) -> Term<'u> {
        match relation {
            Relation::Simple(dependency) => Term::Simple(dependency),
            Relation::Rich(text) => match (self.rich.get(text), self.unreadable.get(text)) {
                (Some(rich), _) => Term::Rich(rich),
                (None, Some(dependency)) => Term::Simple(dependency),
                // Every relation of the universe was indexed; a foreign one asks for what nothing has.
                (None, None) => Term::Rich(const { &Rich::Or(Vec::new()) }),
            },
        }
    }

    /// All packages that answer a dependency, in the order in which they were given.
    pub(super) fn satisfiers(&self, dependency: &Dependency) -> Vec<PackageId> {
        let mut found: Vec<PackageId> = Vec::new();
        // Every package provides itself, said or not.
        found.extend(self.packages_named(&dependency.name).iter().filter(|&&id| dependency.admits(self.evr(id))));
        for &(id, place) in self.provided.get(&dependency.name).into_iter().flatten() {
            if self.package(id).provides.get(place).is_some_and(|provide| dependency.matches(provide)) {
                found.push(id);
            }
        }
        found.extend(self.owners.get(&dependency.name).into_iter().flatten());
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The packages that would answer a dependency if no other version of them were installed.
    pub(super) fn passed_over(&self, dependency: &Dependency) -> impl Iterator<Item = &Package> {
        self.passed_over.iter().filter(|package| {
            package.provides.iter().any(|provide| dependency.matches(provide))
                || package.files.contains(&dependency.name)
        })
    }

    /// All packages that one of the Obsoletes of another names.
    pub(super) fn obsoleted_by(&self, id: PackageId) -> impl Iterator<Item = (&Dependency, PackageId)> {
        self.package(id).obsoletes.iter().flat_map(move |obsolete| {
            let named = self.packages_named(&obsolete.name).iter();
            named
                .filter(move |&&other| other != id && obsolete.admits(self.evr(other)))
                .map(move |&other| (obsolete, other))
        })
    }

    /// Capabilities that something provides, for patterns.
    pub(super) fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.provided.keys().map(|name| &**name)
    }
}

/// Everything that a package says of others, but for Obsoletes, which names packages only.
pub(super) fn relations(package: &Package) -> impl Iterator<Item = &Relation> {
    let requires = package.requires.iter().map(|requirement| &requirement.relation);
    requires
        .chain(&package.conflicts)
        .chain(&package.recommends)
        .chain(&package.suggests)
        .chain(&package.supplements)
        .chain(&package.enhances)
}

/// Whether rpm itself answers a capability: features of the format (rpmlib(…)), which every rpm of
/// the distribution's release has.
pub(super) fn is_rpms_own(dependency: &Dependency) -> bool {
    dependency.name.starts_with("rpmlib(")
}
