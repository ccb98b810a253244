//! `mount`: the tree of an image below a directory of this machine, read-only, by FUSE.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner, MountOption, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyStatfs, ReplyXattr, Request,
};
use image::volume::{File, FileId, FileKind};
use layers::{Time, TreePath};

use super::Image;
use super::tree::{Mount, Mounted, tree};
use crate::error::{Error, Kind};

/// How long the kernel may keep what it was told: nothing ever changes.
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// How often it is looked whether somebody has unmounted it, or pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// Most bytes of a file that one request reads: what the kernel asks for at most, with room.
const READ_MAX: u32 = 4 << 20;

/// Numbers of files carry the number of their mount in these bits.
const MOUNT_BITS: u32 = 8;

/// Names of a directory with what they name.
type Names = Arc<Vec<(Box<[u8]>, FileId)>>;

/// A file in one of the mounted file systems.
type Key = (usize, FileId);

struct Fuse {
    mounts: Vec<Mount<'static>>,
    /// Directories on which another file system is mounted, and which.
    covered: BTreeMap<Key, usize>,
    /// The directory that was read last: it is read piece by piece, and looked up name by name.
    last: Mutex<Option<(Key, Names)>>,
}

/// Shows the tree of an image below a directory until it is unmounted or `interrupted` is set.
///
/// # Errors
/// As [`tree`]; the system allows no mount.
pub fn mount(
    image: &'static Image<'static>,
    number: Option<u32>,
    directory: &Path,
    interrupted: &AtomicBool,
    ready: impl FnOnce(),
) -> Result<(), Error> {
    let fuse = Fuse::new(tree(image, number)?)?;
    let failed = |source: std::io::Error| {
        let hint = match source.kind() {
            std::io::ErrorKind::NotFound => {
                "ordinary users need fusermount3 (the package fuse3); the directory must be there"
            }
            _ => "it needs /dev/fuse, open to you, and an empty directory of yours",
        };
        Error::io(Kind::Other, "mount the image at", directory, source).hint(hint)
    };
    let mut config = Config::default();
    let source = image.path.display().to_string();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        // A comma would begin another option.
        MountOption::FSName(source.replace(',', "_")),
        MountOption::Subtype("image-composer".into()),
    ];
    let session = fuser::spawn_mount(fuse, directory, &config).map_err(failed)?;
    ready();
    while !session.guard.is_finished() {
        if interrupted.load(Ordering::Relaxed) {
            return session.umount_and_join().map_err(|source| Error::io(Kind::Other, "unmount", directory, source));
        }
        std::thread::sleep(LOOK);
    }
    session.join().map_err(failed)
}

impl Fuse {
    fn new(tree: Mounted<'static>) -> Result<Self, Error> {
        let mounts = tree.into_mounts();
        let mut fuse = Self { mounts: Vec::new(), covered: BTreeMap::new(), last: Mutex::default() };
        for mount in mounts.into_iter().take(1 << MOUNT_BITS) {
            if let Some(key) = fuse.find(&mount.path) {
                fuse.covered.insert(key, fuse.mounts.len());
            } else if !fuse.mounts.is_empty() {
                // Where the image has no such directory nothing can be mounted.
                continue;
            }
            fuse.mounts.push(mount);
        }
        Ok(fuse)
    }

    /// The directory of a path in what is mounted so far; `None` for the root.
    fn find(&self, path: &TreePath) -> Option<Key> {
        let mut at = (0, self.mounts.first()?.volume.root());
        for name in path.components() {
            at = self.child(self.uncovered(at), name)?;
        }
        (!path.is_root()).then_some(at)
    }

    /// What is seen at a directory: itself, or what is mounted on it.
    fn uncovered(&self, key: Key) -> Key {
        self.covered.get(&key).map_or(key, |&mount| (mount, self.mounts[mount].volume.root()))
    }

    fn child(&self, directory: Key, name: &[u8]) -> Option<Key> {
        let names = self.names(directory).ok()?;
        let index = names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some((directory.0, names[index].1))
    }

