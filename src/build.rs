//! A build from the command's request to finished files: caches, the clock, the order of stages.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use layers::{Key, KeyBuilder};
use providers::distro::Catalogue;
use providers::lock::Lock;

use crate::checking;
use crate::cli::options::{BuildRequest, CleanWhat};
use crate::config::Config;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::explain;
use crate::finalize::cache::{CachedImage, ImageCache, Lying};
use crate::finalize::{Artifact, Target, documents, output};
use crate::history::{Ended, Record};
use crate::inventory::lineage;
use crate::means;
use crate::patience::Patience;
use crate::progress::Outcome;
use crate::sbom;
use crate::slots;
use crate::spec::choice::Stage;
use crate::spec::outline::Outline;
use crate::spec::{self, KnownProviders, Release, ResolvedSpec};
use crate::stages;

/// Builds what a request asks for.
///
/// # Errors
/// Those of the stages; an interruption; the end of the build's time.
pub fn run(request: &BuildRequest) -> Result<Vec<Artifact>, Error> {
    let mut spec = read_spec(request)?;
    request.options.apply(&mut spec, &request.config, &request.current_directory)?;
    let patience = Patience::start(request);
    let built = slots::slot(&request.config, request.interrupted.as_ref(), &*request.reporter).and_then(|_slot| {
        let workshop = means::prepare(request, &spec)?;
        let target = Target { directory: spec.destination.clone(), force: request.options.force };
        let given = given_lock(request)?;
        let artifacts = build(&spec, given, &target, request, &workshop.context)
            .inspect_err(|_| workshop.context.remotes.hurry())?;
        if request.options.check {
            checking::check(&spec, &artifacts, request, &workshop.context)?;
        }
        Ok(artifacts)
    });
    built.map_err(|error| patience.judge(error))
}

/// The five stages, in order.
fn build(
    spec: &ResolvedSpec,
    given: Option<Lock>,
    target: &Target,
    request: &BuildRequest,
    cx: &Context,
) -> Result<Vec<Artifact>, Error> {
    let started = Instant::now();
    if spec.stages.contains(&Stage::Validate) {
        stage(cx, Stage::Validate, || stages::validate(spec, &cx.catalogue))?;
    }
    if !spec.stages.contains(&Stage::Packages) {
        return Ok(Vec::new());
    }
    let finish = spec.stages.contains(&Stage::Finalize);
    let images = ImageCache::new(&request.config.cache_dir, &means::boot());
    let lock = stages::lock(spec, given, cx)?;
    let facts = serde_json::to_vec(&cx.distro(spec)?).to("write the provider's facts")?;
    let key = image_key(spec, &lock, &facts, cx)?;
    let (cache, name) = (&request.config.cache_dir, spec.name.as_str());
    if finish {
        let begun = Instant::now();
        if let Some((found, why)) = cached(&images, &key, spec, target, cx)? {
            cx.reporter.stage_started(Stage::Finalize);
            let ended = Ended { outcome: Outcome::Reused, why: Some(why.to_owned()), parts: None };
            cx.stage(Stage::Finalize, ended, begun.elapsed().as_secs_f64());
            return Ok(found);
        }
        let names: Vec<String> = output::names(spec).into_iter().chain(documents::names(spec)).collect();
        target.prepare(&names)?;
    }
    let sources = cx.sources.get().map(Vec::as_slice).unwrap_or_default();
    let now = Record::new(Outline::of(spec), &facts, cx.epoch(), &lock, sources);
    cx.history.begin(Record::read(cache, name), now, cx.reuse_layers);
    let packages = stage(cx, Stage::Packages, || stages::fetch(spec, lock, cx))?;
    if !spec.stages.contains(&Stage::Compose) {
        documents::publish_lock(spec, &packages, target)?;
        return Ok(Vec::new());
    }
    let composed = stage(cx, Stage::Compose, || stages::compose(spec, &packages, cx))?;
    let configured = match spec.stages.contains(&Stage::Configuration) {
        true => stage(cx, Stage::Configuration, || stages::configuration(spec, composed, cx))?,
        false => stages::Configured(composed.0),
    };
    // For people alone: a build does without.
    if let Err(error) = lineage::keep(cache, name, &configured.0, cx) {
        cx.reporter.warn(&format!("there is no record of the layers: {}", explain::chain(&error)));
    }
    remember(cache, name, cx);
    if !finish {
        return Ok(Vec::new());
    }
    cx.history.finishing(key, spec.caches.images);
    let (artifacts, named) = stage(cx, Stage::Finalize, || stages::finalize(spec, &packages, &configured, target, cx))?;
    remember(cache, name, cx);
    // The outputs are finished: that neither report nor copy can be written is no failure.
    if let Err(error) = documents::publish_report(spec, target, cx, started.elapsed()) {
        cx.reporter.warn(&format!("there is no report of this build: {}", explain::chain(&error)));
    }
    // Damage that was found meanwhile may have been read before.
    let is_clean = cx.store.damage().is_ok_and(|damage| damage == cx.damage);
    if spec.caches.images && is_clean {
        let max_count = request.config.image_cache.max_count;
        if let Err(error) = images.keep(&key, name, &artifacts, target, max_count) {
            cx.reporter.warn(&format!("the image is not kept in the cache: {}", explain::chain(&error)));
        }
    }
    named.settle();
    Ok(artifacts)
}

