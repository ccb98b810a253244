//! Keeping the store whole and small: layers are looked through once per boot of the machine, and
//! those that nobody has used for long go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::IoContext;
use crate::{Blake3, Content, Error, Store, StoredLayer, open_plain, record};

/// Age of a layer that no key names and no build can still be about to name: the key is written
/// right after the layer.
const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);
/// How exactly the time of a key's last use is kept: a write per use would cost more than it tells.
const USE_GRAIN: Duration = Duration::from_secs(60 * 60);

impl StoredLayer {
    /// Whether every file has its content, and nothing else is wrong.
    pub fn is_whole(&self) -> bool {
        let directory = self.directory();
        let mut buffer = vec![0; 1 << 20];
        let mut files = self.layer.files();
        files.all(|(path, content)| holds(&path.under(&directory), content, &mut buffer).unwrap_or(false))
            && self.misshapen().is_empty()
    }
}

/// Whether a file has this content; `buffer` is where it is read to. A link is no such file, and neither is
/// what lies below one.
pub(crate) fn holds(path: &Path, content: &Content, buffer: &mut [u8]) -> std::io::Result<bool> {
    let mut file = match open_plain(path) {
        Err(error) if is_elsewhere(&error) => return Ok(false),
        opened => opened?,
    };
    if file.metadata()?.len() != content.size {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    loop {
        let count = file.read(buffer)?;
        match buffer.get(..count) {
            Some(bytes) if count > 0 => hasher.update(bytes),
            _ => break,
        };
    }
    Ok(Blake3(*hasher.finalize().as_bytes()) == content.digest)
}

fn is_elsewhere(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::InvalidInput)
        || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP)
}

/// Notes that a key was used.
pub(crate) fn touch(key: &Path) {
    let now = SystemTime::now();
    let recent = fs::metadata(key)
        .and_then(|meta| meta.modified())
        .is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age < USE_GRAIN));
    if !recent {
        // Best effort: a store on a read-only file system still answers.
        let _ = File::options().write(true).open(key).and_then(|file| file.set_modified(now));
    }
}

impl Store {
    /// Forgets the steps that nobody has asked for since `before`, removes the layers that no other
    /// step made, and gives the number of bytes freed.
    ///
    /// # Errors
    /// I/O errors.
    pub fn expire(&self, before: SystemTime) -> Result<u64, Error> {
        self.trim_forgotten(before)?;
        let mut needed = BTreeSet::new();
        let mut old = Vec::new();
        self.each_record(record::HEAD_BYTES, |found, head| match record::layer(head) {
            Some(layer) if found.used >= before => {
                needed.insert(layer.to_hex());
            }
            // One without a layer answers nobody.
            _ => old.push(found.path.to_path_buf()),
        })?;
        for path in old {
            fs::remove_file(&path).at("remove", &path)?;
        }
        let layers = self.root().join("layers");
        let mut freed = 0u64;
        for entry in fs::read_dir(&layers).at("list", &layers)? {
            let path = entry.at("list", &layers)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let meta = fs::metadata(&path).at("look at", &path)?;
            let young = meta.modified().is_ok_and(|made| made.elapsed().is_ok_and(|age| age < ORPHAN_AGE));
            if needed.contains(&name) || young {
                continue;
            }
            freed = freed.saturating_add(size_of(&path));
            self.drop_directory(&path)?;
        }
        Ok(freed)
    }
}

