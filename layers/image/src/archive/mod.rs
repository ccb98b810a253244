//! A tree as an archive, its members one after another in the order of their paths: [`Format::Tar`]
//! and [`Format::Cpio`].
//!
//! [`plan`] checks every member and settles the size; the [`Plan`] is a [`Source`].

mod cpio;
mod tar;

use layers::{Content, Contents, Entry, Tree, TreePath};

use crate::stream::copy_file;
use crate::{Error, Sink, Source};

/// A format of archives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// POSIX.1-2001 tar, the pax interchange format, as `tar --format=pax --numeric-owner` writes it. Extended
    /// attributes are records `SCHILY.xattr.`*name*, which GNU tar, libarchive and OCI tools read.
    Tar,
    /// The cpio format that the kernel unpacks as its initial file system ("newc", Linux
    /// Documentation/driver-api/early-userspace/buffer-format.rst). It has neither extended
    /// attributes nor fractions of seconds: see [`Plan::lost`].
    Cpio,
}

/// What goes before the bytes of a file, and those.
struct Member<'t> {
    head: Vec<u8>,
    content: Option<&'t Content>,
}

enum Encoder<'t> {
    Tar(tar::Encoder<'t>),
    Cpio(cpio::Encoder<'t>),
}

impl<'t> Encoder<'t> {
    fn of(format: Format, tree: &'t Tree) -> Result<Self, Error> {
        Ok(match format {
            Format::Tar => Self::Tar(tar::Encoder(tree)),
            Format::Cpio => Self::Cpio(cpio::Encoder::of(tree)?),
        })
    }

    /// `None` for what the format has no member for.
    fn member(&self, path: &TreePath, entry: &'t Entry) -> Result<Option<Member<'t>>, Error> {
        match self {
            Self::Tar(encoder) => encoder.member(path, entry),
            Self::Cpio(encoder) => encoder.member(path, entry).map(Some),
        }
    }

    /// What the bytes of a file are filled up to, in bytes.
    fn unit(&self) -> u64 {
        match self {
            Self::Tar(_) => tar::UNIT_BYTES,
            Self::Cpio(_) => cpio::UNIT_BYTES,
        }
    }

    /// What follows the last member.
    fn trailer(&self, at: u64) -> Vec<u8> {
        match self {
            Self::Tar(_) => tar::trailer(),
            Self::Cpio(_) => cpio::trailer(at),
        }
    }
}

/// An archive, its size settled.
pub struct Plan<'t> {
    tree: &'t Tree,
    encoder: Encoder<'t>,
    lost: Vec<TreePath>,
    size: u64,
}

/// Settles the archive of a tree.
///
/// # Errors
/// [`Error::Unsupported`] with the path of what the format cannot express.
pub fn plan(tree: &Tree, format: Format) -> Result<Plan<'_>, Error> {
    let encoder = Encoder::of(format, tree)?;
    let mut plan = Plan { tree, encoder, lost: Vec::new(), size: 0 };
    for (path, entry) in tree.iter() {
        match plan.encoder.member(path, entry)? {
            Some(member) => plan.size = plan.end(plan.size, &member)?,
            None => plan.lost.push(path.clone()),
        }
        if format == Format::Cpio && !entry.meta.xattrs.is_empty() {
            plan.lost.push(path.clone());
        }
    }
    plan.size += plan.encoder.trailer(plan.size).len() as u64;
    Ok(plan)
}

impl Plan<'_> {
    /// The paths whose extended attributes the format drops (cpio), or that it leaves out (sockets
    /// in tar).
    pub fn lost(&self) -> &[TreePath] {
        &self.lost
    }

    fn end(&self, at: u64, member: &Member<'_>) -> Result<u64, Error> {
        let bytes = member.content.map_or(0, |content| content.size);
        bytes
            .checked_next_multiple_of(self.encoder.unit())
            .and_then(|bytes| bytes.checked_add(member.head.len() as u64)?.checked_add(at))
            .ok_or(Error::Overflow("the size of an archive"))
    }
}

impl Source for Plan<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_to(&self, contents: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut buffer = Vec::new();
        let mut at = 0;
        for (path, entry) in self.tree.iter() {
            let Some(member) = self.encoder.member(path, entry)? else { continue };
            sink.data(at, &member.head)?;
            if let Some(content) = member.content.filter(|content| content.size > 0) {
                copy_file(contents, content, path, at + member.head.len() as u64, &mut buffer, sink)?;
            }
            at = self.end(at, &member)?;
        }
        sink.data(at, &self.encoder.trailer(at))
    }
}