/// Runs a stage, told from its beginning to its end.
///
/// # Errors
/// The stage's.
pub(crate) fn stage<T>(cx: &Context, which: Stage, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    cx.check()?;
    cx.reporter.stage_started(which);
    cx.history.stage_started(which);
    let started = Instant::now();
    let result = work();
    let ended = match result.is_ok() {
        true => cx.history.stage_ended(),
        false => Ended { outcome: Outcome::Failed, why: None, parts: None },
    };
    cx.stage(which, ended, started.elapsed().as_secs_f64());
    result
}

/// Keeps what this build was made of, so that the next one can say what changed. For people alone: a build
/// does without.
fn remember(cache: &Path, name: &str, cx: &Context) {
    let kept = cx.history.record().map_or(Ok(()), |record| record.keep(cache, name, &cx.store));
    if let Err(error) = kept {
        cx.reporter.warn(&format!("there is no record of this build: {}", explain::chain(&error)));
    }
}

/// What an image is the image of: spec, lock, the provider's facts, time, and the program that makes it.
fn image_key(spec: &ResolvedSpec, lock: &Lock, facts: &[u8], cx: &Context) -> Result<Key, Error> {
    Ok(KeyBuilder::new("image", 2)
        .field("program", env!("CARGO_PKG_VERSION"))
        .field("spec", spec.digest())
        // A provider's data may be the user's own file.
        .field("provider", facts)
        .field("lock", lock.write().to("write the lock")?)
        // An image of packages that are not trusted any more is not given out again.
        .list("keyrings", cx.sources.get().into_iter().flatten().filter_map(|source| source.keyring))
        .field("epoch", cx.epoch().to_le_bytes())
        .finish())
}

/// The outputs of an earlier, identical build, and how they are at hand.
fn cached(
    images: &ImageCache,
    key: &Key,
    spec: &ResolvedSpec,
    target: &Target,
    cx: &Context,
) -> Result<Option<(Vec<Artifact>, &'static str)>, Error> {
    if !spec.caches.images {
        return Ok(None);
    }
    let Some(record) = images.find(key) else { return Ok(None) };
    match images.look(key, &record, target, &|| cx.check())? {
        Lying::Whole => {
            images.artifacts(&record, target).iter().for_each(|artifact| target.settle(&artifact.path));
            let why = "nothing has changed: the outputs are those of the last build";
            return Ok(Some((images.artifacts(&record, target), why)));
        }
        Lying::Damaged(damaged) => {
            // The bytes may never have come to the disk; or somebody wrote others and left the time. Then the
            // file is theirs: without --force it stays.
            for path in damaged {
                let path = path.display();
                let words = format!("{path} has not the bytes that were written to it before this boot of the machine");
                cx.reporter.warn(&words);
            }
        }
        Lying::Elsewhere => {}
    }
    let names: Vec<String> = images
        .artifacts(&record, target)
        .iter()
        .filter_map(|artifact| Some(artifact.path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    target.prepare(&names)?;
    let restored = images.restore(key, &record, target, &|| cx.check())?;
    Ok(restored.map(|artifacts| (artifacts, "the image was built before: copied from the image cache")))
}

/// Reads and resolves the spec of a request; warnings are told.
///
/// # Errors
/// Every problem of the spec.
pub fn read_spec(request: &BuildRequest) -> Result<ResolvedSpec, Error> {
    let providers = known_providers(&means::catalogue(&request.config)?);
    let (resolved, warnings) = spec::load_resolved(&request.spec_path, &request.current_directory, &providers)?;
    for warning in warnings {
        request.reporter.warn(&warning.to_string());
    }
    Ok(resolved)
}

/// The providers of a catalogue with their releases, aliases included.
pub fn known_providers(catalogue: &Catalogue) -> KnownProviders {
    let mut known = KnownProviders::default();
    for distro in catalogue.distros() {
        let names = std::iter::once(&distro.version).chain(&distro.aliases);
        let releases = names.map(|name| Release {
            version: name.clone(),
            recommends: distro.family.takes_recommends(),
            grub_for_bios: distro.boot.grub.values().any(|grub| grub.bios.is_some()),
            network_match: distro.network_match.clone(),
        });
        known.0.entry(distro.os.clone()).or_default().extend(releases);
    }
    known
}

/// The lock beside the spec: its path.
pub fn lock_path(spec_path: &Path) -> PathBuf {
    spec_path.with_extension("lock")
}

/// The lock that a request wants to be used, if it does.
///
/// # Errors
/// A lock that is not there or cannot be read.
pub(crate) fn given_lock(request: &BuildRequest) -> Result<Option<Lock>, Error> {
    if !request.options.locked {
        return Ok(None);
    }
    let path = lock_path(&request.spec_path);
    let bytes = std::fs::read(&path).map_err(|source| {
        Error::io(Kind::Build, "read the lock", &path, source)
            .hint(format!("write it with `image-composer lock {}`", request.spec_path.display()))
    })?;
    Lock::read(&bytes).map(Some).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        Error::build(format!("failed to use {}", path.display())).caused_by(error).hint(hint)
    })
}

