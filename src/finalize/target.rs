//! Artifacts under their final names: all of a file or nothing, never over another unasked.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with};

use crate::error::{Error, Kind};

/// Where artifacts go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The directory; made when needed.
    pub directory: PathBuf,
    /// Whether a file of the same name may be replaced.
    pub force: bool,
}

/// A file without a name, in the directory of its future one: a killed build leaves nothing.
#[derive(Debug)]
pub struct Pending {
    file: File,
    path: PathBuf,
    force: bool,
}

impl Target {
    /// Refuses early what would fail at the end of a long build.
    ///
    /// # Errors
    /// The directory cannot be made or written; a file is in the way.
    pub fn prepare(&self, names: &[String]) -> Result<(), Error> {
        fs::create_dir_all(&self.directory)
            .map_err(|source| denied("create the output directory", &self.directory, source))?;
        for name in names {
            self.take_back(name);
        }
        for name in names {
            let path = self.directory.join(name);
            if !self.force && path.symlink_metadata().is_ok() {
                return Err(exists(&path));
            }
        }
        // Also tells whether the directory can be written to.
        self.begin("probe").map(drop)
    }

    /// Begins an artifact.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn begin(&self, name: &str) -> Result<Pending, Error> {
        self.begin_at(name.as_ref())
    }

    /// As [`Target::begin`], for a name that a person gave.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn begin_at(&self, name: &OsStr) -> Result<Pending, Error> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(&self.directory, flags, Mode::from_raw_mode(0o644))
            .map_err(|source| denied("write to the output directory", &self.directory, source.into()))?;
        let file = File::from(file);
        // Tells whoever meets it under a passing name that this process is alive.
        let _ = file.try_lock();
        Ok(Pending { file, path: self.directory.join(name), force: self.force })
    }
}

impl Target {
    /// Gives several files their names, in this order: when the last is there, all are. A note
    /// beside them says which they are, until [`Named::settle`]: what a build that was killed
    /// before that had named, the next one takes back.
    ///
    /// # Errors
    /// As [`Pending::publish`]; then none has its name.
    pub fn publish_all(&self, ready: Vec<Pending>) -> Result<Named, Error> {
        // Before anything that is there is touched.
        ready.iter().try_for_each(Pending::hear_out)?;
        let last = ready.last().map(Pending::name).unwrap_or_default();
        let note = self.note(&last);
        let io = |source| full(&note, source);
        // Never an older set's last file beside newer ones.
        if self.force && !last.is_empty() {
            let _ = fs::remove_file(self.directory.join(&last));
        }
        let mut held = File::create(&note).map_err(io)?;
        held.try_lock().map_err(|_| {
            Error::build(format!("failed to write {last}: another build writes the same files"))
                .hint("wait for it, or name another directory with --output-dir")
        })?;
        let mut text = format!("{}\n", std::process::id());
        let mut named = || {
            for pending in &ready {
                let meta = pending.file.metadata().map_err(io)?;
                text.push_str(&format!("{} {} {}\n", meta.dev(), meta.ino(), pending.name()));
            }
            held.write_all(text.as_bytes()).map_err(io)
        };
        let result = named().and_then(|()| ready.into_iter().try_for_each(|pending| pending.link().map(drop)));
        match result {
            Ok(()) => Ok(Named { note, _held: held }),
            Err(error) => {
                drop(held);
                self.take_back(&last);
                Err(error)
            }
        }
    }

    /// Files that were found to be whole stay, even if the build that named them was killed just
    /// before its end; `last` is the last of them.
    pub fn settle(&self, last: &Path) {
        if let Some(name) = last.file_name() {
            let _ = fs::remove_file(self.note(&name.to_string_lossy()));
        }
    }

    fn note(&self, last: &str) -> PathBuf {
        self.directory.join(format!(".{last}.unfinished"))
    }

    /// Removes the files of a set whose build was killed while it named them: those that the note
    /// tells, as long as they are the very same files. What cannot be read is left alone.
    fn take_back(&self, last: &str) {
        let note = self.note(last);
        let Ok(mut file) = File::open(&note) else { return };
        // Held: the build that writes them is alive.
        if file.try_lock().is_err() {
            return;
        }
        let mut text = String::new();
        if (&mut file).take(NOTE_MAX).read_to_string(&mut text).is_err() {
            return;
        }
        let mut lines = text.lines();
        let process = lines.next().unwrap_or_default();
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (Some(device), Some(inode), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
            if name.contains('/') {
                continue;
            }
            let (path, passing) = (self.directory.join(name), self.directory.join(beside(name, process)));
            let is_ours = |path: &Path| {
                let found = path.symlink_metadata();
                found.is_ok_and(|meta| meta.dev().to_string() == device && meta.ino().to_string() == inode)
            };
            if is_ours(&passing) {
                let _ = fs::remove_file(&passing);
            }
            if is_ours(&path) {
                // The file that it replaced, if the build was killed just then.
                let _ = fs::rename(&passing, &path).or_else(|_| fs::remove_file(&path));
            }
        }
        let _ = fs::remove_file(&note);
    }
}

