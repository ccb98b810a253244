//! Descriptors, manifests and indexes, as far as moving them needs to understand them (OCI image
//! spec 1.1: descriptor.md, manifest.md, image-index.md).

use std::collections::BTreeMap;

use layers::Sha256;
use serde::{Deserialize, Serialize};

/// Media types by their names.
pub mod media_type {
    /// An OCI image manifest, also of an artifact.
    pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index: several manifests.
    pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image configuration.
    pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// `{}`, the configuration of an artifact that has none.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

    /// Everything that is an image or a list of images.
    pub const ALL_IMAGES: &[&str] = &[IMAGE_MANIFEST, IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
}

/// The contents of the empty descriptor (image spec 1.1, manifest.md, "Guidance for an Empty
/// Descriptor").
pub const EMPTY_JSON: &[u8] = b"{}";

/// A digest as OCI writes it.
pub(crate) fn digest_text(digest: &Sha256) -> String {
    format!("sha256:{}", digest.to_hex())
}

/// The digest in a text; `None` for another algorithm, or upper-case digits, which OCI forbids.
pub(crate) fn read_digest(text: &str) -> Option<Sha256> {
    let digits = text.strip_prefix("sha256:")?;
    if digits.len() != 64 || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    digits.parse().ok()
}

mod digest_serde {
    use layers::Sha256;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::digest_text(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::read_digest(&text)
            .ok_or_else(|| serde::de::Error::custom("the digest is not sha256: and 64 lower-case hexadecimal digits"))
    }
}

/// What something is, by digest (image spec 1.1, descriptor.md). Of what it may carry, what is not
/// here is dropped: a descriptor is rebuilt, never handed on as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of thing.
    pub media_type: String,
    /// The digest of its bytes.
    #[serde(with = "digest_serde")]
    pub digest: Sha256,
    /// How many bytes.
    pub size: u64,
    /// What kind of artifact, for a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which machine a manifest in an index is for, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<serde_json::Value>,
}

impl Descriptor {
    /// Of bytes in memory.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Sha256::of(bytes), bytes.len() as u64)
    }

    /// Of something whose digest and size (in bytes) are known.
    pub fn new(media_type: &str, digest: Sha256, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// Of `{}`.
    pub fn empty() -> Self {
        Self::of(media_type::EMPTY, EMPTY_JSON)
    }
}

/// An image manifest, also of an artifact (image spec 1.1, manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// What kind of manifest; some writers leave it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The blobs, in order.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index (image spec 1.1, image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// What kind of index; some writers leave it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, in order.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageIndex {
    /// Of these manifests.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::IMAGE_INDEX.to_owned(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_descriptor_is_the_one_of_the_specification() {
        let empty = Descriptor::empty();
        assert_eq!(empty.size, 2);
        assert_eq!(
            digest_text(&empty.digest),
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }

    #[test]
    fn only_digests_as_oci_writes_them_are_read() {
        let good = digest_text(&Sha256([0xab; 32]));
        assert_eq!(read_digest(&good), Some(Sha256([0xab; 32])));
        assert_eq!(read_digest(&good.replace("ab", "AB")), None);
        assert_eq!(read_digest(&good[..70]), None);
        assert_eq!(read_digest(&format!("{good}0")), None);
        assert_eq!(read_digest("sha512:00"), None);
        assert_eq!(read_digest(&"ab".repeat(32)), None);
    }
}
