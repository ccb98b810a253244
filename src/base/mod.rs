//! The image that a spec starts from (`image.base.from`): found, held to its digests, taken into the
//! store. Nothing here knows what packages it has: see [`crate::compose`].

mod kept;
mod release;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ::oci::image::{self, Image, Platform, Wanted};
use ::oci::import::{self, Limits};
use ::oci::oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex};
use ::oci::{Blobs, Layout, blob};
use layers::{RecipeBuilder, Sha256, Stack};
use sandbox::Cancel;

pub use kept::Registries;
pub use release::{check as check_release, fields as release_fields};

use crate::context::{Context, Made};
use crate::error::{Error, Kind};
use crate::progress::Outcome;
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{BaseImage, BasePlace};
use kept::Kept;

/// An image to start from, of which the documents are here.
pub struct Found {
    /// As the spec has it.
    pub written: String,
    /// Its manifest and configuration, verified.
    pub image: Image,
    source: Source,
}

/// An image to start from, of which the layers are in the store.
pub struct Base {
    /// Its documents and where its blobs are.
    pub found: Found,
    /// Its layers.
    pub stack: Stack,
    taken: Taken,
}

/// How the layers of an image came into the store.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Taken {
    outcome: Outcome,
    seconds: f64,
}

impl Base {
    /// Tells of it as the first step of compose.
    ///
    /// # Errors
    /// Its digest is no SHA-256.
    pub fn tell(&self, cx: &Context) -> Result<(), Error> {
        let Some(top) = self.stack.layers().last() else { return Ok(()) };
        let recipe = RecipeBuilder::new("base image", 1).field("manifest", self.found.manifest()?).finish();
        let title = format!("take the base image {}", self.found.written);
        cx.step(&title, &recipe, top, self.taken.outcome, self.taken.seconds);
        Ok(())
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("written", &self.found.written).finish_non_exhaustive()
    }
}

/// Where blobs are.
struct Source {
    place: Place,
    cancel: Cancel,
}

enum Place {
    Layout(Box<Layout>),
    Registry(Box<Kept>),
}

impl Blobs for Source {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, ::oci::Error> {
        let reader = match &self.place {
            Place::Layout(layout) => layout.open(descriptor),
            Place::Registry(kept) => kept.open(descriptor),
        };
        Ok(Box::new(Watched { reader: reader?, cancel: &self.cancel }))
    }
}

/// A reader that ends when the build is told to end.
struct Watched<'a> {
    reader: Box<dyn Read + Send + 'a>,
    cancel: &'a Cancel,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_cancelled() {
            // Not the kind of that name: readers try again then.
            return Err(std::io::Error::other("interrupted"));
        }
        self.reader.read(buffer)
    }
}

/// Finds the image that a spec starts from, if it does: the one with this manifest where a lock says
/// so, else what its name means today.
///
/// # Errors
/// There is no such image, it is damaged, or it is for another architecture.
pub fn find(spec: &ResolvedSpec, locked: Option<&Sha256>, cx: &Context) -> Result<Option<Found>, Error> {
    let Some(BaseImage { written, place }) = &spec.base else { return Ok(None) };
    let platform = Platform::linux(spec.architecture.deb());
    let (place, image) = match place {
        BasePlace::Layout { path, name } => {
            let (layout, image) = in_layout(path, name.as_deref(), platform).map_err(failed(written, cx))?;
            (Place::Layout(Box::new(layout)), image)
        }
        BasePlace::Registry(reference) => {
            let kept = Kept::new(reference, cx)?;
            let image = kept.image(locked, platform, cx)?;
            (Place::Registry(Box::new(kept)), image.map_err(failed(written, cx))?)
        }
    };
    let found = Found { written: written.clone(), image, source: Source { place, cancel: cx.cancel.clone() } };
    let manifest = found.manifest()?;
    if let Some(locked) = locked.filter(|locked| **locked != manifest) {
        return Err(Error::build(format!("failed to use the base image {written}: it is not the one of the lock"))
            .caused_by(Error::build(format!("the lock has sha256:{locked}, and there is sha256:{manifest}")))
            .hint("`image-composer lock SPEC` writes a new lock"));
    }
    Ok(Some(found))
}

