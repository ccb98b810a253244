//! What the order needs to know of a package.

use super::users::{self, Users};
use crate::rpm::header::{Header, Malformed, Tag, tag};
use crate::rpm::scripts::{Event, FileTrigger, Scripts};
use crate::rpm::{Comparison, Dependency, Evr};

/// `RPMTAG_PREFIXES`, and `RPMTAG_INSTPREFIXES`, which the database has.
const PREFIXES: [Tag; 2] = [Tag(1099), Tag(1098)];
/// Flag of a file that is named but not packed (rpm, include/rpm/rpmfiles.h, `RPMFILE_GHOST`).
const GHOST: u32 = 1 << 6;
/// States of a file that count as installed (`RPMFILE_STATE_NORMAL` and `RPMFILE_STATE_NETSHARED`).
const INSTALLED: [u8; 2] = [0, 3];

/// A file of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    /// The literal path of the header.
    pub(super) path: Vec<u8>,
    pub(super) is_ghost: bool,
    pub(super) is_installed: bool,
}

/// A package that a trigger waits for, in the order of the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    pub(super) dependency: Dependency,
    /// Which of the package's triggers it belongs to.
    pub(super) trigger: usize,
}

/// A package of a transaction, or one that is there before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    pub(super) name: Box<str>,
    pub(super) label: Box<str>,
    pub(super) scripts: Scripts,
    pub(super) conditions: Vec<Condition>,
    /// What it provides under its own name, which is what triggers look at.
    pub(super) provides: Vec<Dependency>,
    pub(super) files: Vec<File>,
    /// Directories that its files are in, with a slash at their end.
    pub(super) directories: Vec<Vec<u8>>,
    pub(super) prefixes: Vec<Box<[u8]>>,
    pub(super) users: Vec<Users>,
}

impl Package {
    /// From a package's main header, or from the header that the database has of it.
    ///
    /// # Errors
    /// Lists of unequal length, triggers that belong to no script.
    pub fn read(header: &Header) -> Result<Self, Malformed> {
        let malformed = |reason: &str| Malformed { reason: reason.into() };
        let text = |tag| header.string(tag).unwrap_or_default();
        let name: Box<str> = text(tag::NAME).into();
        if name.is_empty() {
            return Err(malformed("it has no name"));
        }
        let epoch = header.u32(tag::EPOCH).map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let architecture = header.string(tag::ARCH).map(|name| format!(".{name}")).unwrap_or_default();
        let label = format!("{name}-{epoch}{}-{}{architecture}", text(tag::VERSION), text(tag::RELEASE));
        let scripts = Scripts::read(header)?;
        let triggers = dependencies(header, tag::TRIGGERNAME, tag::TRIGGERVERSION, tag::TRIGGERFLAGS)
            .ok_or_else(|| malformed("its triggers have lists of unequal length"))?;
        let indexes = header.u32_list(tag::TRIGGERINDEX).into_iter().flatten();
        let conditions = triggers.into_iter().zip(indexes).map(|(dependency, index)| {
            let trigger = usize::try_from(index).unwrap_or(usize::MAX);
            Condition { dependency, trigger }
        });
        let conditions = conditions.collect();
        let mut provides = dependencies(header, tag::PROVIDENAME, tag::PROVIDEVERSION, tag::PROVIDEFLAGS)
            .ok_or_else(|| malformed("its capabilities have lists of unequal length"))?;
        provides.retain(|dependency| dependency.name == name);
        let prefixes = PREFIXES.iter().find_map(|tag| header.string_list(*tag));
        let prefixes = prefixes.into_iter().flatten().map(Into::into).collect();
        let directories: Vec<Vec<u8>> =
            header.string_list(tag::DIRNAMES).into_iter().flatten().map(<[u8]>::to_vec).collect();
        let files = files(header, &directories).ok_or_else(|| malformed("its files have lists of unequal length"))?;
        let users = users::read(header, |at| files.get(at).map(|file| file.path.clone()));
        let label = label.into();
        Ok(Self { name, label, scripts, conditions, provides, files, directories, prefixes, users })
    }

    /// The package's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name, epoch if any, version, release and architecture.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The trigger that this other package sets off: the first one for the event whose condition it
    /// meets, and no other.
    pub(super) fn set_off_by(&self, other: &Package, event: Event) -> Option<usize> {
        let met = |condition: &&Condition| {
            self.event(condition.trigger) == Some(event)
                && condition.dependency.name == other.name
                && other.provides.iter().any(|provided| condition.dependency.matches(provided))
        };
        self.conditions.iter().find(met).map(|condition| condition.trigger)
    }

    fn event(&self, trigger: usize) -> Option<Event> {
        self.scripts.triggers.get(trigger).map(|trigger| trigger.event)
    }

    /// The file triggers for installed files, once per package or once per transaction.
    pub(super) fn file_triggers(&self, per_transaction: bool) -> impl Iterator<Item = (usize, &FileTrigger)> {
        let triggers = self.scripts.file_triggers.iter().enumerate();
        triggers.filter(move |(_, trigger)| trigger.per_transaction == per_transaction && trigger.event == Event::In)
    }

    /// Whether one of its directories lies below a prefix, which is how rpm finds the packages that
    /// have such files. A prefix that is the path of a file finds none.
    pub(super) fn has_directory_below(&self, prefix: &str) -> bool {
        self.directories.iter().any(|directory| directory.starts_with(prefix.as_bytes()))
    }
}

fn dependencies(header: &Header, names: Tag, versions: Tag, flags: Tag) -> Option<Vec<Dependency>> {
    let count = header.count(names);
    // Very old packages have names alone.
    if (header.has(versions) && header.count(versions) != count) || (header.has(flags) && header.count(flags) != count)
    {
        return None;
    }
    let mut versions = header.string_list(versions).into_iter().flatten();
    let mut flags = header.u32_list(flags).into_iter().flatten();
    let names = header.string_list(names).into_iter().flatten();
    let dependencies = names.map(|name| {
        let version = versions.next().and_then(|version| std::str::from_utf8(version).ok()).unwrap_or_default();
        let comparison = flags.next().and_then(crate::rpm::file::comparison);
        let versions: Option<(Comparison, Evr)> =
            comparison.filter(|_| !version.is_empty()).map(|comparison| (comparison, crate::rpm::file::evr(version)));
        Dependency { name: String::from_utf8_lossy(name).into(), versions }
    });
    Some(dependencies.collect())
}

fn files(header: &Header, directories: &[Vec<u8>]) -> Option<Vec<File>> {
    let count = header.count(tag::BASENAMES);
    if header.count(tag::DIRINDEXES) != count {
        return None;
    }
    let mut flags = header.u32_list(tag::FILEFLAGS).into_iter().flatten();
    let mut states = header.u8_list(tag::FILESTATES).unwrap_or_default().iter();
    let mut files = Vec::with_capacity(count);
    let indexes = header.u32_list(tag::DIRINDEXES).into_iter().flatten();
    for (name, index) in header.string_list(tag::BASENAMES).into_iter().flatten().zip(indexes) {
        let directory = directories.get(usize::try_from(index).ok()?)?;
        files.push(File {
            path: [directory.as_slice(), name].concat(),
            is_ghost: flags.next().is_some_and(|flags| flags & GHOST != 0),
            is_installed: states.next().is_none_or(|state| INSTALLED.contains(state)),
        });
    }
    Some(files)
}
