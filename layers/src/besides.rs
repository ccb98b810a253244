//! Files of a layer whose bytes its index does not say: a further name of a file of the layers below, which
//! overlay had to copy. They are rare. What they hold is noted when the layer is kept, so that damage to
//! them is found as well.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::error::IoContext;
use crate::index::INDEX_BYTES_MAX;
use crate::upkeep::holds;
use crate::{Blake3, Change, Content, Entry, Error, Kind, Layer, Meta, StoredLayer, TreePath};

/// The file beside a layer's index.
const NAME: &str = "besides";
/// Bytes of a file that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The paths of a layer that are further names of files of the layers below.
fn names_of_below(layer: &Layer) -> impl Iterator<Item = &TreePath> {
    let own = |path: &TreePath| matches!(layer.changes.get(path), Some(Change::Set(_) | Change::Replace(_)));
    layer.changes.iter().filter_map(move |(path, change)| match change {
        Change::Set(Entry { kind: Kind::HardLink(target), .. }) if !own(target) => Some(path),
        _ => None,
    })
}

/// Notes what such files of a layer hold, which lies in a directory as it will in the store.
///
/// # Errors
/// I/O errors.
pub(crate) fn note(layer: &Layer, place: &Path) -> Result<(), Error> {
    let files = place.join("fs");
    let mut found = Vec::new();
    for path in names_of_below(layer) {
        let host = path.under(&files);
        if !host.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(&host).at("open", &host)?;
        let size = std::io::copy(&mut file, &mut hasher).at("read", &host)?;
        let content = Content { digest: Blake3(*hasher.finalize().as_bytes()), size };
        found.push((path.clone(), Entry::file(content, Meta::default())));
    }
    if found.is_empty() {
        return Ok(());
    }
    let path = place.join(NAME);
    fs::write(&path, Layer::of(found).encode()).at("write", path)
}

impl StoredLayer {
    /// Of the files whose bytes the index does not say, those that do not hold what they held when the layer
    /// was kept.
    pub fn changed_besides(&self) -> Vec<TreePath> {
        let directory = self.directory();
        let mut noted = self.noted().unwrap_or_default();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut changed = Vec::new();
        for path in names_of_below(&self.layer) {
            let host = path.under(&directory);
            let is_whole = match noted.changes.remove(path) {
                Some(Change::Set(Entry { kind: Kind::File(content), .. })) => {
                    holds(&host, &content, &mut buffer).unwrap_or(false)
                }
                _ => !host.symlink_metadata().is_ok_and(|meta| meta.is_file()),
            };
            if !is_whole {
                changed.push(path.clone());
            }
        }
        changed
    }

    fn noted(&self) -> Option<Layer> {
        let mut bytes = Vec::new();
        File::open(self.place().join(NAME)).ok()?.take(INDEX_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Layer::decode(&bytes).ok()
    }
}
