//! How much room layers take, and how much of it is used by several specs.

use std::collections::BTreeMap;

use layers::{Blake3, Store};
use rayon::prelude::*;
use serde::Serialize;

use super::lineage::Lineage;
use crate::error::{Error, Kind, ResultExt};

/// What `layers du` says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Usage {
    /// How many layers there are.
    pub layers: usize,
    /// Their files.
    pub files: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Of these, bytes of what other layers hold, too.
    pub duplicate_bytes: u64,
    /// By spec.
    pub specs: Vec<Share>,
    /// Bytes of layers that no spec was last built of.
    pub unused_bytes: u64,
}

/// What a spec's layers take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Share {
    /// The spec's image.
    pub name: String,
    /// Its layers that are there.
    pub layers: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Of these, bytes of layers that other specs were built of, too.
    pub shared_bytes: u64,
}

/// Adds up. Layers whose index is damaged count nothing.
///
/// # Errors
/// I/O errors.
pub fn usage(store: &Store, lineages: &[Lineage]) -> Result<Usage, Error> {
    let listed = store.list().or_fail(Kind::Other, || "failed to list the layers".into())?;
    let found: Vec<_> = listed.par_iter().filter_map(|listed| store.peek(&listed.id).ok().flatten()).collect();
    let mut usage = Usage { layers: found.len(), ..Usage::default() };
    let mut sizes: BTreeMap<Blake3, u64> = BTreeMap::new();
    let mut contents: BTreeMap<Blake3, u64> = BTreeMap::new();
    for layer in &found {
        for (_, content) in layer.layer.files() {
            usage.files = usage.files.saturating_add(1);
            usage.bytes = usage.bytes.saturating_add(content.size);
            if contents.insert(content.digest, content.size).is_some() {
                usage.duplicate_bytes = usage.duplicate_bytes.saturating_add(content.size);
            }
        }
        sizes.insert(layer.id, layer.bytes());
    }
    let mut users: BTreeMap<Blake3, usize> = BTreeMap::new();
    let sets: Vec<BTreeMap<Blake3, u64>> = lineages.iter().map(|lineage| members(lineage, &sizes)).collect();
    for id in sets.iter().flat_map(BTreeMap::keys) {
        let count = users.entry(*id).or_default();
        *count = count.saturating_add(1);
    }
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0u64, u64::saturating_add);
    for (lineage, set) in lineages.iter().zip(&sets) {
        let is_shared = |id: &Blake3| users.get(id).is_some_and(|count| *count > 1);
        usage.specs.push(Share {
            name: lineage.name.clone(),
            layers: set.len(),
            bytes: sum(&mut set.values().copied()),
            shared_bytes: sum(&mut set.iter().filter(|(id, _)| is_shared(id)).map(|(_, size)| *size)),
        });
    }
    usage.unused_bytes = sum(&mut sizes.iter().filter(|(id, _)| !users.contains_key(id)).map(|(_, size)| *size));
    Ok(usage)
}

fn members(lineage: &Lineage, sizes: &BTreeMap<Blake3, u64>) -> BTreeMap<Blake3, u64> {
    lineage.layers.iter().filter_map(|member| Some((member.id, *sizes.get(&member.id)?))).collect()
}
