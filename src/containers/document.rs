//! A manifest, or an index with all below it: read within bounds, and copied.

use std::collections::{BTreeMap, BTreeSet};

use ::oci::oci_spec::image::{Descriptor, MediaType};
use ::oci::{Blobs, Writer, blob, document};
use registry::media_type;

use super::failed;
use crate::error::{Error, ResultExt};

/// Largest manifest or index that is read, in bytes (distribution-spec, "Pushing Manifests").
pub(super) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Deepest nesting of indexes: one of several platforms has one.
const DEPTH_MAX: u32 = 4;
/// Most manifests and indexes of one image: one of 50 platforms with an attestation for each has 101.
const DOCUMENTS_MAX: usize = 1000;
/// Most bytes of all of them together, which are kept in memory.
const BYTES_MAX: u64 = 64 << 20;
/// Most blobs of one image: its layers are 127 at most for each platform.
const BLOBS_MAX: usize = 100_000;

/// A manifest or an index, as it came.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes, held to the descriptor.
    pub bytes: Vec<u8>,
}

/// A manifest, or an index with all below it.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes, held to the descriptor.
    pub bytes: Vec<u8>,
    /// The documents that it names itself, each once.
    pub children: Vec<Descriptor>,
    /// The documents below it, each once, and each after those that it names.
    pub below: Vec<Part>,
    /// The blobs that it and all below it name, each once: configurations, layers, and what an index names
    /// that is neither manifest nor index.
    pub blobs: Vec<Descriptor>,
}

impl Document {
    /// Reads a manifest or an index, with all below it.
    ///
    /// # Errors
    /// Documents that are missing, damaged, neither or both; too many of them.
    pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Self, Error> {
        if !is_index(descriptor) && !is_manifest(descriptor) {
            let kind = descriptor.media_type().to_string();
            let shown: String = kind.chars().take(100).flat_map(char::escape_default).collect();
            return Err(refused(&format!("{shown} is neither manifest nor index")));
        }
        let mut reader = Reader::new(blobs);
        reader.visit(descriptor, 0)?;
        let Reader { parts: mut below, named, .. } = reader;
        // What names all others is done last.
        let Part { bytes, .. } = below.pop().ok_or_else(|| refused("it has no manifest"))?;
        let mut children = Vec::new();
        if is_index(descriptor) {
            let index = document::index(&bytes, descriptor).map_err(failed("read the image"))?;
            let mut seen = BTreeSet::new();
            let named = index.manifests().iter().filter(|child| is_index(child) || is_manifest(child));
            children.extend(named.filter(|child| seen.insert(child.digest().to_string())).map(plain));
        }
        Ok(Self { descriptor: descriptor.clone(), bytes, children, below, blobs: named })
    }

    /// Copies it and all below it into a layout.
    ///
    /// # Errors
    /// Blobs that are missing or damaged; errors of the writer.
    pub fn copy(&self, blobs: &dyn Blobs, writer: &Writer) -> Result<(), Error> {
        for blob in &self.blobs {
            writer.copy(blobs, blob).map_err(failed("copy the image"))?;
        }
        let own = (&self.descriptor, &self.bytes);
        for (descriptor, bytes) in self.below.iter().map(|part| (&part.descriptor, &part.bytes)).chain([own]) {
            let kind = MediaType::from(descriptor.media_type().to_string().as_str());
            writer.blob(kind, &mut bytes.as_slice()).map_err(failed("copy the image"))?;
        }
        Ok(())
    }
}

fn refused(reason: &str) -> Error {
    Error::other(format!("failed to read the image: {reason}"))
}

fn is_index(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type().to_string().as_str(), media_type::IMAGE_INDEX | media_type::DOCKER_LIST)
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type().to_string().as_str(), media_type::IMAGE_MANIFEST | media_type::DOCKER_MANIFEST)
}

/// Only what names it: the rest may be megabytes.
fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(descriptor.media_type().clone(), descriptor.size(), descriptor.digest().clone())
}

