//! The tree as an OCI image. The layers are cut by `oci::split`: see docs/decisions/oci-layers.md.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use ::oci::image::{Description, Platform};
use ::oci::memory::Memory;
use ::oci::{Export, Exported, Form, Origin, Packed, Writer};
use image::compress;
use jiff::Timestamp;
use layers::{Content, Contents, Error as LayersError, Layer, MemoryContents, Stack, Tree, TreePath};
use sandbox::Cancel;

use super::disk::Both;
use super::live::without_disk;
use super::output::{self, Written};
use super::target::Target;
use crate::base::Base;
use crate::context::{Context, Made};
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Compression, Format};

/// What annotations and labels of images begin with (image-spec, annotations.md).
const ANNOTATION: &str = "org.opencontainers.image";
/// Where programs are looked for in an image.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is run where the spec does not say, if it is there.
const PROGRAMS: [&str; 3] = ["sbin/init", "bin/bash", "bin/sh"];

/// A tree and where it comes from.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    /// The layers that it was made of.
    pub stack: &'a Stack,
    /// The tree, after the passes.
    pub tree: &'a Tree,
    /// Where the bytes of its files are.
    pub contents: &'a dyn Contents,
    /// The image that it was started from.
    pub base: Option<&'a Base>,
}

/// Says whether a destination has the blob of a layer, so that it need not be made.
pub type Has<'a> = dyn Fn(&Packed) -> bool + Sync + 'a;

/// Writes the image as a layout in a tar file.
///
/// # Errors
/// What a layer cannot hold; content that is missing; a full disk.
pub fn write(spec: &ResolvedSpec, finished: &Finished<'_>, target: &Target, cx: &Context) -> Result<Written, Error> {
    let names = output::image_names(spec);
    let name = names.into_iter().find_map(|(format, name)| (format == Format::Oci).then_some(name));
    let pending = target.begin(&name.unwrap_or_default())?;
    let scratch = cx.store.stage().to("make a work directory")?;
    let mut writer = Writer::create(&scratch.path().join("image"), Form::Archive).to("begin the OCI image")?;
    let exported = export(spec, finished, &writer, None, cx)?;
    writer.add(exported.descriptor, Some(&reference_name(spec)));
    let written = pending.handle().and_then(|file| writer.finish_into(file, pending.path()).map_err(explain));
    written.map(|()| Written::new(Format::Oci.as_str(), pending))
}

/// Puts the image into a writer.
///
/// # Errors
/// As [`write`].
pub fn export(
    spec: &ResolvedSpec,
    finished: &Finished<'_>,
    writer: &Writer,
    has: Option<&Has<'_>>,
    cx: &Context,
) -> Result<Exported, Error> {
    // What packing a layer came to the last time.
    let memory = Memory::open(&cx.packed_directory).ok();
    let mut generated = MemoryContents::default();
    // What no container has: a disk to mount and to grow.
    let tree = without_disk(finished.tree, &mut generated)?;
    let contents = Both(finished.contents, &generated);
    let contents = Watched { contents: &contents, cancel: &cx.cancel };
    let brought = brought(finished.stack, cx);
    let origins: Vec<Origin<'_>> = brought
        .iter()
        .map(|(made, layer)| Origin { name: &made.name, layer, is_package: made.version.is_some() })
        .collect();
    let request = Export {
        tree: &tree,
        contents: &contents,
        origins: &origins,
        base: finished.base.map(|Base { found, stack, .. }| ::oci::Base {
            image: &found.image,
            tree: stack.tree(),
            blobs: Some(found.blobs()),
        }),
        layers: spec.container.layers,
        compression: compression(spec.compression),
        threads: cx.parallel,
        memory: memory.as_ref(),
        has,
    };
    if let Some(base) = finished.base {
        base.found.bring_all()?;
    }
    let exported = ::oci::export(writer, &request, &description(spec, &tree, finished.base, cx)?);
    let exported = exported.map_err(|error| match cx.check() {
        Err(ended) => ended,
        Ok(()) => explain(error),
    })?;
    tell_lost(&exported.lost, cx);
    Ok(exported)
}

/// The layers of a stack by what made them. A layer that several things made is there once for each.
fn brought<'s>(stack: &'s Stack, cx: &Context) -> Vec<(Made, &'s Layer)> {
    let mut seen = BTreeSet::new();
    let mut brought = Vec::new();
    for stored in stack.layers().iter().filter(|stored| seen.insert(stored.id)) {
        brought.extend(cx.made(&stored.id).into_iter().map(|made| (made, &*stored.layer)));
    }
    brought
}

