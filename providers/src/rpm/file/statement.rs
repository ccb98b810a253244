//! What a package's header says of it, in the words of a repository's metadata; and whether the two
//! agree.

use std::collections::BTreeSet;

use super::{Error, Verified};
use crate::rpm::header::{Header, Tag, tag};
use crate::rpm::{Comparison, Dependency, Evr, Package, Relation, Requirement};

/// Flag bits of dependencies (rpm, include/rpm/rpmds.h, `rpmsenseFlags_e`).
const LESS: u32 = 1 << 1;
const GREATER: u32 = 1 << 2;
const EQUAL: u32 = 1 << 3;
/// What is needed before the package's own scriptlets: `RPMSENSE_PREREQ`, `_SCRIPT_PRE` and
/// `_SCRIPT_POST`, as createrepo_c writes `pre="1"`.
const BEFORE: u32 = 1 << 6 | 1 << 9 | 1 << 10;
/// `RPMSENSE_RPMLIB`: a feature of rpm itself, which no package provides.
const RPMLIB: u32 = 1 << 24;

/// What a header says of its package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// Its name.
    pub name: Box<str>,
    /// Epoch, version and release.
    pub evr: Evr,
    /// Its architecture.
    pub architecture: Box<str>,
    /// When it was built, seconds since 1970-01-01 UTC.
    pub build_time: i64,
    /// Size of what it installs in bytes, as it states.
    pub installed_size: u64,
    /// The source package's file name.
    pub source: Box<str>,
    /// Capabilities that it offers.
    pub provides: Vec<Dependency>,
    /// What it needs, but for features of rpm itself.
    pub requires: Vec<Requirement>,
    /// What it cannot be installed with.
    pub conflicts: Vec<Relation>,
    /// What it takes the place of.
    pub obsoletes: Vec<Relation>,
    /// What should be there too.
    pub recommends: Vec<Relation>,
    /// What might be there too.
    pub suggests: Vec<Relation>,
    /// What it should come along with.
    pub supplements: Vec<Relation>,
    /// What it might come along with.
    pub enhances: Vec<Relation>,
}

impl Statement {
    /// Reads it; what is missing is empty.
    pub fn read(header: &Header) -> Self {
        let text = |tag| header.string(tag).unwrap_or_default().into();
        let plain = |name, version, flags| -> Vec<Relation> {
            relations(header, name, version, flags).map(|(relation, _)| relation).collect()
        };
        let requires = relations(header, tag::REQUIRENAME, tag::REQUIREVERSION, tag::REQUIREFLAGS);
        let provides = plain(tag::PROVIDENAME, tag::PROVIDEVERSION, tag::PROVIDEFLAGS);
        Self {
            name: text(tag::NAME),
            evr: Evr { epoch: header.u32(tag::EPOCH), version: text(tag::VERSION), release: Some(text(tag::RELEASE)) },
            architecture: text(tag::ARCH),
            build_time: header.u32(tag::BUILDTIME).map_or(0, i64::from),
            installed_size: header.size(tag::SIZE, tag::LONGSIZE).unwrap_or(0),
            source: text(tag::SOURCERPM),
            provides: provides.into_iter().filter_map(simple).collect(),
            requires: requires
                .filter(|(relation, flags)| flags & RPMLIB == 0 && !is_rpmlib(relation))
                .map(|(relation, flags)| Requirement { relation, before: flags & BEFORE != 0 })
                .collect(),
            conflicts: plain(tag::CONFLICTNAME, tag::CONFLICTVERSION, tag::CONFLICTFLAGS),
            obsoletes: plain(tag::OBSOLETENAME, tag::OBSOLETEVERSION, tag::OBSOLETEFLAGS),
            recommends: plain(tag::RECOMMENDNAME, tag::RECOMMENDVERSION, tag::RECOMMENDFLAGS),
            suggests: plain(tag::SUGGESTNAME, tag::SUGGESTVERSION, tag::SUGGESTFLAGS),
            supplements: plain(tag::SUPPLEMENTNAME, tag::SUPPLEMENTVERSION, tag::SUPPLEMENTFLAGS),
            enhances: plain(tag::ENHANCENAME, tag::ENHANCEVERSION, tag::ENHANCEFLAGS),
        }
    }

    /// Name, epoch, version, release and architecture, as rpm writes them.
    pub fn nevra(&self) -> String {
        format!("{}-{}.{}", self.name, self.evr, self.architecture)
    }
}