struct Reader<'b> {
    blobs: &'b dyn Blobs,
    parts: Vec<Part>,
    /// Type and size under which a document was met, by digest.
    met: BTreeMap<String, (String, u64)>,
    named: Vec<Descriptor>,
    /// The size of each blob, by digest.
    sizes: BTreeMap<String, u64>,
    bytes: u64,
}

impl<'b> Reader<'b> {
    fn new(blobs: &'b dyn Blobs) -> Self {
        Self { blobs, parts: Vec::new(), met: BTreeMap::new(), named: Vec::new(), sizes: BTreeMap::new(), bytes: 0 }
    }

    fn visit(&mut self, descriptor: &Descriptor, depth: u32) -> Result<(), Error> {
        let announced = (descriptor.media_type().to_string(), descriptor.size());
        match self.met.get(descriptor.digest().as_ref()) {
            Some(met) if *met == announced => return Ok(()),
            Some(_) => return Err(refused(&format!("{} is announced as two things", descriptor.digest()))),
            None => self.met.insert(descriptor.digest().to_string(), announced),
        };
        self.bytes = self.bytes.saturating_add(descriptor.size());
        if self.met.len() > DOCUMENTS_MAX || self.bytes > BYTES_MAX {
            return Err(refused(&format!(
                "it has more than {DOCUMENTS_MAX} manifests, or they have more than {} MiB",
                BYTES_MAX >> 20
            )));
        }
        let bytes = blob::read(self.blobs, descriptor, DOCUMENT_BYTES_MAX).to("read the image")?;
        if is_index(descriptor) {
            if depth >= DEPTH_MAX {
                return Err(refused("its indexes are in one another without end"));
            }
            let index = document::index(&bytes, descriptor).map_err(failed("read the image"))?;
            for child in index.manifests() {
                match is_index(child) || is_manifest(child) {
                    true => self.visit(child, depth.saturating_add(1))?,
                    false => self.name(child)?,
                }
            }
        } else {
            let manifest = document::manifest(&bytes, descriptor).map_err(failed("read the image"))?;
            self.name(manifest.config())?;
            manifest.layers().iter().try_for_each(|layer| self.name(layer))?;
        }
        self.parts.push(Part { descriptor: plain(descriptor), bytes });
        Ok(())
    }

    /// Notes a blob.
    fn name(&mut self, descriptor: &Descriptor) -> Result<(), Error> {
        match self.sizes.insert(descriptor.digest().to_string(), descriptor.size()) {
            Some(size) if size == descriptor.size() => return Ok(()),
            Some(_) => return Err(refused(&format!("{} is announced with two sizes", descriptor.digest()))),
            None => {}
        }
        if self.sizes.len() > BLOBS_MAX {
            return Err(refused(&format!("it names more than {BLOBS_MAX} blobs")));
        }
        self.named.push(plain(descriptor));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};
    use std::sync::atomic::{AtomicU64, Ordering};

    use layers::Sha256;
    use serde_json::{Value, json};

    use super::*;

    /// What is kept, and how many bytes of it were asked for.
    #[derive(Default)]
    struct Kept {
        blobs: BTreeMap<String, Vec<u8>>,
        read: AtomicU64,
    }

    impl Blobs for Kept {
        fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ::oci::Error> {
            let bytes = &self.blobs[descriptor.digest().as_ref()];
            self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(Box::new(Cursor::new(bytes)))
        }
    }

    impl Kept {
        fn put(&mut self, kind: &str, value: &Value) -> Value {
            let bytes = value.to_string().into_bytes();
            let digest = format!("sha256:{}", Sha256::of(&bytes));
            let descriptor = json!({ "mediaType": kind, "digest": digest, "size": bytes.len() });
            self.blobs.insert(digest, bytes);
            descriptor
        }

        fn manifest(&mut self, note: &str) -> Value {
            let config = self.put(media_type::IMAGE_CONFIG, &json!({}));
            let value = json!({ "schemaVersion": 2, "mediaType": media_type::IMAGE_MANIFEST, "config": config,
                                "layers": [], "annotations": { "note": note } });
            self.put(media_type::IMAGE_MANIFEST, &value)
        }

