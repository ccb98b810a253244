//! Reads image layouts of others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use layers::Sha256;
use oci_spec::image::{Descriptor, ImageIndex, MediaType, OciLayout};

use super::{BLOBS, INDEX_NAME, MARKER_NAME};
use crate::archive::{Form, Members, Refusal, Rewind};
use crate::blob::{self, Blobs};
use crate::document::{self, Members as Keys};
use crate::error::IoContext;
use crate::{Error, archive};

/// Largest marker and index that are read, in bytes.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// Most members of a layout that is a tar file.
const MEMBERS_MAX: usize = 100_000;

/// A layout that somebody made. What it holds is verified where it is used.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    place: Place,
    index: ImageIndex,
}

#[derive(Debug)]
enum Place {
    Directory,
    /// The tar, and where in it each blob lies.
    Archive(File, BTreeMap<Sha256, (u64, u64)>),
}

impl Layout {
    /// Opens a directory or a tar file.
    ///
    /// # Errors
    /// It is no layout, or one of another version; I/O errors.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).at("open", path)?;
        let meta = file.metadata().at("look at", path)?;
        let (place, marker, index) = if meta.is_dir() {
            (Place::Directory, small(&path.join(MARKER_NAME))?, small(&path.join(INDEX_NAME))?)
        } else if meta.is_file() {
            let (blobs, marker, index) = scan(path, &file, meta.len())?;
            (Place::Archive(file, blobs), marker, index)
        } else {
            return Err(not_one(path, "it is neither a directory nor a file"));
        };
        let marker: OciLayout = serde_json::from_slice(&marker).map_err(|error| not_one(path, &error.to_string()))?;
        if !marker.image_layout_version().starts_with("1.") {
            return Err(not_one(path, "its version is not 1"));
        }
        let name = path.join(INDEX_NAME).display().to_string();
        let index = document::parse(&index, &name, &MediaType::ImageIndex, Keys::Index)?;
        Ok(Self { path: path.into(), place, index })
    }

    /// What it holds.
    pub fn index(&self) -> &ImageIndex {
        &self.index
    }
}

fn not_one(path: &Path, reason: &str) -> Error {
    Error::document(format!("the image layout {}", path.display()), reason)
}

fn small(path: &Path) -> Result<Vec<u8>, Error> {
    let meta = fs::metadata(path).at("look at", path)?;
    if !meta.is_file() || meta.len() > SMALL_BYTES_MAX {
        return Err(not_one(path, "it is not a small file"));
    }
    let mut bytes = Vec::new();
    File::open(path).at("open", path)?.take(SMALL_BYTES_MAX).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

type Scanned = (BTreeMap<Sha256, (u64, u64)>, Vec<u8>, Vec<u8>);

fn scan(path: &Path, file: &File, size: u64) -> Result<Scanned, Error> {
    let refused = |refusal| match refusal {
        Refusal::Damaged(reason) => not_one(path, &reason),
        Refusal::Io(source) => Error::Io { action: "read", path: path.into(), source },
    };
    let source = Rewind(file.try_clone().at("open", path)?);
    let mut members = Members::new(source, size);
    let (mut blobs, mut marker, mut index) = (BTreeMap::new(), None, None);
    let mut count = 0usize;
    while let Some(head) = members.next_member().map_err(refused)? {
        count = count.saturating_add(1);
        if count > MEMBERS_MAX {
            return Err(not_one(path, "it has too many members"));
        }
        if head.form != Form::File {
            continue;
        }
        let name = head.name.strip_prefix(b"./").unwrap_or(&head.name);
        let mut document = || -> Result<Vec<u8>, Error> {
            if head.size > SMALL_BYTES_MAX {
                return Err(not_one(path, &format!("{} is too large", archive::shown(name))));
            }
            let mut bytes = vec![0; usize::try_from(head.size).unwrap_or_default()];
            members.read_body(&mut bytes).map_err(refused)?;
            Ok(bytes)
        };
        if name == MARKER_NAME.as_bytes() {
            marker = Some(document()?);
        } else if name == INDEX_NAME.as_bytes() {
            index = Some(document()?);
        } else if let Some(digest) = blob_name(name) {
            blobs.insert(digest, (members.offset(), head.size));
        }
    }
    let missing = |what: &str| not_one(path, &format!("it has no {what}"));
    Ok((blobs, marker.ok_or_else(|| missing(MARKER_NAME))?, index.ok_or_else(|| missing(INDEX_NAME))?))
}

fn blob_name(name: &[u8]) -> Option<Sha256> {
    let hex = name.strip_prefix(BLOBS.as_bytes())?.strip_prefix(b"/")?;
    std::str::from_utf8(hex).ok()?.parse().ok()
}

impl Blobs for Layout {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = blob::sha256(descriptor.digest())?;
        let missing = || Error::Blob { digest: descriptor.digest().to_string(), reason: "it is not there".into() };
        match &self.place {
            Place::Directory => {
                let path = self.path.join(BLOBS).join(digest.to_hex());
                // Opening a pipe would wait for its other end.
                match fs::metadata(&path) {
                    Ok(meta) if meta.is_file() => Ok(Box::new(File::open(&path).at("open", path)?)),
                    Ok(_) => Err(missing()),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(error) => Err(error).at("open", path),
                }
            }
            Place::Archive(file, blobs) => {
                let (at, size) = *blobs.get(&digest).ok_or_else(missing)?;
                Ok(Box::new(Span { file, at, left: size }))
            }
        }
    }
}

/// Part of a file, read without moving the file's own position.
struct Span<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Span<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(count as u64);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
