//! Generated and copied files on their way into a layer of their own, without a sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Instant;

use layers::{Blake3, Change, Content, Contents, Entry, Key, Kind, Layer, Meta, RecipeBuilder, Stack, Time, TreePath};

use crate::context::{Context, Made};
use crate::error::{Error, Kind as ErrorKind, ResultExt};
use crate::progress::Outcome;

/// Lays plain files over a stack: a step that needs no sandbox. What it writes is its key.
///
/// # Errors
/// Those of `write`; errors of the store.
pub fn lay(
    cx: &Context,
    stack: &mut Stack,
    title: &str,
    write: impl FnOnce(&Stack, &mut Draft<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let started = Instant::now();
    let mut draft = Draft::over(stack, cx.epoch());
    write(stack, &mut draft)?;
    let recipe = RecipeBuilder::new("plain files", 1)
        .list("below", stack.layers().iter().map(|layer| layer.id))
        .field("layer", draft.layer().id())
        .finish();
    let layer = match cx.recall(&recipe.key, &[Made::step(title)])? {
        Some((layer, _)) => {
            cx.step(title, &recipe, &layer, Outcome::Reused, 0.0);
            layer
        }
        None => {
            let layer = draft.publish(cx, &recipe.key, title)?;
            cx.step(title, &recipe, &layer, Outcome::Built, started.elapsed().as_secs_f64());
            layer
        }
    };
    stack.push(layer).to("apply a layer")
}

enum Bytes {
    None,
    Memory(Vec<u8>),
    Host(PathBuf),
}

/// Entries that will be laid over a stack.
pub struct Draft<'a> {
    stack: &'a Stack,
    changes: BTreeMap<TreePath, (Change, Bytes)>,
    time: Time,
}

impl<'a> Draft<'a> {
    /// An empty draft over a stack; everything in it gets this time.
    pub fn over(stack: &'a Stack, epoch: i64) -> Self {
        Self { stack, changes: BTreeMap::new(), time: Time::seconds(epoch) }
    }

    /// The meta of something of root's with this mode.
    pub fn root_owned(&self, mode: u32) -> Meta {
        Meta::root_owned(mode, self.time)
    }

    /// Metadata with an owner.
    pub fn owned(&self, mode: u32, uid: u32, gid: u32) -> Meta {
        Meta { mode, uid, gid, mtime: self.time, ..Meta::default() }
    }

