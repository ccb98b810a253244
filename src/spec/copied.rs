//! The files that a spec names, read to their digests.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layers::{Blake3, Content, TreePath};

use super::resolved::{SourceEntry, SourceKind};

/// Most entries below one copied directory: more is a mistake such as `source: /`.
const ENTRIES_MAX: usize = 200_000;
/// Deepest directory below a copied one.
const DEPTH_MAX: usize = 128;
/// The owner's right to execute (chmod(2), `S_IXUSR`).
const OWNER_EXECUTES: u32 = 0o100;
/// Largest keyring or file of ssh keys, in bytes.
const SMALL_FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It does not exist.
    #[error("it does not exist")]
    Missing,
    /// An operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A socket, a device, a pipe, or a directory where a file must be.
    #[error("{} is {what}", path.display())]
    WrongKind {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// More than anybody means to copy.
    #[error("{} holds more than {ENTRIES_MAX} entries, or nests deeper than {DEPTH_MAX} levels", path.display())]
    TooMuch {
        /// Where.
        path: PathBuf,
    },
    /// A name that an image cannot hold.
    #[error("{}: {source}", path.display())]
    Name {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: layers::Error,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SourceError + 'a {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing,
        _ => SourceError::Io { action, path: path.to_owned(), source },
    }
}

/// Digest and size of a regular file; links are followed.
///
/// # Errors
/// A file that is not there, cannot be read, or is not a regular file.
pub fn digest_file(path: &Path) -> Result<Content, SourceError> {
    // Metadata first: opening a pipe would wait for ever.
    let meta = fs::metadata(path).map_err(failed("look at", path))?;
    if !meta.is_file() {
        return Err(SourceError::WrongKind { path: path.to_owned(), what: kind_of(meta.file_type()) });
    }
    let mut file = File::open(path).map_err(failed("open", path))?;
    let mut hasher = blake3::Hasher::new();
    let size = io::copy(&mut file, &mut hasher).map_err(failed("read", path))?;
    Ok(Content { digest: Blake3(*hasher.finalize().as_bytes()), size })
}

/// The bytes of a small regular file (keys).
///
/// # Errors
/// As [`digest_file`], and a file larger than 4 MiB.
pub fn read_small_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let meta = fs::metadata(path).map_err(failed("look at", path))?;
    if !meta.is_file() {
        return Err(SourceError::WrongKind { path: path.to_owned(), what: kind_of(meta.file_type()) });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("open", path))?;
    file.take(SMALL_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > SMALL_FILE_BYTES_MAX {
        return Err(SourceError::WrongKind { path: path.to_owned(), what: "larger than 4 MiB" });
    }
    Ok(bytes)
}

/// The source and all below it, in path order; links are kept.
///
/// # Errors
/// A source that is not there or cannot be read, and what is neither file, directory nor link.
pub fn read_source(path: &Path) -> Result<Vec<SourceEntry>, SourceError> {
    let mut entries = Vec::new();
    walk(path, TreePath::root(), 0, &mut entries)?;
    entries.sort_by(|a: &SourceEntry, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn walk(path: &Path, at: TreePath, depth: usize, entries: &mut Vec<SourceEntry>) -> Result<(), SourceError> {
    if entries.len() >= ENTRIES_MAX || depth > DEPTH_MAX {
        return Err(SourceError::TooMuch { path: path.to_owned() });
    }
    let meta = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let kind = if meta.is_symlink() {
        let target = fs::read_link(path).map_err(failed("read the link", path))?;
        SourceKind::Symlink(target.as_os_str().as_bytes().to_vec())
    } else if meta.is_dir() {
        SourceKind::Directory
    } else if meta.is_file() {
        let executable = meta.permissions().mode() & OWNER_EXECUTES != 0;
        SourceKind::File { origin: path.to_owned(), content: digest_file(path)?, executable }
    } else {
        return Err(SourceError::WrongKind { path: path.to_owned(), what: kind_of(meta.file_type()) });
    };
    let is_directory = kind == SourceKind::Directory;
    entries.push(SourceEntry { path: at.clone(), kind });
    if is_directory {
        for child in fs::read_dir(path).map_err(failed("list", path))? {
            let name = child.map_err(failed("list", path))?.file_name();
            let below =
                at.join(name.as_bytes()).map_err(|source| SourceError::Name { path: path.join(&name), source })?;
            walk(&path.join(&name), below, depth + 1, entries)?;
        }
    }
    Ok(())
}

fn kind_of(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "not a regular file"
    }
}
