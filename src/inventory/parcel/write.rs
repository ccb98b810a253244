//! A layer into a parcel.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use layers::{Answer, Blake3, Content, Entry, Layer, Meta, StoredLayer, Time, open_plain, tar};

use super::{COPY_BYTES, is_name_of_below};
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Writes a layer with everything that the store has of it.
///
/// # Errors
/// A layer that is damaged; I/O errors.
pub fn write(layer: &StoredLayer, answers: &[Answer], out: &mut dyn Write) -> Result<(), Error> {
    put(out, "index", &layer.layer.encode())?;
    write_rest(layer, answers, out)
}

/// Writes a parcel without its index, for where that is kept apart.
///
/// # Errors
/// As [`write`].
pub fn write_rest(layer: &StoredLayer, answers: &[Answer], out: &mut dyn Write) -> Result<(), Error> {
    if let Some(made) = layer.made() {
        put(out, "made", made.as_bytes())?;
    }
    for answer in answers {
        put(out, &format!("keys/{}", answer.key.to_hex()), &answer.note)?;
    }
    contents(layer, out)?;
    out.write_all(&tar::END).to("write the layer")
}

/// Writes what a layer's index does not have: `besides` and `contents`.
fn contents(layer: &StoredLayer, out: &mut dyn Write) -> Result<(), Error> {
    if !layer.changed_besides().is_empty() {
        return Err(damaged(layer));
    }
    let besides = besides(layer)?;
    put(out, "besides", &besides.encode())?;
    let mut files: BTreeMap<Blake3, (u64, PathBuf)> = BTreeMap::new();
    for (_, content, host) in layer.contents() {
        files.entry(content.digest).or_insert((content.size, host));
    }
    for (path, content) in besides.files() {
        files.entry(content.digest).or_insert((content.size, path.under(&layer.directory())));
    }
    let mut buffer = vec![0; COPY_BYTES];
    for (digest, (size, path)) in files {
        let io = |source| Error::io(ErrorKind::Other, "read", &path, source);
        let head = tar::file_head(format!("contents/{digest}").as_bytes(), size, &meta()).to("write the layer")?;
        out.write_all(&head).to("write the layer")?;
        let mut file = open_plain(&path).map_err(io)?;
        let mut hasher = blake3::Hasher::new();
        let mut left = size;
        while left > 0 {
            let count = file.read(&mut buffer).map_err(io)?;
            let bytes = buffer.get(..count).unwrap_or_default();
            left = match left.checked_sub(count as u64) {
                Some(left) if count > 0 => left,
                _ => return Err(damaged(layer)),
            };
            hasher.update(bytes);
            out.write_all(bytes).to("write the layer")?;
        }
        if Blake3(*hasher.finalize().as_bytes()) != digest {
            return Err(damaged(layer));
        }
        pad(out, size)?;
    }
    Ok(())
}

fn damaged(layer: &StoredLayer) -> Error {
    Error::other(format!("failed to take out the layer {}: it is damaged", layer.id))
        .hint("`image-composer layers verify --repair` removes what is damaged; the next build makes it again")
}

fn meta() -> Meta {
    Meta::root_owned(0o644, Time::default())
}

fn put(out: &mut dyn Write, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let size = bytes.len() as u64;
    let head = tar::file_head(name.as_bytes(), size, &meta()).to("write the layer")?;
    out.write_all(&head).and_then(|()| out.write_all(bytes)).to("write the layer")?;
    pad(out, size)
}

fn pad(out: &mut dyn Write, size: u64) -> Result<(), Error> {
    let padding = size.next_multiple_of(tar::BLOCK_BYTES).saturating_sub(size);
    let zeros = tar::END.get(..usize::try_from(padding).unwrap_or_default()).unwrap_or_default();
    out.write_all(zeros).to("write the layer")
}

/// What lies among a layer's files without its index saying all of it: directories above, whose modes show
/// through overlay, and further names of files of the layers below, which overlay has to copy.
fn besides(layer: &StoredLayer) -> Result<Layer, Error> {
    let top = layer.directory();
    let mut found = Vec::new();
    for (path, change) in &layer.layer.changes {
        for above in path.ancestors() {
            let host = above.under(&top);
            match host.symlink_metadata() {
                // A link would lead out of the store.
                Ok(meta) if !meta.is_dir() => return Err(damaged(layer)),
                Ok(meta) if !above.is_root() && !layer.layer.changes.contains_key(&above) => {
                    found.push((above, Entry::directory(plain(&meta))));
                }
                Ok(_) => {}
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => break,
                Err(source) => return Err(Error::io(ErrorKind::Other, "read", &host, source)),
            }
        }
        if !is_name_of_below(&layer.layer, change) {
            continue;
        }
        let host = path.under(&top);
        let io = |source| Error::io(ErrorKind::Other, "read", &host, source);
        let meta = host.symlink_metadata().map_err(io)?;
        if meta.is_file() {
            let mut hasher = blake3::Hasher::new();
            let size = std::io::copy(&mut open_plain(&host).map_err(io)?, &mut hasher).map_err(io)?;
            let content = Content { digest: Blake3(*hasher.finalize().as_bytes()), size };
            found.push((path.clone(), Entry::file(content, plain(&meta))));
        }
    }
    Ok(Layer::of(found))
}

fn plain(meta: &fs::Metadata) -> Meta {
    Meta::root_owned(meta.permissions().mode() & 0o777, Time::default())
}
