//! The packages that there are: indexes kept as text, with what choosing needs beside them.

use std::collections::HashMap;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::deb::Error;
use crate::deb::control::{MultiArch, Package, Stanza, stanzas};
use crate::deb::relation::{self, Alternative};
use crate::deb::version;

/// Where an index comes from: kept with each package, never interpreted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositoryRef {
    /// The lock's id of the repository.
    pub id: String,
    /// apt's pin priority: the version from the index of the highest priority is the candidate,
    /// whatever its number. 500 is usual (apt_preferences(5)).
    pub priority: i32,
}

impl RepositoryRef {
    /// A repository of the usual priority.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), priority: 500 }
    }
}

/// One `Packages` file, decompressed.
#[derive(Clone, Debug)]
pub struct Index {
    /// Where it comes from.
    pub repository: RepositoryRef,
    /// Its text.
    pub text: Vec<u8>,
}

/// What the universe leaves out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names of packages that are never chosen, as if no index had them.
    pub excluded: Vec<String>,
    /// The stanzas of packages that are installed already. They stay as they are: indexes have no
    /// other versions of them.
    pub installed: Vec<u8>,
}

/// One package of a universe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PackageId(pub(super) u32);

/// One name of a universe: of packages, or only provided by some.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NameId(pub u32);

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        &text[start..start + self.length as usize]
    }
}

/// Priorities of policy 2.5 in apt's order; unknown ones count as the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

#[derive(Clone, Debug)]
struct Record {
    index: u16,
    stanza: Span,
    version: Span,
    name: NameId,
    multi_arch: MultiArch,
    essential: bool,
    important: bool,
    priority: Priority,
}

#[derive(Clone, Copy, Debug)]
struct Provide {
    package: PackageId,
    version: Option<Span>,
}

#[derive(Debug)]
struct Text {
    repository: RepositoryRef,
    text: String,
}

/// All packages of some indexes, for one architecture.
#[derive(Debug)]
pub struct Universe {
    architecture: String,
    texts: Vec<Text>,
    records: Vec<Record>,
    /// How many of them are installed already; they come first.
    installed: usize,
    name_ids: HashMap<Box<str>, NameId>,
    names: Vec<Box<str>>,
    /// Packages by name, the one that apt would install first.
    by_name: Vec<Vec<PackageId>>,
    provided: Vec<Vec<Provide>>,
    /// Ranks of names, made when a choice hangs on them.
    ranks: OnceLock<Vec<u32>>,
}

impl Universe {
    /// Reads indexes, in apt's order of them.
    ///
    /// # Errors
    /// [`Error::Control`] with the repository's id and the line.
    pub fn from_indexes(indexes: Vec<Index>, architecture: &str, options: &Options) -> Result<Self, Error> {
        let mut universe = Self {
            architecture: architecture.to_owned(),
            texts: Vec::new(),
            records: Vec::new(),
            installed: 0,
            name_ids: HashMap::new(),
            names: Vec::new(),
            by_name: Vec::new(),
            provided: Vec::new(),
            ranks: OnceLock::new(),
        };
        if !options.installed.is_empty() {
            universe.add(RepositoryRef::new("the base image"), options.installed.clone(), &Options::default())?;
            universe.installed = universe.records.len();
        }
        for Index { repository, text } in indexes {
            universe.add(repository, text, options)?;
        }
        universe.sort();
        Ok(universe)
    }

