//! Writes image layouts.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ::image::compress::Compression;
use ::image::digest::Hashed;
use layers::{Contents, Entry, Layer, Meta, Sha256, Time, TreePath, tar};
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndexBuilder, MediaType};
use serde::Serialize;

use super::place::place;
use super::staging::Staging;
use super::{BLOBS, INDEX_NAME, MARKER, MARKER_NAME};
use crate::blob::{self, Blobs, Verified};
use crate::error::IoContext;
use crate::image::incomplete;
use crate::{Error, Packed, document, pack};

/// What a layout is kept as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A directory.
    Directory,
    /// A tar file ("oci-archive").
    Archive,
}

/// A layout that is being written, beside the place where it will be. Blobs can be added by several
/// threads at once. Until [`Writer::finish`] there is nothing at its place; dropped before, it leaves
/// nothing.
pub struct Writer {
    staging: Staging,
    destination: PathBuf,
    form: Form,
    manifests: Vec<Descriptor>,
    counter: AtomicU64,
}

impl Writer {
    /// Starts a layout. Work in progress is in the destination's directory, under a name that begins
    /// with a dot and ends with `.part`.
    ///
    /// # Errors
    /// [`Error::Exists`]; I/O errors.
    pub fn create(destination: &Path, form: Form) -> Result<Self, Error> {
        if destination.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: destination.into() });
        }
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let staging = Staging::create(parent)?;
        let blobs = staging.path().join(BLOBS);
        fs::create_dir_all(&blobs).at("create directory", &blobs)?;
        let counter = AtomicU64::new(0);
        Ok(Self { staging, destination: destination.into(), form, manifests: Vec::new(), counter })
    }

    /// Packs a layer.
    ///
    /// # Errors
    /// As [`pack::pack`].
    pub fn layer(
        &self,
        layer: &Layer,
        contents: &dyn Contents,
        compression: Compression,
        threads: usize,
    ) -> Result<Packed, Error> {
        self.layer_again(layer, contents, compression, threads, None)
    }

    /// As [`Writer::layer`], where `last` is what that came to the last time: see [`pack::pack_again`].
    ///
    /// # Errors
    /// As [`Writer::layer`].
    pub fn layer_again(
        &self,
        layer: &Layer,
        contents: &dyn Contents,
        compression: Compression,
        threads: usize,
        last: Option<&Packed>,
    ) -> Result<Packed, Error> {
        let (path, file) = self.part()?;
        let diff_id = last.map(|last| last.diff_id);
        let (writer, packed) = pack::pack_again(layer, contents, compression, threads, diff_id, BufWriter::new(file))?;
        if last.is_some_and(|last| *last != packed) {
            // Made by another compressor, or not what it says: it is not relied on.
            drop(writer);
            fs::remove_file(&path).at("remove", &path)?;
            return self.layer(layer, contents, compression, threads);
        }
        writer.into_inner().map_err(io::IntoInnerError::into_error).at("write", &path)?;
        self.keep(&path, &packed.digest)?;
        Ok(packed)
    }

    /// Keeps a blob and gives its descriptor.
    ///
    /// # Errors
    /// Errors of the reader; I/O errors.
    pub fn blob(&self, media_type: MediaType, reader: &mut dyn Read) -> Result<Descriptor, Error> {
        let (path, file) = self.part()?;
        let mut hashed = Hashed::new(file);
        io::copy(reader, &mut hashed).at("write", &path)?;
        let (_, digest, size) = hashed.finish();
        self.keep(&path, &digest)?;
        Ok(Descriptor::new(media_type, size, blob::digest(&digest)?))
    }

    /// Keeps a blob of another source: a base's layer. It is held to its descriptor.
    ///
    /// # Errors
    /// The blob is not what its descriptor says; I/O errors.
    pub fn copy(&self, blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<(), Error> {
        let digest = blob::sha256(descriptor.digest())?;
        if self.blob_at(&digest).exists() {
            return Ok(());
        }
        let mut blob = Verified::open(blobs, descriptor)?;
        let (path, mut file) = self.part()?;
        io::copy(&mut blob, &mut file).at("write", &path)?;
        blob.finish()?;
        self.keep(&path, &digest)
    }

    /// Keeps a JSON document and gives its descriptor.
    ///
    /// # Errors
    /// I/O errors.
    pub fn document<T: Serialize>(&self, media_type: MediaType, what: &str, document: &T) -> Result<Descriptor, Error> {
        self.blob(media_type, &mut document::encode(what, document)?.as_slice())
    }

    /// Puts a manifest or an index into the layout's index, under a reference name or none.
    pub fn add(&mut self, mut descriptor: Descriptor, name: Option<&str>) {
        if let Some(name) = name {
            let mut annotations = descriptor.annotations().clone().unwrap_or_default();
            annotations.insert(ANNOTATION_REF_NAME.to_owned(), name.to_owned());
            descriptor.set_annotations(Some(annotations));
        }
        self.manifests.push(descriptor);
    }

    /// Gives the layout its place, at once and whole.
    ///
    /// # Errors
    /// [`Error::Exists`]: something came there meanwhile; I/O errors.
    pub fn finish(mut self) -> Result<(), Error> {
        let index = self.index()?;
        let whole = match self.form {
            Form::Directory => {
                for (name, bytes) in [(MARKER_NAME, MARKER), (INDEX_NAME, &index)] {
                    let path = self.staging.path().join(name);
                    fs::write(&path, bytes).at("write", &path)?;
                }
                self.staging.unlock()?;
                self.staging.path().to_path_buf()
            }
            Form::Archive => {
                let path = self.staging.path().join("archive");
                let file = File::create_new(&path).at("create", &path)?;
                self.archive(&index, file, &path)?;
                path
            }
        };
        place(&whole, &self.destination, &|_| false)?;
        if self.form == Form::Directory {
            self.staging.placed();
        }
        Ok(())
    }

    /// Writes the layout as a tar file into one that is open already, `path` in messages, instead of
    /// giving it a place.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish_into(self, file: File, path: &Path) -> Result<(), Error> {
        self.archive(&self.index()?, file, path)
    }

    /// Where a blob lies that is in this layout, until it has its place.
    pub fn blob_path(&self, digest: &Sha256) -> Option<PathBuf> {
        Some(self.blob_at(digest)).filter(|path| path.exists())
    }

    fn index(&self) -> Result<Vec<u8>, Error> {
        let index = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(self.manifests.clone())
            .build()
            .map_err(incomplete)?;
        document::encode("the index of a layout", &index)
    }

    /// The layout as a tar file: marker and index first, so that a reader knows soon what it has.
    fn archive(&self, index: &[u8], file: File, path: &Path) -> Result<(), Error> {
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        let meta = Meta::root_owned(0o644, Time::default());
        for (name, bytes) in [(MARKER_NAME, MARKER), (INDEX_NAME, index)] {
            let head = tar::file_head(name.as_bytes(), bytes.len() as u64, &meta)?;
            append(&mut writer, &head, &mut &*bytes, bytes.len() as u64).at("write", path)?;
        }
        let directory = Entry::directory(Meta::root_owned(0o755, Time::default()));
        for name in ["blobs", BLOBS] {
            let head = tar::head(b"", &TreePath::new(name)?, &directory, &directory.meta)?.unwrap_or_default();
            writer.write_all(&head).at("write", path)?;
        }
        let blobs = self.staging.path().join(BLOBS);
        let mut names = Vec::new();
        for entry in fs::read_dir(&blobs).at("list", &blobs)? {
            names.push(entry.at("list", &blobs)?.file_name());
        }
        names.sort();
        for name in names {
            let from = blobs.join(&name);
            let mut blob = File::open(&from).at("open", &from)?;
            let size = blob.metadata().at("look at", &from)?.len();
            let name = [BLOBS.as_bytes(), b"/", name.as_encoded_bytes()].concat();
            let head = tar::file_head(&name, size, &meta)?;
            append(&mut writer, &head, &mut blob, size).at("write", path)?;
            // The tar has it now: space for both is not needed.
            fs::remove_file(&from).at("remove", &from)?;
        }
        writer.write_all(&tar::END).at("write", path)?;
        writer.into_inner().map_err(io::IntoInnerError::into_error).map(drop).at("write", path)
    }

    fn part(&self) -> Result<(PathBuf, File), Error> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.staging.path().join(format!("part-{number}"));
        let file = File::create_new(&path).at("create", &path)?;
        Ok((path, file))
    }

    fn blob_at(&self, digest: &Sha256) -> PathBuf {
        self.staging.path().join(BLOBS).join(digest.to_hex())
    }

    fn keep(&self, part: &Path, digest: &Sha256) -> Result<(), Error> {
        fs::rename(part, self.blob_at(digest)).at("rename", part)
    }
}

impl Blobs for Writer {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = self.blob_at(&blob::sha256(descriptor.digest())?);
        Ok(Box::new(File::open(&path).at("open", path)?))
    }
}

fn append(writer: &mut impl Write, head: &[u8], body: &mut dyn Read, size: u64) -> io::Result<()> {
    writer.write_all(head)?;
    if io::copy(&mut body.take(size), writer)? != size {
        return Err(io::Error::other("a blob became shorter while it was read"));
    }
    let padding = size.next_multiple_of(tar::BLOCK_BYTES).saturating_sub(size);
    writer.write_all(tar::END.get(..usize::try_from(padding).unwrap_or_default()).unwrap_or_default())
}
