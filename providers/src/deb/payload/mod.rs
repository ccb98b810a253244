//! What a package lays into the tree: its data archive, extracted once into a directory of plain
//! files, and the entries that say what those files really are.

mod destination;
mod plan;
pub(super) mod tarball;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use layers::{Entry, TreePath};

use super::Error;
use super::archive::{Archive, Control};
use destination::Destination;
use plan::Plan;
use tarball::{Form, Head, Tarball};

/// The version of the extractor: part of a package layer's key, grows when the result changes.
pub const VERSION: u32 = 2;

/// Most that a data archive may unpack to whatever it states, in bytes.
const DATA_BYTES_MAX: u64 = 64 << 30;
/// What a data archive may have beyond four times its Installed-Size (which is an estimate, and
/// knows neither tar's headers nor files that are linked), in bytes.
const DATA_BYTES_SPARE: u64 = 256 << 20;
/// What a data archive may unpack to when the package does not state its size, in bytes.
const DATA_BYTES_UNSTATED: u64 = 8 << 30;

/// Makes errors that name the archive.
#[derive(Clone, Copy)]
pub(super) struct Failure<'p> {
    pub archive: &'p Path,
}

impl Failure<'_> {
    pub fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Archive { path: self.archive.into(), reason: reason.into() }
    }

    pub fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.archive.into(), source }
    }

    pub fn path(&self, source: layers::Error) -> Error {
        Error::Path { path: self.archive.into(), source }
    }
}

/// Directories that are reached by another name: the `/bin -> usr/bin` of a merged /usr. What a
/// package ships below the alias belongs below the real directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aliases {
    real: BTreeMap<TreePath, TreePath>,
}

impl Aliases {
    /// Aliases from pairs of alias and real directory, such as `bin` and `usr/bin`.
    ///
    /// # Errors
    /// Paths that no tree may hold; an alias that lies in another alias, or leads to one.
    pub fn new<A: AsRef<[u8]>, R: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (A, R)>) -> Result<Self, layers::Error> {
        let mut real = BTreeMap::new();
        for (alias, target) in pairs {
            real.insert(TreePath::new(alias)?, TreePath::new(target)?);
        }
        let aliases = Self { real };
        for (alias, target) in &aliases.real {
            let plain = |path: &TreePath| path == alias || aliases.alias_of(path).is_none();
            if !plain(alias) || alias == target || aliases.alias_of(target).is_some() {
                let path = format!("{alias} -> {target}");
                return Err(layers::Error::BadPath { path, reason: "an alias leads to another alias" });
            }
        }
        Ok(aliases)
    }

    /// The aliases of a merged /usr as Debian's `usr-is-merged` has them for 64-bit architectures.
    pub fn merged_usr() -> Self {
        // The pairs are sound, so the fallback is never taken.
        Self::new(
            ["bin", "sbin", "lib", "lib64", "lib32", "libx32", "libo32"].map(|name| (name, format!("usr/{name}"))),
        )
        .unwrap_or_default()
    }

    /// The aliases with their real directories.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &TreePath)> {
        self.real.iter()
    }

    fn alias_of(&self, path: &TreePath) -> Option<(&TreePath, &TreePath)> {
        self.real.iter().find(|(alias, _)| path == *alias || path.is_below(alias))
    }

    /// Where a path that lies below an alias really is; the alias itself stays.
    ///
    /// # Errors
    /// The real path is longer than paths may be.
    pub fn canonical(&self, path: &TreePath) -> Result<TreePath, layers::Error> {
        match self.alias_of(path) {
            Some((alias, real)) if path != alias => real.join(&path.as_bytes()[alias.as_bytes().len()..]),
            _ => Ok(path.clone()),
        }
    }
}

/// The owner of an entry as the archive names it. dpkg looks the names up in the passwd and group
/// of the system it runs on, and takes the numbers where it does not find them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// User name; may be empty.
    pub user: Box<[u8]>,
    /// Group name; may be empty.
    pub group: Box<[u8]>,
}

/// What a package lays into the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The control archive, which was read on the way.
    pub control: Control,
    /// Every entry at its real path, sorted by path, with the archive's numeric owners. Parents
    /// of every entry are among them; the root is when the archive has it.
    pub entries: Vec<(TreePath, Entry)>,
    /// Names of owners, where they are not `root` or empty, by path in [`Payload::entries`].
    pub owners: BTreeMap<TreePath, Owner>,
    /// Directories among the entries that the archive does not have, or has only under an alias:
    /// their metadata is made up and yields to any other package's.
    pub implied: BTreeSet<TreePath>,
    /// The paths as dpkg lists them in `info/PACKAGE.list`: `/.` first, the archive's order, and
    /// before the aliases are resolved.
    pub listed: Vec<Vec<u8>>,
    /// MD5 of each conffile that the archive ships as a plain file, by its path in the conffiles
    /// file. dpkg's database is keyed by it; nothing is trusted because of it.
    pub conffiles: BTreeMap<Vec<u8>, [u8; 16]>,
    /// What dpkg writes as `info/PACKAGE.md5sums` for a package that brings none: a line for each
    /// file, in the archive's order. Empty where the package brings its own.
    pub md5sums: Vec<u8>,
}