    fn add(&mut self, repository: RepositoryRef, text: Vec<u8>, options: &Options) -> Result<(), Error> {
        let what = format!("package index of {}", repository.id);
        let refuse = |line, reason: &str| Error::Control { what: what.clone(), line, reason: reason.into() };
        let too_large = u32::try_from(text.len()).is_err() || self.texts.len() >= usize::from(u16::MAX);
        if too_large {
            return Err(refuse(1, "it has more than 4 GiB, or there are too many indexes"));
        }
        let text = String::from_utf8(text).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            refuse(1 + good.iter().filter(|&&byte| byte == b'\n').count(), "it is not UTF-8")
        })?;
        let index = self.texts.len() as u16;
        // Slices of the text become offsets, which fit since the text does.
        let span = |part: &str| Span {
            start: (part.as_ptr() as usize - text.as_ptr() as usize) as u32,
            length: part.len() as u32,
        };
        // Splitting is cheap; reading the fields is what takes time.
        let stanzas: Vec<Stanza<'_>> = stanzas(text.as_bytes(), &what)?.collect();
        let packages: Vec<_> = stanzas.par_iter().map(|stanza| Package::read(*stanza, &what)).collect();
        for (stanza, package) in stanzas.into_iter().zip(packages) {
            let package = package.map_err(|error| match error {
                Error::Control { what, reason, .. } => {
                    let line = 1 + text[..span(stanza.as_str()).start as usize].matches('\n').count();
                    Error::Control { what, line, reason }
                }
                other => other,
            })?;
            if package.architecture != "all" && package.architecture != self.architecture {
                continue;
            }
            if options.excluded.iter().any(|name| name == package.name) {
                continue;
            }
            let name = self.intern(package.name);
            if self.is_installed_name(name) {
                continue;
            }
            let record = Record {
                index,
                stanza: span(stanza.as_str()),
                version: span(package.version),
                name,
                multi_arch: package.multi_arch,
                essential: package.essential,
                important: package.protected,
                priority: priority(package.priority),
            };
            let id = PackageId(self.records.len() as u32);
            // One version in two indexes is one package, and the first index has it.
            let same = |&earlier: &PackageId| {
                let record = self.record(earlier);
                let text = if record.index == index { &text } else { &self.texts[usize::from(record.index)].text };
                record.version.of(text) == package.version
            };
            if self.by_name[name.0 as usize].iter().any(same) {
                continue;
            }
            for provide in relation::parse_single(package.provides, &self.architecture)? {
                // Only an exact version can be provided (policy 7.5); apt passes others over.
                let version = match provide.bound {
                    Some(bound) if bound.operator == relation::Operator::Equal => Some(span(bound.version)),
                    Some(_) => continue,
                    None => None,
                };
                let target = self.intern(provide.name);
                self.provided[target.0 as usize].push(Provide { package: id, version });
            }
            self.records.push(record);
            self.by_name[name.0 as usize].push(id);
        }
        self.texts.push(Text { repository, text });
        Ok(())
    }

    fn intern(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.name_ids.get(name) {
            return id;
        }
        let id = NameId(self.names.len() as u32);
        self.names.push(name.into());
        self.name_ids.insert(name.into(), id);
        self.by_name.push(Vec::new());
        self.provided.push(Vec::new());
        id
    }

    fn sort(&mut self) {
        let mut by_name = std::mem::take(&mut self.by_name);
        for packages in by_name.iter_mut().filter(|packages| packages.len() > 1) {
            packages.sort_by(|&a, &b| {
                let pins = self.repository(b).priority.cmp(&self.repository(a).priority);
                pins.then_with(|| version::compare(self.version(b), self.version(a))).then(a.cmp(&b))
            });
        }
        self.by_name = by_name;
    }

    /// The target's architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Number of packages.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no index has a package.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The best package of a name, the one that apt would install.
    pub fn candidate(&self, name: &str) -> Option<PackageId> {
        self.packages_named(name).first().copied()
    }

    /// All packages of a name, the best first.
    pub fn packages_named(&self, name: &str) -> &[PackageId] {
        self.name_ids.get(name).map_or(&[], |name| &self.by_name[name.0 as usize])
    }

    /// Every name that packages have, in no order.
    pub fn package_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().zip(&self.by_name).filter(|(_, packages)| !packages.is_empty()).map(|(name, _)| &**name)
    }

    /// What the index says of a package.
    ///
    /// # Errors
    /// Never for a universe's own packages: they were read before.
    pub fn package(&self, id: PackageId) -> Result<Package<'_>, Error> {
        let record = self.record(id);
        Package::read(Stanza::known(self.slice(record, record.stanza)), "package index")
    }

    /// Whether a package is installed already.
    pub fn is_installed(&self, id: PackageId) -> bool {
        (id.0 as usize) < self.installed
    }

    /// The packages that are installed already.
    pub(super) fn installed(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..self.installed as u32).map(PackageId)
    }

    pub(super) fn is_installed_name(&self, name: NameId) -> bool {
        self.named(name).first().is_some_and(|&id| self.is_installed(id))
    }

    /// The package's version, for people.
    pub(super) fn version_told(&self, id: PackageId) -> String {
        let of = if self.is_installed(id) { " of the base image" } else { "" };
        format!("{}{of}", self.version(id))
    }

    /// The package's name.
    pub fn name(&self, id: PackageId) -> &str {
        self.name_text(self.record(id).name)
    }

    /// The package's version.
    pub fn version(&self, id: PackageId) -> &str {
        let record = self.record(id);
        self.slice(record, record.version)
    }

    /// Where the package comes from.
    pub fn repository(&self, id: PackageId) -> &RepositoryRef {
        &self.texts[usize::from(self.record(id).index)].repository
    }

    fn record(&self, id: PackageId) -> &Record {
        &self.records[id.0 as usize]
    }

    fn slice(&self, record: &Record, span: Span) -> &str {
        span.of(&self.texts[usize::from(record.index)].text)
    }

    pub(super) fn name_text(&self, name: NameId) -> &str {
        &self.names[name.0 as usize]
    }

    pub(super) fn name_id(&self, name: &str) -> Option<NameId> {
        self.name_ids.get(name).copied()
    }

    pub(super) fn name_of(&self, id: PackageId) -> NameId {
        self.record(id).name
    }

    pub(super) fn name_count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn named(&self, name: NameId) -> &[PackageId] {
        &self.by_name[name.0 as usize]
    }

    pub(super) fn names(&self) -> impl Iterator<Item = NameId> + use<> {
        (0..self.names.len() as u32).map(NameId)
    }

    pub(super) fn is_essential(&self, id: PackageId) -> bool {
        self.record(id).essential
    }

    pub(super) fn is_important(&self, id: PackageId) -> bool {
        self.record(id).important
    }

    pub(super) fn priority(&self, id: PackageId) -> Priority {
        self.record(id).priority
    }

    /// All packages that satisfy one alternative: real ones first, then providers, as apt looks.
    pub(super) fn satisfiers(&self, target: &Alternative<'_>) -> Vec<PackageId> {
        let Some(name) = self.name_id(target.name) else { return Vec::new() };
        let any = match target.qualifier {
            None | Some("native") => false,
            Some("any") => true,
            Some(architecture) if architecture == self.architecture => false,
            Some(_) => return Vec::new(),
        };
        let crosses =
            |id: PackageId| !any || matches!(self.record(id).multi_arch, MultiArch::Allowed | MultiArch::Foreign);
        let within = |version: &str| target.bound.is_none_or(|bound| bound.admits(version));
        let real = self.named(name).iter().copied().filter(|&id| crosses(id) && within(self.version(id)));
        let provided = self.provided[name.0 as usize].iter().filter(|provide| {
            let version = provide.version.map(|span| self.slice(self.record(provide.package), span));
            crosses(provide.package) && version.map_or(target.bound.is_none(), within)
        });
        let mut found: Vec<PackageId> = real.collect();
        for provide in provided {
            if !found.contains(&provide.package) {
                found.push(provide.package);
            }
        }
        found
    }

    /// The rank of a name: when apt, reading the indexes, would have come across it first.
    pub(super) fn rank(&self, name: NameId) -> u32 {
        self.ranks.get_or_init(|| self.rank_names())[name.0 as usize]
    }

    fn rank_names(&self) -> Vec<u32> {
        let mut ranks = vec![u32::MAX; self.names.len()];
        let mut next = 0u32;
        let mut see = |name: NameId| {
            let rank = &mut ranks[name.0 as usize];
            if *rank == u32::MAX {
                *rank = next;
                next += 1;
            }
        };
        // What is installed apt reads last.
        for at in (self.installed..self.records.len()).chain(0..self.installed) {
            let id = PackageId(at as u32);
            see(self.name_of(id));
            let Ok(package) = self.package(id) else { continue };
            let fields = [
                package.pre_depends,
                package.depends,
                package.conflicts,
                package.breaks,
                package.recommends,
                package.suggests,
                package.replaces,
                package.enhances,
                package.provides,
            ];
            for text in fields.iter().flat_map(|field| field.split([',', '|'])) {
                let text = text.trim_ascii_start();
                let end = text.find(|c: char| c.is_ascii_whitespace() || "([<".contains(c)).unwrap_or(text.len());
                // A name with an architecture is a name of its own to apt.
                if let Some(&name) = self.name_ids.get(&text[..end]) {
                    see(name);
                }
            }
        }
        ranks
    }
}

fn priority(text: &str) -> Priority {
    match text {
        "required" => Priority::Required,
        "important" => Priority::Important,
        "standard" => Priority::Standard,
        "optional" => Priority::Optional,
        _ => Priority::Extra,
    }
}
