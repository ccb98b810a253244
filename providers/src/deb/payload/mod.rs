//! What a package lays into the tree: its data archive, extracted once into a directory of plain
//! files, and the entries that say what those files really are.

mod plan;
pub(super) mod tarball;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use layers::{Entry, TreePath};
use md5::Digest as _;

use super::Error;
use super::archive::{Archive, Control};
use crate::unpack::Destination;
pub use crate::unpack::{Aliases, Owner};
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
    let mut digest = None;
    match &head.form {
        Form::Directory => {
            if !plan.has_directory(&place) {
                target.directory(&place)?;
            }
            plan.directory(place, head)?;
        }
        Form::File => {
            let mut checksum = md5_too.then(md5::Md5::new);
            let content = target.file(&place, head.mode, head.seconds, |write| {
                tarball.body(|part| {
                    if let Some(checksum) = &mut checksum {
                        checksum.update(part);
                    }
                    write(part)
                })
            })?;
            digest = checksum.map(|checksum| checksum.finalize().into());
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
    Ok(digest)
}
