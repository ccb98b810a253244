//! A tree as an image, from the cutting to the manifest.

use ::image::compress::Compression;
use layers::{Contents, Tree, TreePath};
use oci_spec::image::Descriptor;
use rayon::prelude::*;

use crate::image::{self, Description, Image};
use crate::memory::{self, Memory};
use crate::split::{Origin, Part, split};
use crate::{Blobs, Error, Packed, Writer};

/// From how many bytes on a layer is compressed by all threads; those below are compressed by one
/// each, side by side. Two parts of what a thread takes at once.
const LARGE_BYTES: u64 = 16 << 20;

/// An existing image that the new one is put on.
#[derive(Clone, Copy)]
pub struct Base<'b> {
    /// Its documents.
    pub image: &'b Image,
    /// What its layers make.
    pub tree: &'b Tree,
    /// Where its layers are; `None` leaves them where they are, for a registry that can mount them.
    pub blobs: Option<&'b dyn Blobs>,
}

/// What is exported, and how.
#[derive(Clone, Copy)]
pub struct Export<'e> {
    /// The whole tree.
    pub tree: &'e Tree,
    /// Where the bytes of its files are.
    pub contents: &'e dyn Contents,
    /// Who brought its paths, in the order in which they were stacked.
    pub origins: &'e [Origin<'e>],
    /// What it is put on.
    pub base: Option<Base<'e>>,
    /// Most layers, those of the base included.
    pub layers: usize,
    /// How layers are compressed.
    pub compression: Compression,
    /// Threads of one compressor; never changes the bytes.
    pub threads: usize,
    /// What is remembered of layers that were packed before.
    pub memory: Option<&'e Memory>,
    /// Says whether the image's destination has the blob of a layer that is remembered, so that it
    /// need not be made again. The writer will not have it.
    pub has: Option<&'e (dyn Fn(&Packed) -> bool + Sync)>,
}

impl Export<'_> {
    fn pack(&self, part: &Part, threads: usize, writer: &Writer) -> Result<Packed, Error> {
        let key = memory::key(&part.layer.id(), self.compression);
        if let (Some(memory), Some(has)) = (self.memory, self.has)
            && let Some(packed) = memory.recall(&key)?
            && has(&packed)
        {
            return Ok(packed);
        }
        let packed = writer.layer(&part.layer, self.contents, self.compression, threads)?;
        if let Some(memory) = self.memory {
            memory.remember(&key, &packed)?;
        }
        Ok(packed)
    }
}

/// An image in a writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Descriptor of its manifest, with its platform.
    pub descriptor: Descriptor,
    /// Its own layers, the bottom first.
    pub layers: Vec<Packed>,
    /// Sockets, which it does not have.
    pub lost: Vec<TreePath>,
}

/// Writes a tree as an image. The caller puts the descriptor into the layout's index, or into one
/// for several platforms.
///
/// # Errors
/// A base with as many layers as are allowed; what tar cannot express; content that is missing or
/// damaged; errors of the writer.
pub fn export(writer: &Writer, export: &Export<'_>, description: &Description) -> Result<Exported, Error> {
    let below = export.base.map_or(0, |base| base.image.diff_ids.len());
    let limit = match export.layers.checked_sub(below) {
        Some(limit) if limit > 0 => limit,
        _ => {
            return Err(Error::Inexpressible {
                what: "the tree".into(),
                reason: format!("its base has {below} layers, and {} are the most that are allowed", export.layers),
            });
        }
    };
    if let Some(Base { image, blobs: Some(blobs), .. }) = export.base {
        image.manifest.layers().par_iter().try_for_each(|layer| writer.copy(blobs, layer))?;
    }
    let parts = split(export.tree, export.base.map(|base| base.tree), export.origins, limit)?;
    let size = |part: &Part| part.layer.files().fold(0u64, |sum, (_, content)| sum.saturating_add(content.size));
    let pack = |part: &Part, threads| export.pack(part, threads, writer);
    let small = |part: &&Part| size(part) < LARGE_BYTES;
    let packed: Vec<Option<Packed>> = parts
        .par_iter()
        .map(|part| if small(&part) { pack(part, 1).map(Some) } else { Ok(None) })
        .collect::<Result<_, Error>>()?;
    let mut layers = Vec::new();
    for (part, packed) in parts.iter().zip(packed) {
        let packed = match packed {
            Some(packed) => packed,
            None => pack(part, export.threads)?,
        };
        layers.push((packed, part.names.clone()));
    }
    let descriptor = image::write(writer, export.base.map(|base| base.image), &layers, description)?;
    let layers: Vec<Packed> = layers.into_iter().map(|(packed, _)| packed).collect();
    let mut lost: Vec<TreePath> = layers.iter().flat_map(|packed| packed.lost.clone()).collect();
    lost.sort();
    Ok(Exported { descriptor, layers, lost })
}
