//! Typed spec to resolved spec: defaults applied, paths made absolute, files read, and every
//! combination that makes no sense refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::base::image as base_image;
use super::choice::{Architecture, Bootloader, Compression, Format, Stage, Variant};
use super::decode::Located;
use super::names::{FromText, Hostname, Locale, OsName, PackageName, Timezone, UnitName};
use super::problem::{Problem, Problems};
use super::resolved::{self, Caches, Container, Kernel, ResolvedSpec};
use super::typed::Spec;
use super::{customized, disk, keys};

/// Most layers of an OCI image: engines take no more.
const OCI_LAYERS_MAX: usize = 127;

/// The providers there are, each with the releases it knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownProviders(pub BTreeMap<String, Vec<Release>>);

/// A release of a provider, as far as the defaults of a spec depend on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Release {
    /// A name that specs may use for it.
    pub version: String,
    /// Whether its own tools take recommended packages along when an image is made.
    pub recommends: bool,
    /// Whether its GRUB starts under a BIOS too.
    pub grub_for_bios: bool,
    /// The interfaces that are configured when a spec names none (systemd.network(5)).
    pub network_match: String,
}

#[cfg(test)]
impl Release {
    /// A release of deb packages, for tests.
    pub fn of_deb(version: &str) -> Self {
        Self { version: version.to_owned(), recommends: false, grub_for_bios: true, network_match: "en*".to_owned() }
    }
}

impl KnownProviders {
    fn release(&self, os: &str, version: &str) -> Option<&Release> {
        self.0.get(os)?.iter().find(|release| release.version == version)
    }
}

/// What a spec is resolved against.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The spec's own directory, absolute: what its paths are relative to.
    pub spec_directory: &'a Path,
    /// Where the command runs, absolute: what `output.destination` is relative to.
    pub current_directory: &'a Path,
    /// The providers there are.
    pub providers: &'a KnownProviders,
}

/// The finding of [`resolve`]: the spec where nothing is wrong, and the warnings.
pub type Resolution = (ResolvedSpec, Vec<Problem>);

/// Makes of a spec what it means.
///
/// # Errors
/// Every problem found, warnings among them, in the order of their places.
pub fn resolve(spec: &Spec, around: &Surroundings<'_>) -> Result<Resolution, Vec<Problem>> {
    let mut problems = Problems::default();
    let resolved = assemble(spec, around, &mut problems);
    match resolved {
        Some(resolved) if !problems.has_errors() => Ok((resolved, problems.into_vec())),
        _ => Err(problems.into_vec()),
    }
}

fn assemble(spec: &Spec, around: &Surroundings<'_>, problems: &mut Problems) -> Option<ResolvedSpec> {
    let base = &spec.image.base;
    let custom = &spec.customizations;
    provider(&base.os, &base.version, around.providers, problems);
    let release = around.providers.release(base.os.value.as_str(), base.version.value.as_str());
    let (formats, compression) = output(spec, problems);
    let bootloader = bootloader(spec);
    let destination = spec.output.destination.as_ref().map_or("output", |d| d.value.as_str());
    // All of these run whatever the others found: every problem at once.
    let hostname = hostname(spec, problems);
    let users = customized::users(&custom.users, around.spec_directory, problems);
    let network = customized::network(&custom.network, release.map(|release| release.network_match.as_str()), problems);
    let repositories = customized::repositories(&custom.repositories, around.spec_directory, problems);
    let files = customized::files(&custom.files, around.spec_directory, problems);
    let architecture = base.architecture.as_ref().map_or(Architecture::Amd64, |a| a.value);
    // What is not known has an error of its own.
    let grub_for_bios = release.is_none_or(|release| release.grub_for_bios);
    let disk = disk::disk(spec, &disk::Around { bootloader, grub_for_bios, architecture, files: &files }, problems);
    if formats.contains(&Format::Vhd) && disk.size.is_some_and(|size| size > image::vhd::SIZE_MAX) {
        let place = spec.disk.size.as_ref().map_or(&spec.image.name.span, |size| &size.span);
        let message = format!("disk.size: a vhd holds {} GiB at most", image::vhd::SIZE_MAX >> 30);
        problems.push(Problem::error(place, message).hint("make disk.size smaller, or use another format"));
    }
    let from = base.from.as_ref().and_then(|from| base_image(from, around.spec_directory, problems));
    let scripts = customized::scripts(&custom.scripts, around.spec_directory, problems);
    let debconf = customized::debconf(&custom.debconf, problems);
    let packages = packages(spec, release.is_some_and(|release| release.recommends), problems);
    let services = services(spec, problems);
    let stages = stages(spec, problems);
    Some(ResolvedSpec {
        name: spec.image.name.value.clone(),
        image_version: spec.image.version.clone(),
        description: spec.image.description.clone(),
        os: base.os.value.clone(),
        os_version: base.version.value.clone(),
        variant: base.r#type.unwrap_or(Variant::Minimal),
        architecture,
        base: from,
        hostname: hostname?,
        locale: custom.locale.clone().or_else(|| Locale::from_text("C.UTF-8").ok())?,
        timezone: custom.timezone.clone().or_else(|| Timezone::from_text("UTC").ok())?,
        users,
        network: network?,
        kernel: Kernel {
            package: spec.kernel.package.clone(),
            version: spec.kernel.version.clone(),
            cmdline: spec.kernel.cmdline.0.clone(),
        },
        bootloader,
        disk,
        repositories,
        packages,
        services,
        files,
        scripts,
        debconf,
        build_network: spec.build.network.unwrap_or(false),
        formats,
        compression,
        container: container(spec, problems),
        stages,
        caches: Caches {
            packages: spec.build.cache.use_package_cache.unwrap_or(true),
            images: spec.build.cache.use_image_cache.unwrap_or(true),
        },
        remotes: customized::remotes(&spec.build.cache.remote, around.spec_directory, problems),
        destination: around.current_directory.join(destination),
        spec_directory: around.spec_directory.to_owned(),
    })
}