    fn names(&self, key: Key) -> Result<Names, Errno> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, names)) = &*last
            && *known == key
        {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(self.volume(key)?.volume.names(key.1).map_err(|_| Errno::EIO)?);
        *last = Some((key, Arc::clone(&names)));
        Ok(names)
    }

    fn volume(&self, key: Key) -> Result<&Mount<'static>, Errno> {
        self.mounts.get(key.0).ok_or(Errno::ENOENT)
    }

    fn file(&self, key: Key) -> Result<File, Errno> {
        self.volume(key)?.volume.file(key.1).map_err(|_| Errno::EIO)
    }

    fn attributes(&self, key: Key) -> Result<FileAttr, Errno> {
        let file = self.file(key)?;
        let time = time(file.meta.mtime);
        let (FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor)) = file.kind else {
            return Ok(attributes(self.number(key), &file, time, 0));
        };
        // The kernel's own encoding of 12 and 20 bits (include/linux/kdev_t.h, new_encode_dev).
        let device = (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12;
        Ok(attributes(self.number(key), &file, time, device))
    }

    /// The number by which the kernel knows a file; the root's is fixed.
    fn number(&self, key: Key) -> INodeNo {
        match self.mounts.first() {
            Some(root) if key == (0, root.volume.root()) => INodeNo::ROOT,
            // Past 1, which is the root's.
            _ => INodeNo(((key.1 + 1) << MOUNT_BITS) | key.0 as u64),
        }
    }

    fn key(&self, number: INodeNo) -> Key {
        match self.mounts.first() {
            Some(root) if number == INodeNo::ROOT => (0, root.volume.root()),
            _ => ((number.0 & ((1 << MOUNT_BITS) - 1)) as usize, (number.0 >> MOUNT_BITS).saturating_sub(1)),
        }
    }

    fn read_bytes(&self, key: Key, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; size.min(READ_MAX) as usize];
        let count = self.volume(key)?.volume.read(key.1, offset, &mut bytes).map_err(|_| Errno::EIO)?;
        bytes.truncate(count);
        Ok(bytes)
    }
}

fn attributes(ino: INodeNo, file: &File, time: SystemTime, rdev: u32) -> FileAttr {
    FileAttr {
        ino,
        size: file.size,
        blocks: file.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(file.kind),
        // Twelve bits.
        perm: (file.meta.mode & 0o7777) as u16,
        nlink: file.links,
        uid: file.meta.uid,
        gid: file.meta.gid,
        rdev,
        blksize: 4096,
        flags: 0,
    }
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice(..) => FileType::CharDevice,
        FileKind::BlockDevice(..) => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}

fn time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let seconds = if time.seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    seconds.and_then(|at| at.checked_add(Duration::from_nanos(time.nanoseconds.into()))).unwrap_or(UNIX_EPOCH)
}

/// Answers a question about an attribute: its size to those who ask with no room.
fn answer(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

impl Filesystem for Fuse {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.child(self.key(parent), name.as_bytes()).ok_or(Errno::ENOENT);
        match found.and_then(|key| self.attributes(self.uncovered(key))) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(self.key(ino)) {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let key = self.key(ino);
        match self.volume(key).and_then(|mount| mount.volume.target(key.1).map_err(|_| Errno::EIO)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_bytes(self.key(ino), offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let key = self.key(ino);
        let names = match self.names(key) {
            Ok(names) => names,
            Err(errno) => return reply.error(errno),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, id)) in names.iter().enumerate().skip(from) {
            let child = self.uncovered((key.0, *id));
            let kind = match self.file(child) {
                Ok(file) => file_type(file.kind),
                Err(errno) => return reply.error(errno),
            };
            // The offset is where the next question goes on.
            if reply.add(self.number(child), index as u64 + 1, kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.file(self.key(ino)) {
            Ok(file) => match file.meta.xattrs.get(name.as_bytes()) {
                Some(value) => answer(value, size, reply),
                None => reply.error(Errno::ENODATA),
            },
            Err(errno) => reply.error(errno),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.file(self.key(ino)) {
            Ok(file) => {
                let names: Vec<u8> = file.meta.xattrs.keys().flat_map(|name| [name, &b"\0"[..]].concat()).collect();
                answer(&names, size, reply);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.volume(self.key(ino)) {
            Ok(mount) => {
                let (bytes, free) = mount.volume.space();
                let free = free.unwrap_or(0) / 4096;
                reply.statfs(bytes / 4096, free, free, 0, 0, 4096, 255, 4096);
            }
            Err(errno) => reply.error(errno),
        }
    }
}