/// Layers are always compressed: as every engine reads it, unless the spec says otherwise.
fn compression(chosen: Compression) -> compress::Compression {
    match chosen {
        Compression::Zstd => compress::Compression::Zstd(3),
        _ => compress::Compression::Gzip(6),
    }
}

/// The image's name in a layout: `name:version`, or `name:latest`.
pub fn reference_name(spec: &ResolvedSpec) -> String {
    let fit = |text: &str, also: &str| -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
        text.chars().map(|c| if fits(c) { c } else { '-' }).collect()
    };
    // Engines take names in lower case only.
    let name = fit(&spec.name.as_str().to_ascii_lowercase(), ".-");
    let version = spec.image_version.as_ref().map_or("latest".to_owned(), |version| fit(version.as_str(), "._-"));
    format!("{name}:{version}")
}

fn description(spec: &ResolvedSpec, tree: &Tree, base: Option<&Base>, cx: &Context) -> Result<Description, Error> {
    let epoch = cx.epoch();
    let mut description = Description::new(Platform::linux(spec.architecture.deb()), epoch);
    let created = Timestamp::from_second(epoch).to("write the time of the image")?;
    let said = [
        ("title", Some(spec.name.as_str().to_owned())),
        ("version", spec.image_version.as_ref().map(ToString::to_string)),
        ("description", spec.description.clone()),
        ("created", Some(created.to_string())),
    ];
    let said = said.into_iter().filter_map(|(key, value)| Some((format!("{ANNOTATION}.{key}"), value?)));
    let mut labels: BTreeMap<String, String> = said.collect();
    if let Some(Base { found, .. }) = base {
        labels.insert(format!("{ANNOTATION}.base.digest"), format!("sha256:{}", found.manifest()?));
        if let Some(name) = found.written.strip_prefix("docker://") {
            labels.insert(format!("{ANNOTATION}.base.name"), name.to_owned());
        }
    }
    description.annotations = labels.clone();
    labels.insert("vnd.image-composer.os".into(), spec.os.to_string());
    labels.insert("vnd.image-composer.os-version".into(), spec.os_version.to_string());
    description.labels = labels;
    let of_base = base.and_then(|base| base.found.image.configuration.config().clone()).unwrap_or_default();
    // What is not said here is as the base has it.
    if of_base.env().as_ref().is_none_or(Vec::is_empty) {
        description.env = vec![PATH.to_owned()];
    }
    let has_program =
        [of_base.entrypoint(), of_base.cmd()].iter().any(|words| words.as_ref().is_some_and(|w| !w.is_empty()));
    description.entrypoint = spec.container.entrypoint.clone();
    description.cmd = spec.container.command.clone();
    if description.entrypoint.is_empty() && description.cmd.is_empty() && !has_program {
        let there = |program: &&str| -> bool {
            let found = TreePath::new(*program).ok().and_then(|path| tree.resolve(&path).ok());
            found.is_some_and(|path| tree.get(&path).is_some())
        };
        let program = PROGRAMS.iter().find(|program| there(program));
        description.cmd = program.map(|program| format!("/{program}")).into_iter().collect();
        // What systemd ends at in a container (systemd(1), SIGRTMIN+3).
        let is_init = program.is_some_and(|program| *program == "sbin/init");
        description.stop_signal = is_init.then(|| "SIGRTMIN+3".to_owned());
    }
    Ok(description)
}

fn tell_lost(lost: &[TreePath], cx: &Context) {
    if let [first, rest @ ..] = lost {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        cx.reporter.warn(&format!("an OCI image has no sockets: lost at {first}{more}"));
    }
}

/// An error of the library as the command's.
pub fn explain(error: ::oci::Error) -> Error {
    let no_room = matches!(&error, ::oci::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
    if no_room {
        return Error::build("Insufficient disk space for the image")
            .caused_by(error)
            .hint("free some space, or name another directory with --output-dir");
    }
    let hint = match &error {
        ::oci::Error::Content { .. } => {
            Some("`image-composer layers verify --repair` finds layers that are damaged, and the next build makes them again".to_owned())
        }
        other => other.hint(),
    };
    let failed = Error::build("failed to make the OCI image").caused_by(error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Contents that end when the build is told to end.
struct Watched<'a> {
    contents: &'a dyn Contents,
    cancel: &'a Cancel,
}

impl Contents for Watched<'_> {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, LayersError> {
        if self.cancel.is_cancelled() {
            let source = std::io::ErrorKind::Interrupted.into();
            return Err(LayersError::Io { action: "finish", path: "the image".into(), source });
        }
        self.contents.open(content)
    }

    fn host_file(&self, content: &Content) -> Result<Option<std::fs::File>, LayersError> {
        self.contents.host_file(content)
    }
}