impl Verified {
    /// Whether the package is the one that the metadata describes: the same name, version and
    /// architecture, and the same relations, so that what was resolved is what gets installed. The
    /// metadata may leave out what createrepo_c leaves out: repetitions, and what the package itself
    /// fulfils. Whether a requirement comes before the scriptlets is not compared.
    ///
    /// # Errors
    /// [`Error::Altered`] with the first difference.
    pub fn matches(&self, package: &Package) -> Result<(), Error> {
        let says = Statement::read(self.header());
        let differ = |what: &str| self.failure().altered(format!("{what}, other than its repository's metadata says"));
        if says.name != package.name
            || spelt(&says.evr) != spelt(&package.evr)
            || says.architecture != package.architecture
        {
            return Err(differ(&format!("it is {}", says.nevra())));
        }
        let mine = says.requires.iter().map(|needed| line(&needed.relation)).collect::<BTreeSet<_>>();
        let theirs = package.requires.iter().map(|needed| line(&needed.relation)).collect::<BTreeSet<_>>();
        if let Some(invented) = theirs.difference(&mine).next() {
            return Err(differ(&format!("it does not require {invented}")));
        }
        let provides = says.provides.iter().map(dependency_line).collect::<BTreeSet<_>>();
        let files = Files::of(self.header());
        for dropped in mine.difference(&theirs) {
            // createrepo_c keeps the highest of the versions that a package needs of the C library
            // (src/parsehdr.c).
            let kept = dropped.starts_with("libc.so.6") && theirs.iter().any(|other| other.starts_with("libc.so.6"));
            if !kept && !provides.contains(dropped) && !files.have(dropped) {
                return Err(differ(&format!("it requires {dropped}")));
            }
        }
        let theirs = package.provides.iter().map(dependency_line).collect::<BTreeSet<_>>();
        if let Some(other) = provides.symmetric_difference(&theirs).next() {
            let not = if theirs.contains(other) { "does not provide" } else { "provides" };
            return Err(differ(&format!("it {not} {other}")));
        }
        let obsoletes: Vec<Relation> = package.obsoletes.iter().cloned().map(Relation::Simple).collect();
        for (verb, mine, theirs) in [
            ("conflict with", &says.conflicts, &package.conflicts),
            ("obsolete", &says.obsoletes, &obsoletes),
            ("recommend", &says.recommends, &package.recommends),
            ("suggest", &says.suggests, &package.suggests),
            ("supplement", &says.supplements, &package.supplements),
            ("enhance", &says.enhances, &package.enhances),
        ] {
            let mine = mine.iter().map(line).collect::<BTreeSet<_>>();
            let theirs = theirs.iter().map(line).collect::<BTreeSet<_>>();
            if let Some(other) = mine.symmetric_difference(&theirs).next() {
                let does = if mine.contains(other) { "does" } else { "does not" };
                return Err(differ(&format!("it {does} {verb} {other}")));
            }
        }
        match package.files.iter().find(|path| !files.have(path)) {
            Some(path) => Err(differ(&format!("it has no {path}"))),
            None => Ok(()),
        }
    }
}

/// The paths of a package.
struct Files(BTreeSet<Vec<u8>>);

impl Files {
    fn of(header: &Header) -> Self {
        let directories: Vec<&[u8]> = header.string_list(tag::DIRNAMES).into_iter().flatten().collect();
        let names = header.string_list(tag::BASENAMES).into_iter().flatten();
        let indexes = header.u32_list(tag::DIRINDEXES).into_iter().flatten();
        let paths = names.zip(indexes).filter_map(|(name, index)| {
            let directory = directories.get(usize::try_from(index).ok()?)?;
            Some([directory, name].concat())
        });
        Self(paths.collect())
    }

    fn have(&self, path: &str) -> bool {
        self.0.contains(path.as_bytes())
    }
}

fn simple(relation: Relation) -> Option<Dependency> {
    match relation {
        Relation::Simple(dependency) => Some(dependency),
        Relation::Rich(_) => None,
    }
}

fn is_rpmlib(relation: &Relation) -> bool {
    matches!(relation, Relation::Simple(dependency) if dependency.name.starts_with("rpmlib("))
}

/// The relations under three tags, with their flags. Arrays of unequal length end with the shortest.
pub(in crate::rpm) fn relations(
    header: &Header,
    names: Tag,
    versions: Tag,
    flags: Tag,
) -> impl Iterator<Item = (Relation, u32)> + '_ {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let names = header.string_list(names).into_iter().flatten().map(text);
    let versions = header.string_list(versions).into_iter().flatten().map(text);
    let flags = header.u32_list(flags).into_iter().flatten();
    names.zip(versions).zip(flags).map(|((name, version), flags)| (relation(name, version, flags), flags))
}

fn relation(name: &str, version: &str, flags: u32) -> Relation {
    if name.starts_with('(') {
        return Relation::Rich(name.into());
    }
    let versions = comparison(flags).filter(|_| !version.is_empty()).map(|comparison| (comparison, evr(version)));
    Relation::Simple(Dependency { name: name.into(), versions })
}

/// The comparison that flags stand for.
pub(in crate::rpm) fn comparison(flags: u32) -> Option<Comparison> {
    match flags & (LESS | GREATER | EQUAL) {
        LESS => Some(Comparison::Less),
        GREATER => Some(Comparison::Greater),
        EQUAL => Some(Comparison::Equal),
        bits if bits == LESS | EQUAL => Some(Comparison::LessOrEqual),
        bits if bits == GREATER | EQUAL => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

/// Reads `[epoch:]version[-release]` as rpm's `rpmverParse` does.
pub(in crate::rpm) fn evr(text: &str) -> Evr {
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Some(epoch.parse().unwrap_or(0)), rest)
        }
        _ => (None, text),
    };
    let (version, release) = match rest.rsplit_once('-') {
        Some((version, release)) => (version, Some(release.into())),
        None => (rest, None),
    };
    Evr { epoch, version: version.into(), release }
}

/// A version in one spelling: metadata writes an epoch of 0 where a header has none.
fn spelt(evr: &Evr) -> String {
    evr.to_string()
}

fn dependency_line(dependency: &Dependency) -> String {
    match &dependency.versions {
        None => dependency.name.to_string(),
        Some((comparison, evr)) => {
            let sign = match comparison {
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Equal => "=",
                Comparison::GreaterOrEqual => ">=",
                Comparison::Greater => ">",
            };
            format!("{} {sign} {}", dependency.name, spelt(evr))
        }
    }
}

fn line(relation: &Relation) -> String {
    match relation {
        Relation::Simple(dependency) => dependency_line(dependency),
        Relation::Rich(text) => text.to_string(),
    }
}
