//! A tree as an image, from the cutting to the manifest.

use ::image::compress::Compression;
use layers::{Contents, Tree, TreePath};
use oci_spec::image::Descriptor;
use rayon::prelude::*;

use crate::image::{self, Description, Image};
use crate::memory::{self, Memory};
use crate::split::{Origin, Part, split};
use crate::{Blobs, Error, Packed, Writer};

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
    /// Threads of the compressors; never changes the bytes.
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
        // A hint, without which all is hashed.
        let last = self.memory.and_then(|memory| memory.recall(&key).ok().flatten());
        if let (Some(has), Some(last)) = (self.has, &last)
            && has(last)
        {
            return Ok(last.clone());
        }
        let packed = writer.layer_again(&part.layer, self.contents, self.compression, threads, last.as_ref())?;
        if let Some(memory) = self.memory.filter(|_| last.as_ref() != Some(&packed)) {
            let _ = memory.remember(&key, &packed);
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
    // The largest first, so that no processor waits for one that came last. Each has its share of the
    // threads: memory grows with those.
    let mut order: Vec<(u64, usize, &Part)> = parts.iter().zip(0..).map(|(part, at)| (size(part), at, part)).collect();
    order.sort_by(|one, two| two.0.cmp(&one.0).then(one.1.cmp(&two.1)));
    let all = order.iter().fold(0u64, |sum, (size, ..)| sum.saturating_add(*size)).max(1);
    let pack = |(size, at, part): (u64, usize, &Part)| -> Result<(usize, Packed), Error> {
        let share = u128::from(size).saturating_mul(export.threads as u128).div_ceil(u128::from(all));
        let packed = export.pack(part, usize::try_from(share).unwrap_or(1).max(1), writer)?;
        Ok((at, packed))
    };
    let mut packed: Vec<(usize, Packed)> = order.into_iter().par_bridge().map(pack).collect::<Result<_, _>>()?;
    packed.sort_by_key(|(at, _)| *at);
    let layers: Vec<(Packed, Vec<String>)> =
        packed.into_iter().zip(&parts).map(|((_, packed), part)| (packed, part.names.clone())).collect();
    let descriptor = image::write(writer, export.base.map(|base| base.image), &layers, description)?;
    let layers: Vec<Packed> = layers.into_iter().map(|(packed, _)| packed).collect();
    let mut lost: Vec<TreePath> = layers.iter().flat_map(|packed| packed.lost.clone()).collect();
    lost.sort();
    Ok(Exported { descriptor, layers, lost })
}