/// Writes the lock of a spec beside it, and gives its path.
///
/// # Errors
/// Those of the packages stage; a directory that cannot be written.
pub fn lock(request: &BuildRequest) -> Result<PathBuf, Error> {
    let spec = read_spec(request)?;
    let patience = Patience::start(request);
    let lock = means::prepare(request, &spec)
        .and_then(|workshop| stages::lock(&spec, None, &workshop.context))
        .map_err(|error| patience.judge(error))?;
    let path = std::path::absolute(lock_path(&request.spec_path))
        .map_err(|source| Error::io(Kind::Build, "find", &request.spec_path, source))?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut pending = Target { directory, force: true }.begin(&name)?;
    pending.write(lock.write().to("write the lock")?.as_bytes())?;
    pending.publish()
}

/// The chain of reasons for which a package is in the image, from the package to what was asked
/// for; each line is one reason.
///
/// # Errors
/// The package is not in the image; those of the packages stage.
pub fn why(request: &BuildRequest, package: &str) -> Result<String, Error> {
    let spec = read_spec(request)?;
    let patience = Patience::start(request);
    let lock = means::prepare(request, &spec)
        .and_then(|workshop| stages::lock(&spec, given_lock(request)?, &workshop.context))
        .map_err(|error| patience.judge(error))?;
    let mut lines: Vec<String> = Vec::new();
    let mut wanted = package.to_owned();
    loop {
        let mut of_base = lock.base.iter().flat_map(|base| &base.packages);
        if let Some(found) = of_base.find(|found| found.name == wanted) {
            lines.push(format!("{} {}: {}", found.name, found.version, sbom::OF_BASE));
            return Ok(joined(&lines));
        }
        let Some(found) = lock.packages.iter().find(|locked| locked.name == wanted) else {
            let near: Vec<&str> = lock
                .packages
                .iter()
                .map(|locked| locked.name.as_str())
                .filter(|name| name.contains(package))
                .take(5)
                .collect();
            let error = Error::other(format!("'{package}' is not in the image"));
            return Err(if near.is_empty() {
                error
            } else {
                error.hint(format!("similar names: {}", near.join(", ")))
            });
        };
        lines.push(format!("{} {}: {}", found.name, found.version, found.why));
        let next = match &found.why {
            providers::lock::Why::Dependency { of, .. } => of,
            providers::lock::Why::Recommended { by } => by,
            providers::lock::Why::Supplements { of } => of,
            _ => return Ok(joined(&lines)),
        };
        // Reasons run in no circles in a lock of ours; one from elsewhere may.
        if lines.len() > lock.packages.len() {
            return Ok(joined(&lines));
        }
        wanted = next.clone();
    }
}

fn joined(lines: &[String]) -> String {
    let mut text = String::new();
    for (depth, line) in lines.iter().enumerate() {
        text.push_str(&"  ".repeat(depth));
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Seconds since the epoch now.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The images of the image cache.
///
/// # Errors
/// None at present; what cannot be read is left out.
pub fn cached_images(config: &Config) -> Result<Vec<CachedImage>, Error> {
    Ok(ImageCache::new(&config.cache_dir, &means::boot()).list())
}

/// What is kept of the one image whose hash begins so.
///
/// # Errors
/// No image or several images have such a hash.
pub fn image_info(config: &Config, hash: &str) -> Result<String, Error> {
    let images = cached_images(config)?;
    let found: Vec<&CachedImage> = images.iter().filter(|image| image.hash.starts_with(hash)).collect();
    match found.as_slice() {
        [one] => Ok(one.describe()),
        [] => Err(Error::other(format!("no image of the cache has a hash that begins with '{hash}'"))
            .hint("`image-composer cache list` shows them")),
        several => {
            Err(Error::other(format!("{} images of the cache have a hash that begins with '{hash}'", several.len()))
                .hint("give more of the hash"))
        }
    }
}

/// Cleans the caches and gives the number of bytes that were freed.
///
/// # Errors
/// I/O errors.
pub fn clean(config: &Config, what: CleanWhat) -> Result<u64, Error> {
    crate::cleaning::clean(config, what)
}
