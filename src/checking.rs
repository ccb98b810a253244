//! `build --check`: the image is built a second time from nothing but its packages, in other
//! directories, and must come out the same.

use std::collections::BTreeMap;
use std::ffi::OsString;

use layers::{Layer, Sha256, Tree};
use providers::lock::Lock;

use crate::cli::options::BuildRequest;
use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::{Artifact, Target};
use crate::means;
use crate::spec::ResolvedSpec;
use crate::spec::choice::Stage;
use crate::stages;

/// Most paths that are named.
const NAMED_MAX: usize = 50;

/// Builds again and compares: the trees path by path, then the finished files.
///
/// # Errors
/// What differs; those of a build.
pub fn check(spec: &ResolvedSpec, first: &[Artifact], request: &BuildRequest, cx: &Context) -> Result<(), Error> {
    if !spec.stages.contains(&Stage::Finalize) {
        return Err(Error::usage("--check compares finished images").hint("leave out --stage and --skip-stage"));
    }
    let path = first.iter().find(|artifact| artifact.kind == "lock").map(|artifact| &artifact.path);
    let path = path.ok_or_else(|| Error::build("failed to find the lock among the outputs"))?;
    let text = std::fs::read(path).map_err(|source| Error::io(Kind::Build, "read the lock", path, source))?;
    let lock = Lock::read(&text).to("read the lock")?;
    // From the layers of the first build, which are at hand unless the caches are off.
    let before = tree(spec, lock.clone(), cx)?.1;

    cx.reporter.info("building again from the packages, to compare");
    let apart = cx.work.stage().to("make a work directory")?;
    let mut again = request.clone();
    again.config.cache_dir = apart.path().join("cache");
    let mut spec = spec.clone();
    // What another machine made proves nothing.
    spec.remotes.clear();
    again.config.remotes.clear();
    spec.destination = apart.path().join("output");
    let mut workshop = means::prepare(&again, &spec)?;
    workshop.context.cache_directory = cx.cache_directory.clone();
    let target = Target { directory: spec.destination.clone(), force: true };
    target.prepare(&[])?;
    let (configured, after) = tree(&spec, lock.clone(), &workshop.context)?;
    differences_of_trees(&before, &after)?;
    let packages = stages::fetch(&spec, lock, &workshop.context)?;
    let (second, _) = stages::finalize(&spec, &packages, &configured, &target, &workshop.context)?;
    differences_of_files(first, &second)?;
    cx.reporter.info("built twice with the same result");
    Ok(())
}

fn tree(spec: &ResolvedSpec, lock: Lock, cx: &Context) -> Result<(stages::Configured, Tree), Error> {
    let packages = stages::packages(spec, Some(lock), cx)?;
    let composed = stages::compose(spec, &packages, cx)?;
    let configured = match spec.stages.contains(&Stage::Configuration) {
        true => stages::configuration(spec, composed, cx)?,
        false => stages::Configured(composed.0),
    };
    let tree = configured.0.tree().clone();
    Ok((configured, tree))
}

fn differences_of_trees(before: &Tree, after: &Tree) -> Result<(), Error> {
    let changes = Layer::between(before, after).changes;
    if changes.is_empty() {
        return Ok(());
    }
    let mut text = match changes.len() {
        1 => "the image is not the same when it is built again: 1 path differs".to_owned(),
        count => format!("the image is not the same when it is built again: {count} paths differ"),
    };
    for path in changes.keys().take(NAMED_MAX) {
        text.push_str(&format!("\n    /{path}"));
    }
    if changes.len() > NAMED_MAX {
        text.push_str("\n    …");
    }
    Err(Error::build(text)
        .hint("a script or a package writes the time, a random number or the order of a directory there"))
}

fn differences_of_files(first: &[Artifact], second: &[Artifact]) -> Result<(), Error> {
    let sums = |artifacts: &[Artifact]| -> BTreeMap<OsString, Sha256> {
        let named =
            artifacts.iter().filter_map(|artifact| Some((artifact.path.file_name()?.to_owned(), artifact.sha256)));
        named.collect()
    };
    let (first, second) = (sums(first), sums(second));
    let different: Vec<String> = first
        .iter()
        .filter(|(name, sum)| second.get(*name) != Some(sum))
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    match different.is_empty() {
        true => Ok(()),
        false => Err(Error::build(format!("the same tree became other files: {}", different.join(", ")))
            .hint("this is a fault of image-composer, please report it")),
    }
}
