//! Where configuration files are, and which of them count (sysusers.d(5), "Configuration Directories
//! and Precedence").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::request::Request;
use super::{Error, LINES_MAX, take};

/// From the one that counts most.
const DIRECTORIES: [&str; 4] =
    ["/etc/sysusers.d", "/run/sysusers.d", "/usr/local/lib/sysusers.d", "/usr/lib/sysusers.d"];

/// Most files that are read; a distribution has some dozens.
const FILES_MAX: usize = 4096;

/// Largest sum of files, in bytes.
const ALL_MAX: u64 = 16 << 20;

/// Reads the configuration files of a tree in their order, with lines in the place of one of them.
/// Only the lines must be right; what is wrong in a file is a note.
pub(super) fn read(root: &Path, replaced: &Path, lines: &[u8], request: &mut Request) -> Result<(), Error> {
    let mut found = find(root)?;
    if let (Some(name), Some(rank)) = (replaced.file_name(), rank(replaced)) {
        let is_best = found.get(name).is_none_or(|(best, _)| rank <= *best);
        if is_best {
            found.insert(name.into(), (rank, replaced.into()));
        }
    }
    let mut left = ALL_MAX;
    for (_, path) in found.values() {
        if path == replaced {
            request.read("standard input", lines)?;
            continue;
        }
        let shown = path.display().to_string();
        let text = match text(root, path) {
            Ok(text) => text,
            Err(error) => {
                request.notes.push(format!("left out: failed to {error}"));
                continue;
            }
        };
        left = u64::try_from(text.len())
            .ok()
            .and_then(|length| left.checked_sub(length))
            .ok_or(Error::TooLarge { what: "the files of sysusers.d".into(), max: ALL_MAX })?;
        if let Some(error) = request.read_all(&shown, &text) {
            request.notes.push(format!("left out: failed to {error}"));
        }
    }
    Ok(())
}

/// How much a file's directory counts, from 0, the most.
fn rank(file: &Path) -> Option<usize> {
    let directory = file.parent()?;
    DIRECTORIES.iter().position(|known| Path::new(known) == directory)
}

/// The files that count, by name.
fn find(root: &Path) -> Result<BTreeMap<OsString, (usize, PathBuf)>, Error> {
    let mut found = BTreeMap::new();
    for (rank, directory) in DIRECTORIES.iter().enumerate() {
        let host = root.join(directory.trim_start_matches('/'));
        let entries = match fs::read_dir(&host) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(Error::io("read", &host)(error)),
        };
        for entry in entries {
            let name = entry.map_err(Error::io("read", &host))?.file_name();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            let is_meant = !is_hidden && Path::new(&name).extension() == Some(OsStr::new("conf"));
            if is_meant && !found.contains_key(&name) {
                let path = Path::new(directory).join(&name);
                found.insert(name, (rank, path));
            }
            if found.len() > FILES_MAX {
                return Err(Error::TooLarge { what: "the files of sysusers.d".into(), max: ALL_MAX });
            }
        }
    }
    Ok(found)
}

/// A file's lines; none where it is a device, as of a file that is masked by a link to /dev/null.
fn text(root: &Path, path: &Path) -> Result<Vec<u8>, Error> {
    let host = root.join(path.strip_prefix("/").unwrap_or(path));
    if !fs::metadata(&host).map_err(Error::io("read", &host))?.is_file() {
        return Ok(Vec::new());
    }
    let file = File::open(&host).map_err(Error::io("read", &host))?;
    take(file, &path.display().to_string(), LINES_MAX)
}
