//! What packing a layer came to, remembered: who asks a registry whether it has a blob need not make
//! the blob to know its digest.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ::image::compress::Compression;
use layers::{Blake3, Key, KeyBuilder};
use oci_spec::image::MediaType;
use tempfile::NamedTempFile;

use crate::error::IoContext;
use crate::{Error, Packed};

/// Grows when a tar or what a compressor makes of it changes.
const VERSION: u32 = 1;
/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// A directory of results of packing. What it says is a hint: a blob that has to be sent is packed
/// again, and named by what that gives.
#[derive(Clone, Debug)]
pub struct Memory {
    root: PathBuf,
}

/// What the blob of a layer is a function of.
pub fn key(layer: &Blake3, compression: Compression) -> Key {
    KeyBuilder::new("oci blob", VERSION)
        .field("program", env!("CARGO_PKG_VERSION"))
        .field("layer", layer)
        .field("compression", format!("{compression:?}"))
        .finish()
}

impl Memory {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(root: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).at("create directory", root)?;
        Ok(Self { root: root.into() })
    }

    /// Remembers.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remember(&self, key: &Key, packed: &Packed) -> Result<(), Error> {
        if !packed.lost.is_empty() {
            // Whoever asks again wants to be told of them.
            return Ok(());
        }
        let Packed { diff_id, tar_bytes, digest, size, media_type, .. } = packed;
        let line = format!("{diff_id} {tar_bytes} {digest} {size} {media_type}");
        let path = self.root.join(key.to_hex());
        let mut file = NamedTempFile::new_in(&self.root).at("create a file in", &self.root)?;
        writeln!(file, "{} {line}", Blake3::of(line.as_bytes())).at("write", &path)?;
        file.persist(&path).map(drop).map_err(|error| error.error).at("write", path)
    }

    /// What was remembered; what is damaged was not.
    ///
    /// # Errors
    /// I/O errors other than "not there".
    pub fn recall(&self, key: &Key) -> Result<Option<Packed>, Error> {
        let path = self.root.join(key.to_hex());
        match fs::metadata(&path) {
            Ok(meta) if meta.len() <= LINE_BYTES_MAX => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("look at", path),
        }
        let bytes = fs::read(&path).at("read", path)?;
        Ok(String::from_utf8(bytes).ok().and_then(|text| parse(text.strip_suffix('\n')?)))
    }
}

fn parse(text: &str) -> Option<Packed> {
    let (sum, line) = text.split_once(' ')?;
    if Blake3::of(line.as_bytes()).to_hex() != sum {
        return None;
    }
    let mut words = line.splitn(5, ' ');
    Some(Packed {
        diff_id: words.next()?.parse().ok()?,
        tar_bytes: words.next()?.parse().ok()?,
        digest: words.next()?.parse().ok()?,
        size: words.next()?.parse().ok()?,
        media_type: MediaType::from(words.next()?),
        lost: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use layers::{Layer, MemoryContents};

    use super::*;

    #[test]
    fn what_is_damaged_was_never_remembered() {
        let home = tempfile::tempdir().unwrap();
        let memory = Memory::open(home.path()).unwrap();
        let layer = Layer::default();
        let (_, packed) = crate::pack(&layer, &MemoryContents::default(), Compression::Zstd(3), 1, Vec::new()).unwrap();
        let key = key(&layer.id(), Compression::Zstd(3));
        assert!(memory.recall(&key).unwrap().is_none());
        memory.remember(&key, &packed).unwrap();
        assert_eq!(memory.recall(&key).unwrap(), Some(packed));
        assert!(memory.recall(&super::key(&layer.id(), Compression::Zstd(4))).unwrap().is_none());
        let path = home.path().join(key.to_hex());
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(memory.recall(&key).unwrap().is_none(), "{at}");
        }
    }
}
