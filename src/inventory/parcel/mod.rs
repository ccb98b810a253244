//! A layer on its way: all that a store has of it in one tar, and back into a store.
//!
//! ```text
//! index           the canonical index; its BLAKE3 is the layer's id
//! besides         what lies among its files without its index saying all of it, as an index
//! made            what made it, in words
//! keys/KEY        the note of a step that made it
//! contents/HEX    the bytes of files, by BLAKE3, each once
//! ```
//! Members are in this order, those of a kind sorted by name, so a layer whose keys are the same has the
//! same parcel everywhere.

#[cfg(test)]
mod hostile;
mod place;
mod read;
mod write;

use layers::{Answer, Change, Entry, Key, KeyBuilder, Kind, Layer, Staging, Store, StoredLayer, TreePath};

use crate::error::{Error, Kind as ErrorKind, ResultExt};

pub use read::read;
pub use write::{write, write_rest};

/// Bytes of a file that are moved at once.
const COPY_BYTES: usize = 256 << 10;

/// Which notes of steps are taken out of a parcel. The others are passed over, unread.
#[derive(Clone, Copy, Debug)]
pub enum Notes<'k> {
    /// None: nobody would believe them.
    None,
    /// That of one key.
    Of(&'k Key),
    /// All.
    All,
}

impl Notes<'_> {
    fn has(self, key: &Key) -> bool {
        match self {
            Self::None => false,
            Self::Of(own) => own == key,
            Self::All => true,
        }
    }
}

/// What came out of a parcel.
#[derive(Debug)]
pub struct Unpacked {
    /// The layer's changes.
    pub layer: Layer,
    /// What made it, in words.
    pub made: Option<String>,
    /// Keys that it says the layer is the answer to, as far as they were asked for.
    pub answers: Vec<Answer>,
}

fn is_name_of_below(layer: &Layer, change: &Change) -> bool {
    let own = |path: &TreePath| matches!(layer.changes.get(path), Some(Change::Set(_) | Change::Replace(_)));
    matches!(change, Change::Set(Entry { kind: Kind::HardLink(target), .. }) if !own(target))
}