fn in_layout(path: &Path, name: Option<&str>, platform: Platform) -> Result<(Layout, Image), ::oci::Error> {
    let layout = Layout::open(path)?;
    let mut index: ImageIndex = layout.index().clone();
    if let Some(name) = name {
        let is_named = |descriptor: &&Descriptor| {
            let found = descriptor.annotations().as_ref().and_then(|all| all.get(ANNOTATION_REF_NAME));
            found.is_some_and(|found| found == name || found.rsplit(':').next() == Some(name))
        };
        let named: Vec<Descriptor> = index.manifests().iter().filter(is_named).cloned().collect();
        if named.is_empty() {
            // Finds nothing either, and says what there is.
            let wanted = Wanted { name: Some(name.to_owned()), platform: Some(platform) };
            let image = image::find(&layout, &index, &wanted)?;
            return Ok((layout, image));
        }
        index.set_manifests(named);
    }
    let image = image::find(&layout, &index, &Wanted { name: None, platform: Some(platform) })?;
    Ok((layout, image))
}

impl Found {
    /// The digest of its manifest.
    ///
    /// # Errors
    /// It is no SHA-256.
    pub fn manifest(&self) -> Result<Sha256, Error> {
        let digest = blob::sha256(self.image.descriptor.digest());
        digest.map_err(|error| refused(&self.written, error))
    }

    /// When it was made, in seconds since the epoch, if it says so; never later than now.
    pub fn created(&self, now: i64) -> Option<i64> {
        let text = self.image.configuration.created().as_ref()?;
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(time.as_second().min(now))
    }

    /// Its blobs.
    pub fn blobs(&self) -> &dyn Blobs {
        &self.source
    }

    /// Has all its layers as blobs, for an image that is put on it.
    ///
    /// # Errors
    /// A registry that does not give them.
    pub fn bring_all(&self) -> Result<(), Error> {
        match &self.source.place {
            Place::Registry(kept) => kept.bring(self.image.manifest.layers()),
            Place::Layout(_) => Ok(()),
        }
    }

    /// Takes its layers into the store, as far as they are not there.
    ///
    /// # Errors
    /// Layers that are damaged or hostile; a registry that does not give them; errors of the store.
    pub fn import(self, cx: &Context) -> Result<Base, Error> {
        let started = Instant::now();
        let missing = import::missing(&self.image, &cx.store).map_err(failed(&self.written, cx))?;
        if let Place::Registry(kept) = &self.source.place {
            kept.bring(&missing)?;
        }
        let stack = import::import(&self.image, &self.source, &cx.store, &Limits::default());
        let stack = stack.map_err(failed(&self.written, cx))?;
        let seconds = started.elapsed().as_secs_f64();
        let outcome = match (missing.is_empty(), &self.source.place) {
            (true, _) => Outcome::Reused,
            (false, Place::Registry(_)) => Outcome::Fetched,
            (false, Place::Layout(_)) => Outcome::Built,
        };
        // The choice needs it, and compose: what counts is how it came the first time.
        let taken = *cx.base_taken.get_or_init(|| Taken { outcome, seconds });
        for layer in stack.layers() {
            cx.tell_made(layer, &[Made::step("base image")]);
        }
        Ok(Base { found: self, stack, taken })
    }
}

/// The image that a spec starts from, if it does, with its layers in the store.
///
/// # Errors
/// As [`find`] and [`Found::import`].
pub fn open(spec: &ResolvedSpec, locked: Option<&Sha256>, cx: &Context) -> Result<Option<Arc<Base>>, Error> {
    find(spec, locked, cx)?.map(|found| found.import(cx).map(Arc::new)).transpose()
}

/// An error of the OCI library that concerns the image.
fn refused(written: &str, error: ::oci::Error) -> Error {
    let hint = match &error {
        ::oci::Error::NoImage { .. } => {
            Some("name another image, or correct image.base.architecture; images of a layout are oci:PATH:NAME".into())
        }
        other => other.hint(),
    };
    let failed = Error::build(format!("failed to use the base image {written}")).caused_by(error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

fn failed<'a>(written: &'a str, cx: &'a Context) -> impl FnOnce(::oci::Error) -> Error + 'a {
    move |error| match cx.check() {
        Err(ended) => ended,
        Ok(()) => refused(written, error),
    }
}

/// An error of a command for registries, as one of a build.
fn of_build(error: Error) -> Error {
    if error.kind() == Kind::Interrupted { error } else { error.of_kind(Kind::Build) }
}
