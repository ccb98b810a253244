//! What is exported or pushed: an image of a layout, or what a spec is built to.

use std::path::{Path, PathBuf};

use ::oci::Layout;
use ::oci::oci_spec::image::{ANNOTATION_REF_NAME, Descriptor};
use layers::{Contents, Tree};

use crate::build;
use crate::cli::options::BuildRequest;
use crate::context::Context;
use crate::error::Error;
use crate::finalize::oci::Finished;
use crate::means;
use crate::patience::Patience;
use crate::slots;
use crate::spec::ResolvedSpec;
use crate::spec::choice::Stage;
use crate::stages;

/// What is exported or pushed.
#[derive(Debug)]
pub enum Source {
    /// A layout that somebody made.
    Layout(Box<Layout>, PathBuf),
    /// A spec to build.
    Spec(PathBuf),
}

impl Source {
    /// Finds out what a path is: specs are known by the end of their name.
    ///
    /// # Errors
    /// It is neither.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_spec = path.extension().is_some_and(|ending| ["yml", "yaml", "json"].iter().any(|e| ending == *e));
        if is_spec && !path.is_dir() {
            return Ok(Self::Spec(path.to_path_buf()));
        }
        let layout = Layout::open(path).map_err(|error| {
            Error::other(format!("failed to read {}", path.display()))
                .caused_by(error)
                .hint("name a spec (.yml, .yaml, .json), or an OCI image layout: a directory or a tar file")
        })?;
        Ok(Self::Layout(Box::new(layout), path.to_path_buf()))
    }
}

/// The one image of a layout that is meant, or the only one there is.
///
/// # Errors
/// None, or several.
pub fn choose(layout: &Layout, name: Option<&str>) -> Result<Descriptor, Error> {
    let named = |descriptor: &&Descriptor| -> Option<String> {
        descriptor.annotations().as_ref()?.get(ANNOTATION_REF_NAME).cloned()
    };
    let all: Vec<&Descriptor> = layout.index().manifests().iter().filter(|one| one.artifact_type().is_none()).collect();
    let fits = |one: &&&Descriptor| match (name, named(one)) {
        (None, _) => true,
        (Some(name), Some(found)) => found == name || found.rsplit(':').next() == Some(name),
        (Some(_), None) => false,
    };
    let found: Vec<&&Descriptor> = all.iter().filter(fits).collect();
    let names: Vec<String> = all.iter().filter_map(named).collect();
    match found.as_slice() {
        [one] => Ok((**one).clone()),
        [] => Err(Error::other(format!("the layout has no image {}", name.unwrap_or_default()))
            .hint(format!("it has {}", names.join(", ")))),
        several => Err(Error::other(format!("the layout has {} images", several.len()))
            .hint(format!("name one with --name: {}", names.join(", ")))),
    }
}

/// Builds a spec up to the finished tree, and does with it what is to be done.
///
/// # Errors
/// Those of the stages and of the work; an interruption.
pub fn built<T>(
    request: &BuildRequest,
    work: impl FnOnce(&ResolvedSpec, &Finished<'_>, &Context) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut spec = build::read_spec(request)?;
    request.options.apply(&mut spec, &request.config, &request.current_directory)?;
    let patience = Patience::start(request);
    let done = slots::slot(&request.config, request.interrupted.as_ref(), &*request.reporter).and_then(|_slot| {
        let workshop = means::prepare(request, &spec)?;
        let cx = &workshop.context;
        build::stage(cx, Stage::Validate, || stages::validate(&spec, &cx.catalogue))?;
        let lock = stages::lock(&spec, build::given_lock(request)?, cx)?;
        let packages = build::stage(cx, Stage::Packages, || stages::fetch(&spec, lock, cx))?;
        let composed = build::stage(cx, Stage::Compose, || stages::compose(&spec, &packages, cx))?;
        let configured = build::stage(cx, Stage::Configuration, || stages::configuration(&spec, composed, cx))?;
        let (stack, base) = (&configured.0, packages.base.as_deref());
        let with = |tree: &Tree, contents: &dyn Contents| work(&spec, &Finished { stack, tree, contents, base }, cx);
        build::stage(cx, Stage::Finalize, || stages::finished(&packages, &configured, cx, with))
    });
    done.map_err(|error| patience.judge(error))
}