/// Takes what came out of a parcel into the store. Only with `trust` do builds use the layer, and does it answer
/// the keys that the parcel says.
///
/// # Errors
/// I/O errors of the store.
pub fn keep(store: &Store, staging: Staging, unpacked: Unpacked, trust: bool) -> Result<StoredLayer, Error> {
    let Unpacked { layer, made, answers } = unpacked;
    // Under a key of its own, so that cleaning does not take it for a leftover.
    let key = KeyBuilder::new("imported layer", 1).field("layer", layer.id()).finish();
    let stored = match trust {
        true => store.publish(staging, layer, &key, b""),
        false => store.shelve(staging, layer, &key),
    };
    let stored = stored.or_fail(ErrorKind::Other, || "failed to keep the layer".into())?;
    if let Some(made) = &made {
        stored.describe(made);
    }
    for answer in answers.iter().filter(|_| trust) {
        let kept = store.remember(&answer.key, &stored, &answer.note);
        kept.or_fail(ErrorKind::Other, || "failed to keep the layer".into())?;
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    use ::oci::archive::Rewind;
    use layers::{Content, Meta, Time};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    /// A layer with everything that plain files can and cannot say.
    fn layer(store: &Store) -> StoredLayer {
        let staging = store.stage().unwrap();
        let files = staging.files().unwrap();
        fs::create_dir_all(files.join("usr/bin")).unwrap();
        fs::create_dir_all(files.join("etc/below")).unwrap();
        fs::write(files.join("etc/below/file"), b"bytes").unwrap();
        fs::set_permissions(files.join("usr"), fs::Permissions::from_mode(0o750)).unwrap();
        for name in ["one", "same"] {
            fs::write(files.join("usr/bin").join(name), b"bytes").unwrap();
        }
        fs::write(files.join("usr/moved"), b"of below").unwrap();
        fs::hard_link(files.join("usr/bin/one"), files.join("usr/bin/two")).unwrap();
        std::os::unix::fs::symlink("one", files.join("usr/bin/link")).unwrap();
        let time = Time::seconds(1_000_000_000);
        let meta = |mode| Meta { uid: 5, ..Meta::root_owned(mode, time) };
        let mut layer = Layer::of([
            (path("etc"), Entry::directory(meta(0o755))),
            (path("etc/below/file"), Entry::file(Content::of(b"bytes"), meta(0o644))),
            (path("usr/bin"), Entry::directory(meta(0o2755))),
            (path("usr/bin/null"), Entry { kind: Kind::CharDevice { major: 1, minor: 3 }, meta: meta(0o666) }),
            (path("usr/bin/link"), Entry::symlink(b"one", time)),
            (path("usr/bin/one"), Entry::file(Content::of(b"bytes"), meta(0o4755))),
            (path("usr/bin/same"), Entry::file(Content::of(b"bytes"), meta(0o600))),
            (path("usr/bin/two"), Entry { kind: Kind::HardLink(path("usr/bin/one")), meta: Meta::default() }),
            (path("usr/moved"), Entry { kind: Kind::HardLink(path("usr/below")), meta: Meta::default() }),
        ]);
        layer.changes.insert(path("usr/gone"), Change::Remove);
        let key = KeyBuilder::new("test", 1).finish();
        store.publish(staging, layer, &key, b"note").unwrap()
    }

    fn unpack(bytes: &[u8], store: &Store) -> Result<(Staging, Unpacked), Error> {
        let staging = store.stage().unwrap();
        let file = staging.path().join("parcel");
        fs::write(&file, bytes).unwrap();
        let source = Rewind(File::open(&file).unwrap());
        let unpacked = read(source, bytes.len() as u64, &staging, None, Notes::All)?;
        fs::remove_file(file).unwrap();
        Ok((staging, unpacked))
    }

    #[test]
    fn a_layer_goes_from_store_to_store() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Store::open(one.path(), "a").unwrap(), Store::open(other.path(), "b").unwrap());
        let layer = layer(&from);
        layer.describe("a test");
        let answers = from.answers(&layer.id).unwrap();
        let mut parcel = Vec::new();
        write(&layer, &answers, &mut parcel).unwrap();
        let (staging, unpacked) = unpack(&parcel, &to).unwrap();
        assert_eq!(unpacked.answers, answers);
        let stored = keep(&to, staging, unpacked, false).unwrap();
        assert_eq!((stored.id, stored.made().as_deref()), (layer.id, Some("a test")));
        assert!(stored.is_whole() && stored.misshapen().is_empty());
        let mode =
            |name: &str| fs::symlink_metadata(stored.directory().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode("usr"), mode("usr/bin"), mode("usr/bin/one")], [0o750, 0o755, 0o755]);
        assert_eq!(fs::read(stored.directory().join("usr/moved")).unwrap(), b"of below");
        // Keys are believed only where somebody says so.
        assert!(to.recall(&answers[0].key).unwrap().is_none());
        let (staging, unpacked) = unpack(&parcel, &to).unwrap();
        keep(&to, staging, unpacked, true).unwrap();
        assert_eq!(to.recall(&answers[0].key).unwrap().unwrap().1, b"note");
    }

    #[test]
    fn a_damaged_parcel_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "a").unwrap();
        let layer = layer(&store);
        let mut parcel = Vec::new();
        write(&layer, &store.answers(&layer.id).unwrap(), &mut parcel).unwrap();
        let found = parcel.windows(5).rposition(|window| window == b"bytes").unwrap();
        let mut changed = parcel.clone();
        changed[found] ^= 1;
        assert!(unpack(&changed, &store).unwrap_err().to_string().contains("content is not what its index says"));
        for length in (0..parcel.len() - 1024).step_by(256) {
            assert!(unpack(&parcel[..length], &store).is_err(), "{length}");
        }
        // Where the index is kept apart, content of another layer is refused.
        let staging = store.stage().unwrap();
        let mut rest = Vec::new();
        write_rest(&layer, &[], &mut rest).unwrap();
        let file = staging.path().join("parcel");
        fs::write(&file, &rest).unwrap();
        let read =
            read(Rewind(File::open(&file).unwrap()), rest.len() as u64, &staging, Some(Layer::default()), Notes::All);
        assert!(read.unwrap_err().to_string().contains("that its index does not name"));
        drop(staging);
        assert!(fs::read_dir(home.path().join("tmp")).unwrap().count() <= 1);
    }
}
