//! The documents beside an image: lock, SBOM, manifest, checksums.

use std::time::Duration;

use layers::{Sha256, Stack};
use providers::lock::Lock;
use rayon::prelude::*;
use serde_json::json;

use super::output::{Artifact, Written};
use super::target::{Named, Target};
use crate::context::Context;
use crate::error::{Error, ResultExt};
use crate::sbom;
use crate::spec::ResolvedSpec;
use crate::stages::PackageSet;

/// Names of the documents of a spec: lock, SBOM, manifest, checksums, report.
pub fn names(spec: &ResolvedSpec) -> Vec<String> {
    ["lock", "spdx.json", "manifest.json", "SHA256SUMS"].map(|suffix| format!("{}.{suffix}", spec.name)).to_vec()
}

/// Gives images and documents their names, the checksums last: when they are there, all is.
///
/// # Errors
/// I/O errors; an output in the way.
pub fn publish(
    spec: &ResolvedSpec,
    packages: &PackageSet,
    stack: &Stack,
    images: Vec<Written>,
    target: &Target,
    cx: &Context,
) -> Result<(Vec<Artifact>, Named), Error> {
    let mut artifacts = Vec::new();
    let mut ready = Vec::new();
    let digests: Result<Vec<_>, Error> = images.par_iter().map(|image| image.digest(cx)).collect();
    for (Written { kind, file, .. }, (sha256, size)) in images.into_iter().zip(digests?) {
        artifacts.push(Artifact { path: file.path().to_path_buf(), kind: kind.into(), sha256, size });
        ready.push(file);
    }
    let version = spec.image_version.as_ref().map(ToString::to_string).unwrap_or_default();
    let lock = packages.lock.write().to("write the lock")?;
    let sbom = sbom::spdx(&packages.lock, packages.distro.family, spec.name.as_str(), &version)?;
    let manifest = manifest(spec, stack, &packages.lock, (&lock, &sbom), &artifacts)?;
    for (name, kind, text) in
        [("lock", "lock", lock), ("spdx.json", "sbom", sbom), ("manifest.json", "manifest", manifest)]
    {
        let mut pending = target.begin(&format!("{}.{name}", spec.name))?;
        pending.write(text.as_bytes())?;
        artifacts.push(Artifact {
            path: pending.path().to_path_buf(),
            kind: kind.into(),
            sha256: Sha256::of(text.as_bytes()),
            size: text.len() as u64,
        });
        ready.push(pending);
    }
    let text = checksums(&artifacts);
    let mut sums = target.begin(&format!("{}.SHA256SUMS", spec.name))?;
    sums.write(text.as_bytes())?;
    artifacts.push(Artifact {
        path: sums.path().to_path_buf(),
        kind: "checksums".into(),
        sha256: Sha256::of(text.as_bytes()),
        size: text.len() as u64,
    });
    ready.push(sums);
    let named = target.publish_all(ready)?;
    Ok((artifacts, named))
}

/// Writes only the lock: what a build that ends after the packages stage leaves.
///
/// # Errors
/// I/O errors; a lock of another build in the way.
pub fn publish_lock(spec: &ResolvedSpec, packages: &PackageSet, target: &Target) -> Result<(), Error> {
    let name = format!("{}.lock", spec.name);
    target.prepare(std::slice::from_ref(&name))?;
    let mut pending = target.begin(&name)?;
    pending.write(packages.lock.write().to("write the lock")?.as_bytes())?;
    pending.publish().map(drop)
}

/// Writes the report of a build: what it did, how long it took, on what. Not an artifact: it
/// differs from build to build, and replaces the one of the last.
///
/// # Errors
/// I/O errors.
pub fn publish_report(spec: &ResolvedSpec, target: &Target, cx: &Context, took: Duration) -> Result<(), Error> {
    let steps = cx.steps.lock().map(|steps| steps.clone()).unwrap_or_default();
    let stages = cx.stages.lock().map(|stages| stages.clone()).unwrap_or_default();
    let document = json!({
        "format": 1,
        "seconds": took.as_secs_f64(),
        "rung": cx.rung.get().map(|rung| rung.name()),
        "host": { "os": cx.machine.os, "kernel": rustix::system::uname().release().to_string_lossy() },
        "sources": cx.sources.get(),
        "parallel": cx.parallel,
        "stages": stages,
        "steps": steps,
    });
    let mut text = serde_json::to_string_pretty(&document).to("write the report")?;
    text.push('\n');
    let target = Target { force: true, ..target.clone() };
    let mut pending = target.begin(&format!("{}.report.json", spec.name))?;
    pending.write(text.as_bytes())?;
    pending.put().map(drop)
}

fn file_name(artifact: &Artifact) -> String {
    artifact.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// As sha256sum(1) writes and checks it.
fn checksums(artifacts: &[Artifact]) -> String {
    artifacts.iter().map(|artifact| format!("{}  {}\n", artifact.sha256, file_name(artifact))).collect()
}

/// Inputs and digests, stage by stage. Nothing of this machine is in it.
fn manifest(
    spec: &ResolvedSpec,
    stack: &Stack,
    locked: &Lock,
    (lock, sbom): (&str, &str),
    images: &[Artifact],
) -> Result<String, Error> {
    let layers: Vec<String> = stack.layers().iter().map(|layer| layer.id.to_hex()).collect();
    let outputs: Vec<_> = images
        .iter()
        .map(|image| json!({ "name": file_name(image), "format": image.kind, "sha256": image.sha256, "size": image.size }))
        .collect();
    let mut document = json!({
        "format": 1,
        "name": spec.name.as_str(),
        "version": spec.image_version.as_ref().map(ToString::to_string),
        "generator": format!("image-composer {}", env!("CARGO_PKG_VERSION")),
        "spec": hex::encode(spec.digest()),
        "packages": { "lock": Sha256::of(lock.as_bytes()), "sbom": Sha256::of(sbom.as_bytes()) },
        "layers": layers,
        "outputs": outputs,
    });
    if let (Some(base), Some(all)) = (&locked.base, document.as_object_mut()) {
        let packages: Vec<String> =
            base.packages.iter().map(|one| format!("{} {} {}", one.name, one.version, one.architecture)).collect();
        let base = json!({ "from": locked.request.from, "manifest": base.manifest, "packages": packages });
        all.insert("base".into(), base);
    }
    let mut text = serde_json::to_string_pretty(&document).to("write the manifest")?;
    text.push('\n');
    Ok(text)
}
