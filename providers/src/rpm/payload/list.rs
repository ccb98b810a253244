//! The list of files in a header: everything that is known of them but their content.

use layers::TreePath;

use crate::rpm::file::{Error, Failure};
use crate::rpm::header::{Header, Tag, tag};
use crate::unpack::Aliases;

/// Most files in one package. The largest known have some 150,000.
const FILES_MAX: usize = 1_000_000;
/// Most bytes of paths in one package: directories are listed once and used often.
const NAMES_BYTES_MAX: usize = 256 << 20;
/// Most bytes that the files of one package have together, whatever it states.
const CONTENT_BYTES_MAX: u64 = 64 << 30;
/// The type in a mode (POSIX, `S_IFMT`).
const TYPE_MASK: u32 = 0o170_000;

/// What a package says of the use of a file (rpm, include/rpm/rpmfiles.h, `rpmfileAttrs_e`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FileFlags(pub u32);

impl FileFlags {
    /// `%config`
    pub fn is_config(self) -> bool {
        self.0 & 1 != 0
    }

    /// `%doc`
    pub fn is_documentation(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// `%config(missingok)`, `%missingok`
    pub fn may_be_missing(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// `%config(noreplace)`
    pub fn is_not_replaced(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// `%ghost`: a file that belongs to the package, which does not bring it.
    pub fn is_ghost(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// `%license`
    pub fn is_license(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// `%artifact`
    pub fn is_artifact(self) -> bool {
        self.0 & 1 << 12 != 0
    }
}

/// The type of a file, by its mode (POSIX, `S_IFMT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
}

/// One file of a package, as its header describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackagedFile {
    /// The path as the package has it, absolute: what the database keeps and file dependencies and
    /// file triggers ask for.
    pub path: Box<[u8]>,
    /// Where it really lies, through the directories that are links.
    pub place: TreePath,
    /// What it is.
    pub kind: FileType,
    /// Permission bits, setuid, setgid and sticky bit.
    pub mode: u32,
    /// Its length in bytes.
    pub size: u64,
    /// Time of last modification, seconds since 1970-01-01 UTC.
    pub mtime: u32,
    /// Its digest, where there is one: with the package's algorithm.
    pub digest: Box<[u8]>,
    /// Where a symbolic link leads; else empty.
    pub target: Box<[u8]>,
    /// Its owner's name.
    pub user: Box<str>,
    /// Its group's name.
    pub group: Box<str>,
    /// A device's number, major in the upper byte.
    pub device: u16,
    /// Device and inode on the machine that built it; files that have them in common are one file.
    pub identity: (u32, u32),
    /// What it is for.
    pub flags: FileFlags,
    /// What `rpm -V` looks at (rpm, include/rpm/rpmvf.h, `rpmVerifyAttrs_e`).
    pub verify: u32,
    /// Its capabilities as text (cap_from_text(3)); empty for none.
    pub capabilities: Box<str>,
}

/// The files of a package and the algorithm of their digests (RFC 9580, section 9.5).
pub(super) struct List {
    pub files: Vec<PackagedFile>,
    pub algorithm: u32,
}

/// One list among several of equal length.
struct Columns<'h> {
    header: &'h Header,
    failure: Failure<'h>,
    count: usize,
}

impl<'h> Columns<'h> {
    fn check(&self, tag: Tag, length: usize) -> Result<(), Error> {
        match length == self.count {
            true => Ok(()),
            false => Err(self
                .failure
                .damaged(format!("its list of {} files has {length} values of tag {}", self.count, tag.0))),
        }
    }

    /// Strings; empty ones where the tag is missing and need not be there.
    fn texts(&self, tag: Tag, needed: bool) -> Result<impl Iterator<Item = &'h [u8]> + use<'h>, Error> {
        let list = self.header.string_list(tag);
        match &list {
            Some(list) => self.check(tag, list.len())?,
            None if needed => self.check(tag, 0)?,
            None => {}
        }
        Ok(list.into_iter().flatten().chain(std::iter::repeat(&b""[..])).take(self.count))
    }

    fn words(&self, tag: Tag, needed: bool) -> Result<impl Iterator<Item = u32> + use<'h>, Error> {
        let list = self.header.u32_list(tag);
        match &list {
            Some(list) => self.check(tag, list.len())?,
            None if needed => self.check(tag, 0)?,
            None => {}
        }
        Ok(list.into_iter().flatten().chain(std::iter::repeat(0)).take(self.count))
    }

    fn shorts(&self, tag: Tag, needed: bool) -> Result<impl Iterator<Item = u16> + use<'h>, Error> {
        let list = self.header.u16_list(tag);
        match &list {
            Some(list) => self.check(tag, list.len())?,
            None if needed => self.check(tag, 0)?,
            None => {}
        }
        Ok(list.into_iter().flatten().chain(std::iter::repeat(0)).take(self.count))
    }