/// Bytes of the files below a directory; what cannot be read counts nothing.
pub fn size_of(directory: &Path) -> u64 {
    let mut sum = 0u64;
    let mut pending = vec![directory.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().filter_map(Result::ok) {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => pending.push(entry.path()),
                Ok(meta) => sum = sum.saturating_add(meta.len()),
                Err(_) => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, KeyBuilder, Layer, Meta, Time, TreePath};

    fn publish(store: &Store, name: &str) -> (crate::Key, StoredLayer) {
        let staging = store.stage().unwrap();
        fs::write(staging.files().unwrap().join(name), b"hello").unwrap();
        let meta = Meta::root_owned(0o644, Time::seconds(1));
        let layer = Layer::of([(TreePath::new(name).unwrap(), Entry::file(Content::of(b"hello"), meta))]);
        let key = KeyBuilder::new("test", 1).field("name", name).finish();
        (key, store.publish(staging, layer, &key, b"").unwrap())
    }

    #[test]
    fn a_layer_that_lost_bytes_is_found_out_after_a_reboot() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "first boot").unwrap();
        let (key, made) = publish(&store, "a");
        let (other, _) = publish(&store, "b");
        // What a power cut leaves of a file that was never synced: its size, and nothing in it.
        fs::write(made.directory().join("a"), [0; 5]).unwrap();
        assert!(store.recall(&key).unwrap().is_some(), "within one boot nothing is read twice");
        let store = Store::open(home.path(), "second boot").unwrap();
        assert!(store.recall(&key).unwrap().is_none());
        assert!(store.recall(&other).unwrap().is_some());
        let (_, made) = publish(&store, "a");
        assert!(store.recall(&key).unwrap().is_some());
        // The same layer made again without asking for it first must not end in the damaged one.
        fs::write(made.directory().join("a"), [0; 5]).unwrap();
        let (_, again) = publish(&Store::open(home.path(), "third boot").unwrap(), "a");
        assert!(again.is_whole());
    }

    #[test]
    fn every_damage_that_overlay_would_show_is_found_out_after_a_reboot() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "0").unwrap();
        let meta = Meta::root_owned(0o755, Time::seconds(1));
        let path = |text: &str| TreePath::new(text).unwrap();
        let layer = Layer::of([
            (path("directory"), Entry::directory(meta)),
            (path("link"), Entry::symlink(b"directory", Time::default())),
        ]);
        let key = KeyBuilder::new("test", 1).finish();
        type Damage = fn(&Path);
        let damages: [Damage; 5] = [
            |_| {},
            |at| fs::remove_dir(at.join("directory")).unwrap(),
            |at| {
                fs::remove_file(at.join("link")).unwrap();
                std::os::unix::fs::symlink("/etc", at.join("link")).unwrap();
            },
            |at| fs::write(at.join("directory/planted"), b"").unwrap(),
            |at| fs::create_dir(at.join("planted")).unwrap(),
        ];
        for (number, damage) in damages.into_iter().enumerate() {
            let staging = store.stage().unwrap();
            let files = staging.files().unwrap();
            fs::create_dir(files.join("directory")).unwrap();
            std::os::unix::fs::symlink("directory", files.join("link")).unwrap();
            let made = store.publish(staging, layer.clone(), &key, b"").unwrap();
            damage(&made.directory());
            let after = Store::open(home.path(), &format!("boot {number}")).unwrap();
            assert_eq!(after.recall(&key).unwrap().is_some(), number == 0, "{number}");
            store.forget(&made.id).unwrap();
        }
    }

    #[test]
    fn what_nobody_uses_goes_and_what_two_steps_made_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "").unwrap();
        let (old, layer) = publish(&store, "a");
        let (shared, _) = publish(&store, "b");
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        let age = |path: &Path| File::open(path).unwrap().set_modified(long_ago).unwrap();
        for entry in fs::read_dir(home.path().join("layers")).unwrap() {
            age(&entry.unwrap().path());
        }
        for key in [&old, &shared] {
            age(&home.path().join("keys").join(key.to_hex()));
        }
        assert!(store.recall(&shared).unwrap().is_some(), "and this notes its use");
        let kept = KeyBuilder::new("test", 1).field("other step", "same layer").finish();
        store.remember(&kept, &layer, b"").unwrap();
        assert_eq!(store.expire(SystemTime::now() - Duration::from_secs(3600)).unwrap(), 0);
        assert!(store.recall(&old).unwrap().is_none() && store.recall(&kept).unwrap().is_some());
        age(&home.path().join("keys").join(kept.to_hex()));
        assert!(store.expire(SystemTime::now() - Duration::from_secs(3600)).unwrap() >= 5);
        assert!(store.layer(&layer.id).unwrap().is_none() && store.recall(&shared).unwrap().is_some());
    }
}