fn provider(
    os: &Located<OsName>,
    version: &Located<super::names::VersionText>,
    known: &KnownProviders,
    problems: &mut Problems,
) {
    let Some(versions) = known.0.get(os.value.as_str()) else {
        let message = format!("Provider '{}' is not configured in the global configuration", os.value);
        let names: Vec<&str> = known.0.keys().map(String::as_str).collect();
        let hint = match keys::nearest(os.value.as_str(), names.iter().copied()) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("known providers: {}", names.join(", ")),
        };
        return problems.push(Problem::error(&os.span, message).hint(hint));
    };
    if known.release(os.value.as_str(), version.value.as_str()).is_none() {
        let message = format!("provider '{}' has no version '{}'", os.value, version.value);
        let hint = format!(
            "known versions: {}",
            versions.iter().map(|release| release.version.as_str()).collect::<Vec<_>>().join(", ")
        );
        problems.push(Problem::error(&version.span, message).hint(hint));
    }
}

fn bootloader(spec: &Spec) -> Bootloader {
    let formats = &spec.output.format.0;
    match &spec.bootloader {
        // Nothing boots a container image.
        None if !formats.is_empty() && formats.iter().all(|format| format.value == Format::Oci) => Bootloader::None,
        None => Bootloader::SystemdBoot,
        Some(loader) => loader.value,
    }
}

fn output(spec: &Spec, problems: &mut Problems) -> (Vec<Format>, Compression) {
    let compression = spec.output.compression.as_ref().map_or(Compression::None, |c| c.value);
    let mut formats = Vec::new();
    for format in &spec.output.format.0 {
        if formats.contains(&format.value) {
            problems.push(Problem::warning(&format.span, format!("the format '{}' stands twice", format.value)));
            continue;
        }
        formats.push(format.value);
        if format.value == Format::Iso && bootloader(spec) == Bootloader::None {
            let problem = Problem::error(&format.span, "an iso needs a boot loader");
            problems.push(problem.hint("use systemd-boot, or grub to start under a BIOS too"));
        }
        if !compression.fits(format.value) {
            let message = format!("Invalid combination of compression '{compression}' with format '{}'", format.value);
            let fitting: Vec<&str> = Compression::ALL
                .iter()
                .filter(|compression| compression.fits(format.value))
                .map(|compression| compression.as_str())
                .collect();
            let place = spec.output.compression.as_ref().map_or(&format.span, |c| &c.span);
            let hint = format!("with {} use: {}", format.value, fitting.join(", "));
            problems.push(Problem::error(place, message).hint(hint));
        }
    }
    if formats.is_empty() {
        formats.push(Format::Raw);
    }
    (formats, compression)
}

