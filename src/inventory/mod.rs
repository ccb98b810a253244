//! What there is in the store of layers, for people: lists, comparisons, looking through, taking out
//! and in.

pub mod difference;
pub mod lineage;
pub mod list;
pub mod parcel;
pub mod usage;
pub mod verify;

use std::path::Path;

pub use layers::Store;
use layers::{Blake3, Stack, StoredLayer};

use crate::config::Config;
use crate::error::{Error, Kind, ResultExt};
use crate::means;
use lineage::Lineage;

/// Fewest digits by which a layer can be named.
const DIGITS_MIN: usize = 4;
/// Digits of an id that tell layers apart.
pub const DIGITS: usize = 12;

/// A layer, or the layers of a spec.
#[derive(Clone, Debug)]
pub enum Subject {
    /// One layer.
    Layer(StoredLayer),
    /// All of a spec's.
    Stack(Lineage),
}

/// Opens the store of a configuration.
///
/// # Errors
/// A cache directory that cannot be used.
pub fn store(config: &Config) -> Result<Store, Error> {
    Store::open(&config.cache_dir.join("store"), &means::boot())
        .or_fail(Kind::Configuration, || format!("failed to use the cache directory {}", config.cache_dir.display()))
}

/// The layer or the spec that is meant: a spec's name, or the beginning of a layer's id.
///
/// # Errors
/// Nothing or several have such a name.
pub fn find(store: &Store, cache: &Path, name: &str) -> Result<Subject, Error> {
    if let Some(lineage) = lineage::all(cache).into_iter().find(|lineage| lineage.name == name) {
        return Ok(Subject::Stack(lineage));
    }
    layer(store, name).map(Subject::Layer)
}

/// The layer whose id begins so.
///
/// # Errors
/// None, several, or one whose index is damaged.
pub fn layer(store: &Store, digits: &str) -> Result<StoredLayer, Error> {
    let is_beginning = digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lower = digits.to_ascii_lowercase();
    let listed = store.list().or_fail(Kind::Other, || "failed to list the layers".into())?;
    let found: Vec<Blake3> = listed
        .into_iter()
        .map(|listed| listed.id)
        .filter(|id| is_beginning && id.to_hex().starts_with(&lower))
        .collect();
    match found.as_slice() {
        [id] => peek(store, id),
        [] => Err(Error::other(format!("no layer has an id that begins with '{digits}', and no spec this name"))
            .hint(format!("`image-composer layers ls` shows the layers; {DIGITS_MIN} digits are the fewest"))),
        several => Err(Error::other(format!("{} layers have an id that begins with '{digits}'", several.len()))
            .hint("give more of the id")),
    }
}

fn peek(store: &Store, id: &Blake3) -> Result<StoredLayer, Error> {
    let found = store.peek(id).or_fail(Kind::Other, || format!("failed to read the layer {id}"))?;
    found.ok_or_else(|| {
        Error::other(format!("failed to read the layer {id}: it is not there, or its index is damaged"))
            .hint("`image-composer layers verify --repair` removes what is damaged")
    })
}

/// The layers of a lineage as a stack.
///
/// # Errors
/// A layer that is gone; layers that do not fit on each other.
pub fn stack(store: &Store, lineage: &Lineage) -> Result<Stack, Error> {
    let mut stack = Stack::default();
    for member in &lineage.layers {
        let layer = peek(store, &member.id)?;
        let failed = || format!("failed to put the layers of {} on each other", lineage.name);
        stack.push(layer).or_fail(Kind::Other, failed)?;
    }
    Ok(stack)
}

/// The beginning of an id that is shown.
pub fn short(id: &Blake3) -> String {
    id.to_hex().chars().take(DIGITS).collect()
}