    fn sizes(&self) -> Result<Vec<u64>, Error> {
        match self.header.u64_list(tag::LONGFILESIZES) {
            Some(sizes) => {
                self.check(tag::LONGFILESIZES, sizes.len())?;
                Ok(sizes.collect())
            }
            None => Ok(self.words(tag::FILESIZES, true)?.map(u64::from).collect()),
        }
    }
}

impl List {
    /// Reads the list, and where each file really lies.
    pub fn read(header: &Header, aliases: &Aliases, failure: Failure<'_>) -> Result<Self, Error> {
        let algorithm = header.u32(tag::FILEDIGESTALGO).unwrap_or(1);
        let count = header.count(tag::BASENAMES);
        if header.has(tag::OLDFILENAMES) {
            return Err(failure.damaged("it lists its files as before rpm 4"));
        }
        if count > FILES_MAX {
            return Err(failure.damaged(format!("it lists {count} files, more than any package has")));
        }
        let columns = Columns { header, failure, count };
        let directories: Vec<&[u8]> = header.string_list(tag::DIRNAMES).into_iter().flatten().collect();
        let mut indexes = columns.words(tag::DIRINDEXES, true)?;
        let mut names = columns.texts(tag::BASENAMES, true)?;
        let mut modes = columns.shorts(tag::FILEMODES, true)?;
        let mut sizes = columns.sizes()?.into_iter();
        let mut mtimes = columns.words(tag::FILEMTIMES, true)?;
        let mut digests = columns.texts(tag::FILEDIGESTS, false)?;
        let mut targets = columns.texts(tag::FILELINKTOS, true)?;
        let mut users = columns.texts(tag::FILEUSERNAME, true)?;
        let mut groups = columns.texts(tag::FILEGROUPNAME, true)?;
        let mut devices = columns.shorts(tag::FILERDEVS, false)?;
        let mut origins = columns.words(tag::FILEDEVICES, false)?;
        let mut inodes = columns.words(tag::FILEINODES, false)?;
        let mut flags = columns.words(tag::FILEFLAGS, true)?;
        let mut verify = columns.words(tag::FILEVERIFYFLAGS, false)?;
        let mut capabilities = columns.texts(tag::FILECAPS, false)?;
        let mut files = Vec::with_capacity(count);
        let (mut names_bytes, mut content_bytes) = (0usize, 0u64);
        for _ in 0..count {
            let index = usize::try_from(indexes.next().unwrap_or(0)).unwrap_or(usize::MAX);
            let directory = directories.get(index).ok_or_else(|| failure.damaged("a file of it is in no directory"))?;
            let path = [directory, names.next().unwrap_or_default()].concat();
            let normal = TreePath::new(&path).map_err(|error| failure.path(error))?;
            if path.strip_prefix(b"/") != Some(normal.as_bytes()) || path.contains(&b'\n') {
                return Err(
                    failure.damaged(format!("the path {} in it is not absolute and plain", path.escape_ascii()))
                );
            }
            let mode = u32::from(modes.next().unwrap_or(0));
            let target = targets.next().unwrap_or_default();
            names_bytes = names_bytes.saturating_add(path.len()).saturating_add(target.len());
            let size = sizes.next().unwrap_or(0);
            content_bytes = content_bytes.saturating_add(size);
            if names_bytes > NAMES_BYTES_MAX || content_bytes > CONTENT_BYTES_MAX {
                return Err(failure.damaged("it states more than any package has"));
            }
            let digest = hex::decode(digests.next().unwrap_or_default())
                .map_err(|_| failure.damaged(format!("the digest of {normal} is none")))?;
            files.push(PackagedFile {
                path: path.into(),
                place: aliases.canonical(&normal).map_err(|error| failure.path(error))?,
                kind: file_type(mode).ok_or_else(|| failure.damaged(format!("{normal} has no type")))?,
                mode: mode & layers::entry::MODE_MASK,
                size,
                mtime: mtimes.next().unwrap_or(0),
                digest: digest.into(),
                target: target.into(),
                user: text(users.next()).into(),
                group: text(groups.next()).into(),
                device: devices.next().unwrap_or(0),
                identity: (origins.next().unwrap_or(0), inodes.next().unwrap_or(0)),
                flags: FileFlags(flags.next().unwrap_or(0)),
                verify: verify.next().unwrap_or(u32::MAX),
                capabilities: text(capabilities.next()).into(),
            });
        }
        Ok(Self { files, algorithm })
    }
}

/// Text that was checked to be UTF-8 when the header was read.
fn text(bytes: Option<&[u8]>) -> &str {
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}

fn file_type(mode: u32) -> Option<FileType> {
    match mode & TYPE_MASK {
        0o100_000 => Some(FileType::Regular),
        0o040_000 => Some(FileType::Directory),
        0o120_000 => Some(FileType::Symlink),
        0o020_000 => Some(FileType::CharDevice),
        0o060_000 => Some(FileType::BlockDevice),
        0o010_000 => Some(FileType::Fifo),
        0o140_000 => Some(FileType::Socket),
        _ => None,
    }
}
