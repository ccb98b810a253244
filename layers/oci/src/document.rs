//! JSON documents: written in one way, read with bounds.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::blob::{self, Blobs, shown};
use crate::{Error, image};

/// Largest manifest or index that is read, in bytes: what registries take (distribution-spec,
/// "Pushing Manifests").
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// The bytes of a document: keys sorted, no blanks. The types of the specification have hash maps,
/// whose order must reach no output.
pub(crate) fn encode<T: Serialize>(what: &str, document: &T) -> Result<Vec<u8>, Error> {
    let failed = |error: serde_json::Error| Error::document(what, error.to_string());
    let value = serde_json::to_value(document).map_err(failed)?;
    serde_json::to_vec(&sorted(value)).map_err(failed)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|one, two| one.0.cmp(&two.0));
            Value::Object(pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// An index, out of bytes that were held to its descriptor.
///
/// # Errors
/// It is damaged, of another type than was announced, or a manifest as well (CVE-2021-41190).
pub fn index(bytes: &[u8], descriptor: &Descriptor) -> Result<ImageIndex, Error> {
    parse(bytes, descriptor.digest().as_ref(), descriptor.media_type(), Members::Index)
}

/// A manifest, out of bytes that were held to its descriptor.
///
/// # Errors
/// It is damaged, of another type than was announced, or an index as well (CVE-2021-41190).
pub fn manifest(bytes: &[u8], descriptor: &Descriptor) -> Result<ImageManifest, Error> {
    parse(bytes, descriptor.digest().as_ref(), descriptor.media_type(), Members::Manifest)
}

/// A document behind a descriptor, verified and parsed.
pub(crate) fn fetch<T: DeserializeOwned>(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
    members: Members,
) -> Result<T, Error> {
    let bytes = blob::read(blobs, descriptor, DOCUMENT_BYTES_MAX)?;
    parse(&bytes, descriptor.digest().as_ref(), descriptor.media_type(), members)
}

/// What a document must and must not have, so that it cannot be read as two things at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    /// An index: `manifests`.
    Index,
    /// A manifest: `config` and `layers`.
    Manifest,
    /// A configuration.
    Configuration,
}

pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    name: &str,
    announced: &MediaType,
    members: Members,
) -> Result<T, Error> {
    let failed = |reason: String| Error::document(shown(name), reason);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))?;
    let has = |key: &str| value.get(key).is_some();
    let ambiguous = match members {
        Members::Index => has("layers") || has("config"),
        Members::Manifest => has("manifests"),
        Members::Configuration => false,
    };
    if ambiguous {
        return Err(failed("it is both an index and a manifest".into()));
    }
    if members != Members::Configuration {
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(failed("its schemaVersion is not 2".into()));
        }
        if let Some(stated) = value.get("mediaType").and_then(Value::as_str)
            && !image::same_type(&MediaType::from(stated), announced)
        {
            let (stated, announced) = (shown(stated), shown(&announced.to_string()));
            return Err(failed(format!("it says that it is {stated} and was announced as {announced}")));
        }
    }
    serde_json::from_value(value).map_err(|error| failed(error.to_string()))
}
