//! A registry as a cache of layers: how the key of a step names what the step made.
//!
//! A step's key is a digest over its name, its version and the contents of its inputs; what it made
//! is a layer: an index (paths, owners, modes, …) and the contents of files, each a blob. The answer
//! to a key is an OCI artifact under the tag `k-` and the key in hexadecimal:
//!
//! | part of the manifest | what it holds |
//! |---|---|
//! | `artifactType` | [`ARTIFACT_TYPE`] |
//! | `config` | the empty descriptor |
//! | `layers[0]` | the layer's index, type [`INDEX_TYPE`] |
//! | `layers[1..]` | the contents, types of OCI layers |
//! | annotation [`KEY_ANNOTATION`] | the key again, so that a tag that was moved is noticed |
//! | annotation [`LAYER_ANNOTATION`] | the layer's name: the BLAKE3 digest of its canonical index |
//! | annotation [`SIGNATURE_ANNOTATION`] | who vouches for it, see [`Signature`] |
//!
//! Nothing in it depends on a machine: no path, no time, no host name. So it says the same as an
//! action cache of the Remote Execution API: the key stands for the digest of an `Action` (whose
//! command and input root are the key's fields), the manifest for its `ActionResult` (one output
//! file for each blob, by digest and size), looking up the tag for `GetActionResult`, writing it for
//! `UpdateActionResult`, and the repository's blobs for the content-addressed store
//! (`FindMissingBlobs` is a HEAD for each, `ByteStream` an upload or a GET with a range).
//!
//! Digests protect what is pulled; that a key has *this* answer only the registry says, or whoever
//! signed. With public keys configured ([`Trust::Keys`]), what none of them signed is refused.

mod remote;
mod signature;

use layers::{Blake3, Key};

use crate::descriptor::{Descriptor, EMPTY_JSON, ImageManifest, media_type};
use crate::error::told;
use crate::reference::Tag;

pub use remote::{has_answer, look_up, publish};
pub use signature::{KeyError, PublicKey, Signature, Signer, Trust};

/// The type of an answer.
pub const ARTIFACT_TYPE: &str = "application/vnd.image-composer.layer.v1";
/// The type of the blob that holds a layer's index.
pub const INDEX_TYPE: &str = "application/vnd.image-composer.layer.index.v1";
/// The annotation that repeats the key.
pub const KEY_ANNOTATION: &str = "vnd.image-composer.layer.key";
/// The annotation that names the layer.
pub const LAYER_ANNOTATION: &str = "vnd.image-composer.layer.id";
/// The annotation that holds the signatures, separated by spaces.
pub const SIGNATURE_ANNOTATION: &str = "vnd.image-composer.layer.signatures";

/// The types that contents may have.
const CONTENT_TYPES: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];
/// Contents of one answer: more is no layer of ours.
const CONTENTS_MAX: usize = 1024;
/// Signatures of one answer that are looked at.
const SIGNATURES_MAX: usize = 16;
/// What is signed begins with this, so that it can be nothing else.
const STATEMENT: &[u8] = b"image-composer layer cache answer v1\n";

/// An answer that is not one to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The manifest is something else.
    #[error("the manifest under the key's tag is not an answer of a layer cache: {0}")]
    NotAnAnswer(String),
    /// It is the answer to another key.
    #[error("the answer is one to the key {found}, not to {asked}")]
    OtherKey {
        /// The key that was looked up.
        asked: Key,
        /// What it says its key is.
        found: String,
    },
    /// Nobody signed it, and somebody has to have.
    #[error("the answer to the key {0} is not signed")]
    Unsigned(Key),
    /// It is signed, but by nobody who is trusted.
    #[error("the answer to the key {0} is not signed by a key that is trusted")]
    UnknownSigner(Key),
    /// A signature is not that of what it is on.
    #[error("the signature of {by} on the answer to the key {key} is wrong")]
    BadSignature {
        /// The key that was looked up.
        key: Key,
        /// The public key.
        by: String,
    },
    /// The index is not that of the layer.
    #[error("the index in the answer to the key {key} is that of the layer {got}, not of {expected}")]
    OtherLayer {
        /// The key that was looked up.
        key: Key,
        /// What the index hashes to.
        got: Blake3,
        /// What the answer says.
        expected: Blake3,
    },
}

impl AnswerError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unsigned(_) | Self::UnknownSigner(_) => {
                "let the machine that pushes sign with a key whose public half is configured here, or configure no keys if everybody who can push is trusted"
            }
            Self::NotAnAnswer(_) => "use a repository for the cache that holds nothing else",
            _ => "somebody wrote to the cache who should not: find out who may push there",
        };
        Some(text.to_owned())
    }
}

/// What a cache says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The key of the step.
    pub key: Key,
    /// The layer that it made: the digest of the canonical index.
    pub layer: Blake3,
    /// The blob that holds the index.
    pub index: Descriptor,
    /// The blobs that hold contents, in order.
    pub contents: Vec<Descriptor>,
    /// Who vouches for it.
    pub signatures: Vec<Signature>,
}

