//! Layers one by one.

use std::time::{SystemTime, UNIX_EPOCH};

use layers::{Blake3, Change, Entry, Kind as EntryKind, Listed, Store, StoredLayer};
use rayon::prelude::*;
use serde::Serialize;

use super::lineage::Lineage;
use crate::error::{Error, Kind, ResultExt};

/// What `layers ls` says of a layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Its id.
    pub id: Blake3,
    /// What made it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// Bytes of its files; absent: its index is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How many files it brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// When it was last asked for, in seconds since the epoch, to the hour; absent: no step is known that
    /// makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// What `layers info` says of a layer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Info {
    /// Its id.
    pub id: String,
    /// What made it, in words.
    pub made: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// Regular files.
    pub files: usize,
    /// Further names of files.
    pub hard_links: usize,
    /// Directories.
    pub directories: usize,
    /// Symbolic links.
    pub symlinks: usize,
    /// Devices, pipes and sockets.
    pub special: usize,
    /// Paths that it takes away.
    pub removed: usize,
    /// Directories of which it hides what is below.
    pub opaque: usize,
    /// When it was last asked for, in seconds since the epoch.
    pub used: Option<u64>,
    /// Keys of the steps that made it.
    pub keys: Vec<String>,
    /// Specs that were last built of it.
    pub specs: Vec<String>,
}

fn seconds(time: Option<SystemTime>) -> Option<u64> {
    time?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Every layer, those used last first.
///
/// # Errors
/// I/O errors.
pub fn rows(store: &Store) -> Result<Vec<Row>, Error> {
    let listed = store.list().or_fail(Kind::Other, || "failed to list the layers".into())?;
    let row = |listed: &Listed| -> Row {
        let layer = store.peek(&listed.id).ok().flatten();
        Row {
            id: listed.id,
            made: layer.as_ref().and_then(StoredLayer::made),
            bytes: layer.as_ref().map(StoredLayer::bytes),
            files: layer.as_ref().map(|layer| layer.layer.files().count()),
            used: seconds(listed.used),
        }
    };
    let mut rows: Vec<Row> = listed.par_iter().map(row).collect();
    rows.sort_by(|one, other| (other.used, &one.made, one.id).cmp(&(one.used, &other.made, other.id)));
    Ok(rows)
}

/// What is known of one layer.
///
/// # Errors
/// I/O errors.
pub fn info(store: &Store, layer: &StoredLayer, lineages: &[Lineage]) -> Result<Info, Error> {
    let failed = || format!("failed to look up the layer {}", layer.id);
    let listed = store.list().or_fail(Kind::Other, failed)?;
    let answers = store.answers(&layer.id).or_fail(Kind::Other, failed)?;
    let is_of = |lineage: &&Lineage| lineage.layers.iter().any(|member| member.id == layer.id);
    let mut info = Info {
        id: layer.id.to_hex(),
        made: layer.made(),
        bytes: layer.bytes(),
        used: seconds(listed.iter().find(|listed| listed.id == layer.id).and_then(|listed| listed.used)),
        keys: answers.iter().map(|answer| answer.key.to_hex()).collect(),
        specs: lineages.iter().filter(is_of).map(|lineage| lineage.name.clone()).collect(),
        ..Info::default()
    };
    for change in layer.layer.changes.values() {
        let count = match change {
            Change::Remove => &mut info.removed,
            Change::Set(entry) | Change::Replace(entry) => {
                if matches!(change, Change::Replace(_)) {
                    info.opaque = info.opaque.saturating_add(1);
                }
                match entry {
                    Entry { kind: EntryKind::File(_), .. } => &mut info.files,
                    Entry { kind: EntryKind::Directory, .. } => &mut info.directories,
                    Entry { kind: EntryKind::Symlink(_), .. } => &mut info.symlinks,
                    Entry { kind: EntryKind::HardLink(_), .. } => &mut info.hard_links,
                    _ => &mut info.special,
                }
            }
        };
        *count = count.saturating_add(1);
    }
    Ok(info)
}