/// Files that have their names, and are taken back unless the build comes to its end.
#[must_use]
#[derive(Debug)]
pub struct Named {
    note: PathBuf,
    /// Locked: tells other builds that this one is alive.
    _held: File,
}

impl Named {
    /// The build is at its end: the files stay.
    pub fn settle(self) {
        // A note that stays would cost the next build its work, and nothing else.
        let _ = fs::remove_file(&self.note);
    }
}

/// Longest note of files that are being named, in bytes: a dozen lines of names.
const NOTE_MAX: u64 = 1 << 16;

/// The name that a file has for a moment before it replaces another.
fn beside(name: &str, process: impl std::fmt::Display) -> String {
    format!(".{name}.{process}")
}

/// How long a file has such a name at most, with room to spare.
const PASSING: Duration = Duration::from_secs(60);

/// Removes what processes that were killed just then left under such names: a new file is locked while its process
/// is alive, and a file that was replaced nobody needs. Where the file system knows no locks, age tells.
fn sweep_beside(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
    let stem = beside(&name.to_string_lossy(), "");
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let other = entry.file_name();
        let process = other.to_str().and_then(|other| other.strip_prefix(stem.as_str()));
        let is_ours = process.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        // Never a pipe: opening it would wait.
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) && !is_held(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a process may still need a file of a passing name.
fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return true };
    match file.try_lock() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        // Since when it has the name: giving one changes nothing else.
        Err(TryLockError::Error(_)) => {
            let named = file.metadata().map(|meta| u64::try_from(meta.ctime()).unwrap_or_default());
            let since = named.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            !since.is_ok_and(|since| since.elapsed().is_ok_and(|passed| passed >= PASSING))
        }
    }
}

/// Gives a file the place of another, which is removed, within one moment. The two are exchanged: a rename
/// over a file has ext4 (`auto_da_alloc`, ext4(5)) write out the bytes of the new one, which can take
/// longer than making them did.
fn replace(new: &Path, old: &Path) -> std::io::Result<()> {
    // A directory would change its name, too.
    if old.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        // Somebody has made a directory there just now.
        Ok(()) if new.symlink_metadata().is_ok_and(|meta| meta.is_dir()) => {
            renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)?;
            Err(std::io::ErrorKind::IsADirectory.into())
        }
        // The new one has its name; should the old one stay, the next build sweeps it.
        Ok(()) => {
            let _ = fs::remove_file(new);
            Ok(())
        }
        // A file system that cannot; or the old one is gone.
        Err(_) => fs::rename(new, old),
    }
}

fn denied(action: &str, path: &Path, source: std::io::Error) -> Error {
    let hint = match source.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that you can write to with --output-dir"
        }
        std::io::ErrorKind::Unsupported => "the file system lacks O_TMPFILE; name another with --output-dir",
        _ => "",
    };
    let error = Error::io(Kind::Build, action, path, source);
    if hint.is_empty() { error } else { error.hint(hint) }
}

fn exists(path: &Path) -> Error {
    Error::build(format!("failed to write {}: it exists already", path.display()))
        .hint("--force overwrites it, --output-dir names another directory")
}

/// Types of file systems that are elsewhere, or in a process (statfs(2)): CephFS, CIFS, FUSE and SMB.
const TELL_LATE: [u32; 4] = [0x00c3_6400, 0xff53_4d42, 0x6573_5546, 0xfe53_4d42];

impl Pending {
    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another handle of the open file, for a writer that takes one.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn handle(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(|source| Error::io(Kind::Build, "open again", &self.path, source))
    }

    fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The path that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small artifact whole.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| full(&self.path, source))
    }

    /// Waits until a file system that takes bytes before it knows whether it has room for them has told.
    ///
    /// # Errors
    /// A full disk; other I/O errors, each of which the kernel tells of once (fsync(2)).
    fn hear_out(&self) -> Result<(), Error> {
        let tells_late = rustix::fs::fstatfs(&self.file).is_ok_and(|fs| TELL_LATE.contains(&(fs.f_type as u32)));
        if tells_late { self.file.sync_data().map_err(|source| full(&self.path, source)) } else { Ok(()) }
    }

    /// Gives a file its name that the next build makes anew.
    ///
    /// # Errors
    /// As [`Pending::publish`].
    pub fn put(self) -> Result<PathBuf, Error> {
        self.hear_out()?;
        self.link()
    }

    /// Makes a single file durable and gives it its name.
    ///
    /// # Errors
    /// A file is in the way and may not be replaced; I/O errors.
    pub fn publish(self) -> Result<PathBuf, Error> {
        self.file.sync_data().map_err(|source| full(&self.path, source))?;
        self.link()
    }

    /// Gives the file its name. It is not made durable: see docs/decisions/outputs.md.
    fn link(self) -> Result<PathBuf, Error> {
        let fd = self.file.as_fd();
        let link = |to: &Path| {
            use std::os::fd::AsRawFd;
            let magic = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::linkat(CWD, magic.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW)
        };
        match link(&self.path) {
            Ok(()) => Ok(self.path),
            Err(rustix::io::Errno::EXIST) if self.force => {
                // A name of this process only, replaced within the same moment.
                sweep_beside(&self.path);
                let beside = self.path.with_file_name(beside(&self.name(), std::process::id()));
                let _ = fs::remove_file(&beside);
                link(&beside).map_err(|source| denied("write", &beside, source.into()))?;
                replace(&beside, &self.path).map_err(|source| {
                    let _ = fs::remove_file(&beside);
                    denied("rename to", &self.path, source)
                })?;
                Ok(self.path)
            }
            Err(rustix::io::Errno::EXIST) => Err(exists(&self.path)),
            Err(source) => Err(denied("write", &self.path, source.into())),
        }
    }
}

/// An I/O error while writing, told as what it is.
pub fn full(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return Error::io(Kind::Build, "write: Insufficient disk space for", path, source)
            .hint("free some space, or name another directory with --output-dir");
    }
    Error::io(Kind::Build, "write", path, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_unasked_and_nothing_is_left_behind() {
        let home = tempfile::tempdir().unwrap();
        let mut target = Target { directory: home.path().join("out"), force: false };
        target.prepare(&["a".into()]).unwrap();
        let begin = |target: &Target, text: &[u8]| {
            let mut pending = target.begin("a").unwrap();
            pending.write(text).unwrap();
            pending
        };
        drop(begin(&target, b"never published"));
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 0);
        begin(&target, b"one").publish().unwrap();
        assert!(target.prepare(&["a".into()]).is_err());
        assert!(begin(&target, b"two").publish().is_err());
        target.force = true;
        begin(&target, b"three").publish().unwrap();
        assert_eq!(fs::read(target.directory.join("a")).unwrap(), b"three");
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 1);
        // Never a directory, even an empty one.
        fs::remove_file(target.directory.join("a")).unwrap();
        fs::create_dir(target.directory.join("a")).unwrap();
        begin(&target, b"four").publish().unwrap_err();
        assert!(target.directory.join("a").is_dir());
        fs::remove_dir(target.directory.join("a")).unwrap();
        begin(&target, b"five").publish().unwrap();
        // What a process left that was killed between the two steps of a replacement.
        for name in [".a.123", ".a.mine", ".ab.123", ".a."] {
            fs::write(target.directory.join(name), b"").unwrap();
        }
        // Another process is about to give this one its name.
        fs::write(target.directory.join(".a.45"), b"").unwrap();
        let held = File::open(target.directory.join(".a.45")).unwrap();
        held.try_lock().unwrap();
        sweep_beside(&target.directory.join("a"));
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 5);
        drop(held);
        sweep_beside(&target.directory.join("a"));
        assert_eq!(fs::read_dir(&target.directory).unwrap().count(), 4);
        assert!(!target.directory.join(".a.123").exists());
    }

    #[test]
    fn what_a_killed_build_left_of_a_set_is_taken_back() {
        let home = tempfile::tempdir().unwrap();
        let target = Target { directory: home.path().to_path_buf(), force: false };
        let names = ["a", "b", "sums"].map(String::from);
        let path = |name: &str| home.path().join(name);
        fs::write(path("a"), b"finished, then killed").unwrap();
        fs::write(path("b"), b"somebody else's").unwrap();
        let meta = fs::metadata(path("a")).unwrap();
        fs::write(path(".sums.unfinished"), format!("1\n{} {} a\n1 1 b\n1 2 sums\n", meta.dev(), meta.ino())).unwrap();
        let error = target.prepare(&names).unwrap_err();
        assert!(error.to_string().contains("/b:"), "{error}");
        assert!(!path("a").exists() && !path(".sums.unfinished").exists());
        fs::remove_file(path("b")).unwrap();
        // Killed just after the new file and the old one had changed places: the old one comes back.
        fs::write(path("a"), b"new").unwrap();
        fs::write(path(".a.7"), b"old").unwrap();
        let meta = fs::metadata(path("a")).unwrap();
        fs::write(path(".sums.unfinished"), format!("7\n{} {} a\n", meta.dev(), meta.ino())).unwrap();
        target.prepare(&["b".into(), "sums".into()]).unwrap();
        assert_eq!(fs::read(path("a")).unwrap(), b"old");
        fs::remove_file(path("a")).unwrap();
        target.prepare(&names).unwrap();
        let ready = names.iter().map(|name| target.begin(name).unwrap()).collect();
        target.publish_all(ready).unwrap().settle();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }
}