fn container(spec: &Spec, problems: &mut Problems) -> Container {
    let written = &spec.output.oci;
    let layers = written.layers.as_ref().map_or(::oci::split::LAYERS_DEFAULT, |layers| layers.value as usize);
    if let Some(place) = written.layers.as_ref().filter(|_| !(1..=OCI_LAYERS_MAX).contains(&layers)) {
        let problem =
            Problem::error(&place.span, format!("output.oci.layers: an image has 1 to {OCI_LAYERS_MAX} layers"));
        problems.push(problem.hint("leave it out, or write fewer"));
    }
    Container { layers, entrypoint: written.entrypoint.clone(), command: written.command.clone() }
}

fn hostname(spec: &Spec, problems: &mut Problems) -> Option<Hostname> {
    if let Some(hostname) = &spec.customizations.hostname {
        return Some(hostname.clone());
    }
    // An image's name may hold what a host name may not.
    let name: String = spec.image.name.value.as_str().replace(['_', '+', '~', '.'], "-");
    let name = name.get(..name.len().min(63)).unwrap_or(&name).trim_matches('-').to_owned();
    match Hostname::from_text(&name) {
        Ok(hostname) => Some(hostname),
        Err(why) => {
            let message = format!("the image's name {name:?} does not make a host name: {why}");
            problems.push(Problem::error(&spec.image.name.span, message).hint("set customizations.hostname"));
            None
        }
    }
}

fn stages(spec: &Spec, problems: &mut Problems) -> BTreeSet<Stage> {
    let Some(listed) = &spec.build.stages else {
        return Stage::ALL.iter().copied().collect();
    };
    let stages: BTreeSet<Stage> = listed.value.0.iter().copied().collect();
    // A stage takes what the one before it gives; only validate and configuration can be left out.
    let last = stages.iter().next_back().copied();
    for needed in [Stage::Packages, Stage::Compose] {
        if last.is_some_and(|last| last > needed) && !stages.contains(&needed) {
            let message = format!("build.stages: '{}' is missing, and later stages need it", needed.as_str());
            problems.push(Problem::error(&listed.span, message));
        }
    }
    if !listed.value.0.is_sorted() {
        let problem = Problem::warning(&listed.span, "build.stages: stages always run in their own order");
        problems.push(problem.hint("validate, packages, compose, configuration, finalize"));
    }
    stages
}

/// A list with what stands twice left out, each with a warning.
fn once<T: Clone + Ord + std::fmt::Display>(list: &[Located<T>], what: &str, problems: &mut Problems) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::with_capacity(list.len());
    for item in list {
        if seen.insert(&item.value) {
            kept.push(item.value.clone());
        } else {
            problems.push(Problem::warning(&item.span, format!("the {what} '{}' stands twice", item.value)));
        }
    }
    kept
}

/// Refuses what stands in two lists that contradict each other.
fn contradiction<T: Ord + std::fmt::Display>(
    first: &[Located<T>],
    second: &[Located<T>],
    message: impl Fn(&T) -> String,
    problems: &mut Problems,
) {
    let first: BTreeSet<&T> = first.iter().map(|item| &item.value).collect();
    for item in second.iter().filter(|item| first.contains(&item.value)) {
        problems.push(Problem::error(&item.span, message(&item.value)));
    }
}

fn packages(spec: &Spec, recommends: bool, problems: &mut Problems) -> resolved::Packages {
    let written = &spec.customizations.packages;
    contradiction(
        &written.install,
        &written.remove,
        |name: &PackageName| format!("the package '{name}' is both to install and to remove"),
        problems,
    );
    resolved::Packages {
        install: once(&written.install, "package", problems),
        remove: once(&written.remove, "package", problems),
        recommends: written.recommends.unwrap_or(recommends),
    }
}

fn services(spec: &Spec, problems: &mut Problems) -> resolved::Services {
    let written = &spec.customizations.services;
    for (first, second, words) in [
        (&written.enabled, &written.disabled, "enabled and disabled"),
        (&written.enabled, &written.masked, "enabled and masked"),
    ] {
        contradiction(first, second, |name: &UnitName| format!("the unit '{name}' is both {words}"), problems);
    }
    resolved::Services {
        enabled: once(&written.enabled, "unit", problems),
        disabled: once(&written.disabled, "unit", problems),
        masked: once(&written.masked, "unit", problems),
    }
}