    /// Writes a file.
    ///
    /// # Errors
    /// A path that no tree may hold; something other than a directory above it.
    pub fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>, meta: Meta) -> Result<(), Error> {
        self.file_at(&TreePath::new(path).to("write a file of the image")?, bytes, meta)
    }

    /// As [`Draft::file`], at a path of bytes.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn file_at(&mut self, path: &TreePath, bytes: impl Into<Vec<u8>>, meta: Meta) -> Result<(), Error> {
        let bytes = bytes.into();
        let entry = Entry::file(Content::of(&bytes), meta);
        self.put(path, entry, Bytes::Memory(bytes))
    }

    /// Removes a file or link that is there.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn remove(&mut self, path: &TreePath) -> Result<(), Error> {
        let path = self.settle(path)?;
        if self.stack.tree().get(&path).is_some() {
            self.changes.insert(path, (Change::Remove, Bytes::None));
        }
        Ok(())
    }

    /// Copies a file of the builder's machine whose digest is known; it is checked on the way.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn host_file(&mut self, path: &TreePath, origin: PathBuf, content: Content, meta: Meta) -> Result<(), Error> {
        self.put(path, Entry::file(content, meta), Bytes::Host(origin))
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn symlink(&mut self, path: &str, target: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = TreePath::new(path).to("link a file of the image")?;
        let entry = Entry::symlink(target.as_ref(), self.time);
        self.put(&path, entry, Bytes::None)
    }

    /// Makes a symbolic link at a path of bytes, with an owner.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn symlink_owned(&mut self, path: &TreePath, target: &[u8], uid: u32, gid: u32) -> Result<(), Error> {
        let meta = self.owned(0o777, uid, gid);
        self.put(path, Entry { kind: Kind::Symlink(target.into()), meta }, Bytes::None)
    }

    /// Copies a file or link of the image as it is.
    ///
    /// # Errors
    /// As [`Draft::file`]; no such file; I/O errors.
    pub fn copy(&mut self, from: &TreePath, to: &TreePath, image: &Stack) -> Result<(), Error> {
        let entry = match image.tree().get(from) {
            Some(Entry { kind: Kind::HardLink(home), .. }) => image.tree().get(home),
            entry => entry,
        };
        let Some(entry) = entry.cloned() else {
            return Err(Error::build(format!("failed to copy {from} in the image: it is not there")));
        };
        let bytes = match &entry.kind {
            Kind::File(content) => {
                let mut bytes = Vec::new();
                let mut file = image.open(content).to("read a file of the image")?;
                file.read_to_end(&mut bytes).to("read a file of the image")?;
                Bytes::Memory(bytes)
            }
            _ => Bytes::None,
        };
        self.put(to, entry, bytes)
    }

    /// Makes a directory where there is none.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn ensure_directory(&mut self, path: &TreePath, meta: Meta) -> Result<(), Error> {
        let settled = self.settle(path)?;
        if self.stack.tree().get(&settled).is_some_and(Entry::is_directory) || self.changes.contains_key(&settled) {
            return Ok(());
        }
        self.put(path, Entry::directory(meta), Bytes::None)
    }

    /// Makes a directory, or gives one that is there this metadata.
    ///
    /// # Errors
    /// As [`Draft::file`].
    pub fn directory(&mut self, path: &TreePath, meta: Meta) -> Result<(), Error> {
        self.put(path, Entry::directory(meta), Bytes::None)
    }

    fn put(&mut self, path: &TreePath, entry: Entry, bytes: Bytes) -> Result<(), Error> {
        let path = self.settle(path)?;
        for above in path.ancestors() {
            match self.stack.tree().get(&above) {
                Some(found) if found.is_directory() => {}
                None => {
                    let made = Change::Set(Entry::directory(self.root_owned(0o755)));
                    self.changes.entry(above).or_insert((made, Bytes::None));
                }
                Some(_) => {
                    return Err(Error::build(format!(
                        "failed to write {path} in the image: {above} is not a directory"
                    )));
                }
            }
        }
        self.changes.insert(path, (Change::Set(entry), bytes));
        Ok(())
    }

    /// Where a path really lies: directories above it that are links are followed, it itself is
    /// not.
    fn settle(&self, path: &TreePath) -> Result<TreePath, Error> {
        let Some(parent) = path.parent() else { return Ok(path.clone()) };
        let parent = self.stack.tree().resolve(&parent).to("follow links in the image")?;
        parent.join(path.name()).to("follow links in the image")
    }

    /// The layer that it will be.
    pub fn layer(&self) -> Layer {
        Layer { changes: self.changes.iter().map(|(path, (change, _))| (path.clone(), change.clone())).collect() }
    }

    /// Makes the layer and keeps it under a key, as what a step of this title made.
    ///
    /// # Errors
    /// I/O errors; a copied file that is no longer what it was when the spec was read.
    pub fn publish(self, cx: &Context, key: &Key, title: &str) -> Result<layers::StoredLayer, Error> {
        let staging = cx.store.stage().to("make a work directory")?;
        let files = staging.files().to("stage a layer")?;
        let mut changes = BTreeMap::new();
        for (path, (change, bytes)) in self.changes {
            let host = path.under(&files);
            let io = |source| Error::io(ErrorKind::Build, "write", &host, source);
            if let Change::Set(entry) = &change {
                layers::make_parents(&files, &path, self.stack.tree()).to("stage a layer")?;
                match (&entry.kind, &bytes) {
                    (Kind::Directory, _) => fs::create_dir_all(&host).map_err(io)?,
                    (Kind::Symlink(target), _) => {
                        use std::os::unix::ffi::OsStrExt;
                        symlink(std::ffi::OsStr::from_bytes(target), &host).map_err(io)?;
                    }
                    (Kind::File(_), Bytes::Memory(bytes)) => fs::write(&host, bytes).map_err(io)?,
                    (Kind::File(content), Bytes::Host(origin)) => copy_checked(origin, &host, content)?,
                    _ => {}
                }
                if !matches!(entry.kind, Kind::Symlink(_)) {
                    let mode = fs::Permissions::from_mode(layers::plain_mode(entry));
                    fs::set_permissions(&host, mode).map_err(io)?;
                }
            }
            changes.insert(path, change);
        }
        // The key says which layer it is: what was read to make it is of no account.
        cx.keep(&[], staging, Layer { changes }, key, b"", &[Made::step(title)])
    }
}

fn copy_checked(origin: &std::path::Path, to: &std::path::Path, content: &Content) -> Result<(), Error> {
    let mut from = fs::File::open(origin).map_err(|e| Error::io(ErrorKind::Build, "read", origin, e))?;
    let mut file = fs::File::create(to).map_err(|e| Error::io(ErrorKind::Build, "create", to, e))?;
    std::io::copy(&mut from, &mut file).map_err(|e| Error::io(ErrorKind::Build, "copy", origin, e))?;
    let mut hasher = blake3::Hasher::new();
    let mut back = fs::File::open(to).map_err(|e| Error::io(ErrorKind::Build, "read", to, e))?;
    let size = std::io::copy(&mut back, &mut hasher).map_err(|e| Error::io(ErrorKind::Build, "read", to, e))?;
    if (Content { digest: Blake3(*hasher.finalize().as_bytes()), size }) != *content {
        return Err(Error::build(format!("failed to copy {}: it changed during the build", origin.display()))
            .hint("run the build again"));
    }
    Ok(())
}