/// Extracts a package's data archive into an empty directory that belongs to the caller:
/// directories with mode 0755, files with their bits 0777 and at least 0600, symbolic links, hard
/// links within the package; times as in the archive. Owners, special modes, devices and fifos
/// are in the entries only. Nothing is synced: what must be durable is the caller's to make so.
///
/// # Errors
/// I/O errors; [`Error::Archive`] for what is damaged or hostile (`..`, paths through symbolic
/// links, names with newlines, a body far larger than stated). What was written stays in the
/// destination, and nothing outside it was touched.
pub fn extract(path: &Path, destination: &Path, aliases: &Aliases) -> Result<Payload, Error> {
    let failure = Failure { archive: path };
    let mut archive = Archive::open(path)?;
    let control = archive.control()?;
    let limit = match control.package()?.installed_size {
        Some(size) => size.saturating_mul(4 * 1024).saturating_add(DATA_BYTES_SPARE).min(DATA_BYTES_MAX),
        None => DATA_BYTES_UNSTATED,
    };
    let conffiles: BTreeSet<Vec<u8>> = control.conffiles().iter().map(|line| line.path.to_vec()).collect();
    let mut tarball = archive.data(limit)?;
    let mut plan = Plan::new(aliases, failure);
    let mut target = Destination::open(destination)?;
    let mut digests = BTreeMap::new();
    let mut sums = control.file("md5sums").is_none().then(Sums::default);
    while let Some(head) = tarball.next()? {
        let listed = plan::listed_name(&head.path);
        let is_conffile = conffiles.contains(&listed);
        let digest = lay(&head, &mut tarball, &mut plan, &mut target, is_conffile || sums.is_some())?;
        if let Some(sums) = &mut sums {
            sums.add(&listed, &head, digest);
        }
        if let Some(digest) = digest.filter(|_| is_conffile) {
            digests.insert(listed, digest);
        }
    }
    let md5sums = sums.map(|sums| sums.text).unwrap_or_default();
    target.finish(plan.directory_times())?;
    let (entries, owners, implied, listed) = plan.finish()?;
    Ok(Payload { control, entries, owners, implied, listed, conffiles: digests, md5sums })
}

/// The sums of a package that brings none (dpkg, lib/dpkg/db-fsys-digest.c).
#[derive(Default)]
struct Sums {
    known: BTreeMap<Vec<u8>, [u8; 16]>,
    text: Vec<u8>,
}

impl Sums {
    fn add(&mut self, listed: &[u8], head: &Head, digest: Option<[u8; 16]>) {
        let digest = match head.form {
            Form::HardLink => self.known.get(&plan::listed_name(&head.link)).copied(),
            _ => digest,
        };
        let Some(digest) = digest else { return };
        let path = listed.strip_prefix(b"/").unwrap_or(listed);
        for part in [hex::encode(digest).as_bytes(), b"  ", path, b"\n"] {
            self.text.extend_from_slice(part);
        }
        self.known.insert(listed.to_vec(), digest);
    }
}

/// Lays one entry into the destination and the plan; gives the MD5 of a file where it is asked for.
fn lay(
    head: &Head,
    tarball: &mut Tarball<'_>,
    plan: &mut Plan<'_>,
    target: &mut Destination,
    md5_too: bool,
) -> Result<Option<[u8; 16]>, Error> {
    let place = match plan.place(head)? {
        Some(place) => place,
        None => return Ok(None),
    };
    for parent in plan.missing_parents(&place)? {
        target.directory(&parent)?;
    }
    if plan.replaces_file(&place, head)? {
        target.remove(&place)?;
    }
    let mut md5 = None;
    match &head.form {
        Form::Directory => {
            if !plan.has_directory(&place) {
                target.directory(&place)?;
            }
            plan.directory(place, head)?;
        }
        Form::File => {
            let (content, digest) = target.file(&place, head, tarball, md5_too)?;
            md5 = digest;
            plan.file(place, head, content)?;
        }
        Form::Symlink => {
            target.symlink(&place, &head.link, head.seconds)?;
            plan.symlink(place, head)?;
        }
        Form::HardLink => {
            let first = plan.hard_link(place.clone(), head)?;
            target.hard_link(&first, &place)?;
        }
        Form::CharDevice(..) | Form::BlockDevice(..) | Form::Fifo => plan.special(place, head)?,
    }
    Ok(md5)
}