/// The tag that a key is looked up by: 66 characters, within what a tag may have.
pub fn tag_of(key: &Key) -> Tag {
    Tag::of_key(key)
}

/// The contents of the empty configuration, which has to be pushed before an answer.
pub fn empty_config() -> &'static [u8] {
    EMPTY_JSON
}

impl Answer {
    /// The descriptor of an index blob with this digest and size in bytes.
    pub fn index_blob(digest: layers::Sha256, size: u64) -> Descriptor {
        Descriptor::new(INDEX_TYPE, digest, size)
    }

    /// The bytes that are signed. Lengths make the encoding injective: fixed start; key and layer, 32
    /// bytes each; the number of blobs; for each blob the length of its type, the type, its SHA-256,
    /// its size. Numbers are 64 bits, little endian.
    pub fn statement(&self) -> Vec<u8> {
        let mut bytes = STATEMENT.to_vec();
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.layer.0);
        let blobs = || std::iter::once(&self.index).chain(&self.contents);
        bytes.extend_from_slice(&(blobs().count() as u64).to_le_bytes());
        for blob in blobs() {
            bytes.extend_from_slice(&(blob.media_type.len() as u64).to_le_bytes());
            bytes.extend_from_slice(blob.media_type.as_bytes());
            bytes.extend_from_slice(&blob.digest.0);
            bytes.extend_from_slice(&blob.size.to_le_bytes());
        }
        bytes
    }

    /// Adds a signature.
    #[must_use]
    pub fn signed(mut self, signer: &Signer) -> Self {
        let signature = signer.sign(&self.statement());
        self.signatures.retain(|other| other.by != signature.by);
        self.signatures.push(signature);
        self
    }

    /// As a manifest. The same answer gives the same bytes.
    pub fn to_manifest(&self) -> ImageManifest {
        let mut annotations = std::collections::BTreeMap::from([
            (KEY_ANNOTATION.to_owned(), self.key.to_hex()),
            (LAYER_ANNOTATION.to_owned(), self.layer.to_hex()),
        ]);
        if !self.signatures.is_empty() {
            let texts: Vec<String> = self.signatures.iter().map(ToString::to_string).collect();
            annotations.insert(SIGNATURE_ANNOTATION.to_owned(), texts.join(" "));
        }
        ImageManifest {
            schema_version: 2,
            media_type: media_type::IMAGE_MANIFEST.to_owned(),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: Descriptor::empty(),
            layers: std::iter::once(&self.index).chain(&self.contents).cloned().collect(),
            subject: None,
            annotations,
        }
    }

    /// Reads the answer to a key out of a manifest.
    ///
    /// # Errors
    /// The manifest is something else, the answer to another key, or not signed by whom it must be.
    pub fn from_manifest(manifest: &ImageManifest, key: &Key, trust: &Trust) -> Result<Self, AnswerError> {
        let not = |why: &str| AnswerError::NotAnAnswer(why.to_owned());
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            let kind = told(manifest.artifact_type.as_deref().unwrap_or("none"));
            return Err(not(&format!("its artifact type is {kind:?}")));
        }
        let note = |name: &str| manifest.annotations.get(name).map(String::as_str);
        let found = note(KEY_ANNOTATION).ok_or_else(|| not("it names no key"))?;
        if found != key.to_hex() {
            return Err(AnswerError::OtherKey { asked: *key, found: told(found) });
        }
        let layer = note(LAYER_ANNOTATION).and_then(|text| text.parse().ok());
        let layer = layer.ok_or_else(|| not("it names no layer"))?;
        let plain = |blob: &Descriptor| Descriptor::new(&blob.media_type, blob.digest, blob.size);
        let (index, contents) = manifest.layers.split_first().ok_or_else(|| not("it has no blobs"))?;
        if index.media_type != INDEX_TYPE {
            return Err(not("its first blob is not a layer's index"));
        }
        if contents.len() > CONTENTS_MAX {
            return Err(not("it has too many blobs"));
        }
        if !contents.iter().all(|blob| CONTENT_TYPES.contains(&blob.media_type.as_str())) {
            return Err(not("a blob in it is not a layer's contents"));
        }
        let texts = note(SIGNATURE_ANNOTATION).unwrap_or_default().split_ascii_whitespace();
        let signatures = texts.take(SIGNATURES_MAX).filter_map(|text| text.parse().ok()).collect();
        let contents = contents.iter().map(plain).collect();
        let answer = Self { key: *key, layer, index: plain(index), contents, signatures };
        trust.check(&answer)?;
        Ok(answer)
    }

    /// Checks the bytes of the index blob, uncompressed, against the layer's name. To be done
    /// before the layer is used: the blob's own digest says only that it came as it was pushed.
    ///
    /// # Errors
    /// It is the index of another layer.
    pub fn check_index(&self, canonical: &[u8]) -> Result<(), AnswerError> {
        let got = Blake3::of(canonical);
        if got == self.layer {
            return Ok(());
        }
        Err(AnswerError::OtherLayer { key: self.key, got, expected: self.layer })
    }
}

#[cfg(test)]
mod tests;
