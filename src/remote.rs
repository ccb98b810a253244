//! Layers of other machines: a cache in a registry, asked for what a step would make before it runs, told
//! of what it made. Nothing that goes wrong with it is a failure of the build.

use std::fs::File;
use std::io::{BufWriter, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::oci::archive::Source;
use ::oci::import::Limits;
use image::compress::{Compressed, Compression, Decoder, Encoder};
use image::digest::Hashed;
use layers::{Answer as Note, Key, Layer, StoredLayer};
use registry::cache::{Answer, Signer, Trust, look_up, publish};
use registry::{BlobPull, BlobPush, Content, Descriptor, Options, Reason, Repository};

use crate::cli::options::BuildRequest;
use crate::containers::connection::Connection;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::explain::chain;
use crate::inventory::parcel::{self, Notes};
use crate::spec::resolved::RemoteCache;

/// The type of what a layer holds besides its index (image-spec, layer.md): a tar, compressed with zstd.
const CONTENTS: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Largest index that is taken, in bytes, compressed and not.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// How often something is tried again: a build that waits for its cache had better run the step.
const RETRIES: u32 = 2;
/// How long a transfer may go on without getting anywhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// A layer cache in a registry.
pub struct Remote {
    name: String,
    repository: Repository,
    trust: Trust,
    push: bool,
    signer: Option<Signer>,
    /// Raised when it cannot be reached: it is not asked again in this build.
    is_lost: AtomicBool,
}

/// What is kept back of a failure: whether there is any use in asking again.
enum Failure {
    /// This answer is none to be used.
    Answer(Error),
    /// The registry cannot be used.
    Registry(Error),
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        let is_answer = matches!(
            error.reason(),
            Some(
                Reason::Untrusted(_)
                    | Reason::Digest { .. }
                    | Reason::Short { .. }
                    | Reason::Long { .. }
                    | Reason::MediaType { .. }
            )
        ) || error.is_missing();
        let error = Error::build("the layer cache").caused_by(error);
        if is_answer { Self::Answer(error) } else { Self::Registry(error) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl Remote {
    /// Prepares to ask; nothing is asked yet.
    ///
    /// # Errors
    /// Keys, certificates and credentials that cannot be read.
    pub fn new(settings: &RemoteCache, request: &BuildRequest) -> Result<Self, Error> {
        let name = settings.reference.to_string();
        let signer = match &settings.signing_key {
            None => None,
            Some(path) => {
                let what = || format!("failed to read the signing key of the layer cache {name}");
                let mut text = String::new();
                let file = File::open(path).or_fail(Kind::Configuration, what)?;
                file.take(4096).read_to_string(&mut text).or_fail(Kind::Configuration, what)?;
                Some(text.parse::<Signer>().or_fail(Kind::Configuration, what)?)
            }
        };
        let connection = Connection {
            insecure: settings.insecure.then(|| settings.reference.host.clone()).into_iter().collect(),
            authorities: settings.ca_file.iter().cloned().collect(),
            credentials: request.credentials.clone(),
            proxies: request.proxies.clone(),
        };
        let patience = Options { retries: RETRIES, patience: PATIENCE, ..Options::default() };
        let client = connection.client_with("layer cache", &request.reporter, &request.interrupted, patience)?;
        Ok(Self {
            repository: client.repository(&settings.reference.host, &settings.reference.name),
            trust: match settings.keys.is_empty() {
                true => Trust::Everybody,
                false => Trust::Keys(settings.keys.clone()),
            },
            push: settings.push,
            signer,
            is_lost: AtomicBool::new(false),
            name,
        })
    }

    /// Where it is: `oci://HOST/REPOSITORY`.
    pub fn url(&self) -> String {
        format!("oci://{}", self.name)
    }

    /// The layer that a step with this key made elsewhere, taken into the store, with the step's note. All of
    /// it is verified before it is there.
    pub fn fetch(&self, key: &Key, cx: &Context) -> Option<(StoredLayer, Vec<u8>)> {
        if self.is_lost.load(Ordering::Relaxed) || cx.cancel.is_cancelled() {
            return None;
        }
        match self.try_fetch(key, cx) {
            Ok(found) => found,
            Err(failure) => {
                self.tell(failure, "gives nothing", cx);
                None
            }
        }
    }

    fn try_fetch(&self, key: &Key, cx: &Context) -> Result<Option<(StoredLayer, Vec<u8>)>, Failure> {
        let Some(answer) = look_up(&self.repository, key, &self.trust)? else { return Ok(None) };
        let packed = self.repository.read_blob(&answer.index, INDEX_BYTES_MAX)?;
        let mut index = Vec::new();
        let decoder = Decoder::new(Cursor::new(packed), Compressed::Zstd).to("unpack the index")?;
        decoder.take(INDEX_BYTES_MAX).read_to_end(&mut index).to("unpack the index")?;
        answer.check_index(&index).to("use the index")?;
        let layer = Layer::decode(&index).to("read the index")?;
        let [contents] = answer.contents.as_slice() else {
            return Err(Error::build("the answer has not one blob of contents").into());
        };
        let limits = Limits::default();
        if contents.size > limits.layer_bytes {
            return Err(Error::build(format!("the contents have {} bytes, which no layer has", contents.size)).into());
        }
        let staging = cx.store.stage().to("make a work directory")?;
        let packed = staging.path().join("packed");
        let pull = BlobPull { digest: contents.digest, size: contents.size, target: packed.clone() };
        self.repository.pull_blobs(vec![pull])?;
        let file = File::open(&packed).to("read the contents")?;
        let source = Stream(Decoder::new(file, Compressed::Zstd).to("unpack the contents")?);
        let size = limits.unpacked(contents.size);
        let unpacked = parcel::read(source, size, &staging, Some(layer), Notes::Of(key))?;
        for leftover in [packed.clone(), packed.with_extension("part")] {
            let _ = std::fs::remove_file(leftover);
        }
        let note = unpacked.answers.into_iter().next().map(|answer| answer.note);
        let note = note.ok_or_else(|| Error::build("the answer has no note of the step"))?;
        let stored = cx.store.publish(staging, unpacked.layer, key, &note).to("keep a layer")?;
        Ok(Some((stored, note)))
    }

    /// Sends a layer that a step made here.
    pub fn send(&self, key: &Key, layer: &StoredLayer, note: &[u8], cx: &Context) {
        if !self.push || self.is_lost.load(Ordering::Relaxed) || cx.cancel.is_cancelled() {
            return;
        }
        if let Err(failure) = self.try_send(key, layer, note, cx) {
            self.tell(failure, "takes nothing", cx);
        }
    }

    fn try_send(&self, key: &Key, layer: &StoredLayer, note: &[u8], cx: &Context) -> Result<(), Failure> {
        let staging = cx.store.stage().to("make a work directory")?;
        let encoded = layer.layer.encode();
        let index = compressed(encoded.as_slice(), encoded.len() as u64, Vec::new(), cx.parallel)?.0;
        let plain = staging.path().join("plain");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&plain).to("pack a layer")?);
        let notes = [Note { key: *key, note: note.to_vec() }];
        parcel::write_rest(layer, &notes, &mut out)?;
        let size = out.into_inner().to("pack a layer")?.metadata().to("pack a layer")?.len();
        let packed = staging.path().join("packed");
        let file = BufWriter::with_capacity(1 << 20, File::create(&packed).to("pack a layer")?);
        let source = File::open(&plain).to("pack a layer")?;
        let (hashed, digest, packed_size) = compressed(source, size, file, cx.parallel)?;
        hashed.into_inner().to("pack a layer")?;
        let index = BlobPush::of(index);
        let contents = BlobPush { digest, size: packed_size, content: Content::File(packed), mount_from: Vec::new() };
        let answer = Answer {
            key: *key,
            layer: layer.id,
            index: Answer::index_blob(index.digest, index.size),
            contents: vec![Descriptor::new(CONTENTS, contents.digest, contents.size)],
            signatures: Vec::new(),
        };
        self.repository.push_blobs(vec![index, contents])?;
        publish(&self.repository, &answer, self.signer.as_ref())?;
        Ok(())
    }

    /// Tells of a failure: of each answer that is refused, but only once of a registry that is not there.
    fn tell(&self, failure: Failure, what: &str, cx: &Context) {
        let (error, end) = match failure {
            Failure::Answer(error) => (error, ""),
            Failure::Registry(error) => {
                if self.is_lost.swap(true, Ordering::Relaxed) {
                    return;
                }
                (error, "; this build goes on without it")
            }
        };
        cx.reporter.warn(&format!("the layer cache {} {what}: {}{end}", self.name, chain(&error)));
    }
}

/// Compresses; gives the writer back with digest and size of what it took.
fn compressed<W: Write + Send + 'static>(
    mut source: impl Read,
    size: u64,
    out: W,
    threads: usize,
) -> Result<(W, layers::Sha256, u64), Error> {
    let mut encoder = Encoder::new(Hashed::new(out), Compression::Zstd(3), size, threads).to("pack a layer")?;
    std::io::copy(&mut source, &mut encoder).to("pack a layer")?;
    Ok(encoder.finish().to("pack a layer")?.finish())
}

/// A stream that can only be read on.
struct Stream<R>(R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Source for Stream<R> {}