        fn index(&mut self, children: &[Value]) -> Value {
            self.put(media_type::IMAGE_INDEX, &json!({ "schemaVersion": 2, "manifests": children }))
        }

        fn read(&self, descriptor: &Value) -> Result<Document, Error> {
            Document::read(self, &serde_json::from_value(descriptor.clone()).unwrap())
        }
    }

    #[track_caller]
    fn is_refused(found: Result<Document, Error>, reason: &str) {
        let error = crate::explain::chain(&found.unwrap_err());
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn what_is_named_often_is_read_once() {
        let mut kept = Kept::default();
        let mut top = kept.manifest(&"x".repeat(1 << 20));
        for _ in 0..4 {
            top = kept.index(&vec![top; 5000]);
        }
        let all: u64 = kept.blobs.values().map(|bytes| bytes.len() as u64).sum();
        let document = kept.read(&top).unwrap();
        assert!(kept.read.load(Ordering::Relaxed) <= all);
        assert_eq!((document.below.len(), document.blobs.len(), document.children.len()), (4, 1, 1));
        // What is named comes before what names it.
        assert_eq!(document.below[0].descriptor.media_type().to_string(), media_type::IMAGE_MANIFEST);
        let deeper = kept.index(&[top]);
        is_refused(kept.read(&deeper), "without end");
    }

    #[test]
    fn an_image_has_bounds() {
        let mut kept = Kept::default();
        let many: Vec<Value> = (0..1001).map(|number| kept.manifest(&number.to_string())).collect();
        let top = kept.index(&many[..999]);
        assert_eq!(kept.read(&top).unwrap().below.len(), 999);
        let top = kept.index(&many);
        is_refused(kept.read(&top), "more than 1000 manifests");
        let large: Vec<Value> = (0..30).map(|number| kept.manifest(&format!("{number:03}").repeat(1 << 20))).collect();
        let top = kept.index(&large);
        kept.read.store(0, Ordering::Relaxed);
        is_refused(kept.read(&top), "64 MiB");
        assert!(kept.read.load(Ordering::Relaxed) <= BYTES_MAX);
    }

    #[test]
    fn nothing_is_two_things() {
        let mut kept = Kept::default();
        let manifest = kept.manifest("");
        let both = json!({ "schemaVersion": 2, "manifests": [manifest], "layers": [], "config": manifest });
        for kind in [media_type::IMAGE_INDEX, media_type::IMAGE_MANIFEST] {
            let descriptor = kept.put(kind, &both);
            is_refused(kept.read(&descriptor), "both an index and a manifest");
            let top = kept.index(&[descriptor]);
            is_refused(kept.read(&top), "both an index and a manifest");
        }
        let mut other = manifest.clone();
        other["mediaType"] = media_type::DOCKER_MANIFEST.into();
        let top = kept.index(&[manifest.clone(), other.clone()]);
        is_refused(kept.read(&top), "announced as two things");
        let top = kept.index(&[other]);
        is_refused(kept.read(&top), "announced as");
    }

    #[test]
    fn what_an_index_names_and_nobody_knows_is_a_blob() {
        let mut kept = Kept::default();
        let unknown = kept.put("application/vnd.example.thing", &json!({ "config": 1 }));
        let manifest = kept.manifest("");
        let top = kept.index(&[unknown.clone(), manifest, unknown.clone()]);
        let document = kept.read(&top).unwrap();
        assert_eq!((document.below.len(), document.blobs.len()), (1, 2));
        let home = tempfile::tempdir().unwrap();
        let writer = Writer::create(&home.path().join("copy"), ::oci::Form::Directory).unwrap();
        document.copy(&kept, &writer).unwrap();
        writer.finish().unwrap();
        let hex = unknown["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert!(home.path().join("copy/blobs/sha256").join(hex).exists());
        is_refused(kept.read(&unknown), "neither manifest nor index");
    }
}
