//! Images: configuration, manifest and index (image-spec, config.md, manifest.md, image-index.md).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use layers::Sha256;
use oci_spec::OciSpecError;
use oci_spec::image::{
    Arch, Config, ConfigBuilder, Descriptor, History, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder,
    ImageIndex, ImageIndexBuilder, ImageManifest, ImageManifestBuilder, MediaType, Os, PlatformBuilder, RootFsBuilder,
};

use crate::blob::{Blobs, shown};
use crate::document::{self, Members};
use crate::layout::Writer;
use crate::{Error, Packed};

/// Most layers of an image that are read: no engine takes more than 127, and overlay 500.
const LAYERS_MAX: usize = 500;
/// Most indexes in an index that are read, and most images in all of them that are looked at.
const INDEXES_MAX: usize = 100;
const IMAGES_MAX: usize = 10_000;
/// Longest list of names in the history, in bytes.
const CREATED_BY_BYTES_MAX: usize = 1000;
/// Docker's names for what OCI standardised (distribution, image manifest version 2, schema 2).
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What an image runs on, in Go's words (GOARCH, GOOS), as the specification has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`, for architectures that have variants.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on an architecture.
    pub fn linux(architecture: impl Into<String>) -> Self {
        Self { architecture: architecture.into(), os: "linux".into(), variant: None }
    }

    fn describe(&self) -> Result<oci_spec::image::Platform, Error> {
        let builder = PlatformBuilder::default()
            .architecture(Arch::from(self.architecture.as_str()))
            .os(Os::from(self.os.as_str()));
        match &self.variant {
            Some(variant) => builder.variant(variant.clone()),
            None => builder,
        }
        .build()
        .map_err(incomplete)
    }

    fn fits(&self, offered: &oci_spec::image::Platform) -> bool {
        offered.architecture().to_string() == self.architecture
            && offered.os().to_string() == self.os
            && (self.variant.is_none() || *offered.variant() == self.variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// What is said of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, in seconds since the epoch: the lock's time, never the clock's.
    pub created: i64,
    /// Who made it.
    pub author: Option<String>,
    /// What made it: the first words of each line of the history.
    pub tool: String,
    /// Who runs in it: `user[:group]`.
    pub user: Option<String>,
    /// `NAME=value`; empty: the base's.
    pub env: Vec<String>,
    /// What is run, before `cmd`; empty: the base's.
    pub entrypoint: Vec<String>,
    /// Its default arguments; empty: the base's.
    pub cmd: Vec<String>,
    /// Where it is run.
    pub working_dir: Option<String>,
    /// What ends it: `SIGRTMIN+3` for systemd.
    pub stop_signal: Option<String>,
    /// `port/protocol`.
    pub exposed_ports: Vec<String>,
    /// Paths that are mounted over.
    pub volumes: Vec<String>,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest (`org.opencontainers.image.*`).
    pub annotations: BTreeMap<String, String>,
}

impl Description {
    /// Nothing but what must be said.
    pub fn new(platform: Platform, created: i64) -> Self {
        Self {
            platform,
            created,
            author: None,
            tool: "image-composer".into(),
            user: None,
            env: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            working_dir: None,
            stop_signal: None,
            exposed_ports: Vec::new(),
            volumes: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// An image whose documents were read and verified.
#[derive(Clone, Debug)]
pub struct Image {
    /// Descriptor of its manifest.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration.
    pub configuration: ImageConfiguration,
    /// SHA-256 of each layer's tar, the bottom first; as many as the manifest has layers.
    pub diff_ids: Vec<Sha256>,
}

/// Writes configuration and manifest of an image whose layers, those of the base excepted, are in
/// the writer already; gives the manifest's descriptor with its platform. `layers` come with what
/// the history says of them.
///
/// # Errors
/// Errors of the writer; a time that no calendar has.
pub fn write(
    writer: &Writer,
    base: Option<&Image>,
    layers: &[(Packed, Vec<String>)],
    description: &Description,
) -> Result<Descriptor, Error> {
    let created = timestamp(description.created)?;
    let mut history: Vec<History> = base.and_then(|base| base.configuration.history().clone()).unwrap_or_default();
    let mut descriptors: Vec<Descriptor> = base.map(|base| base.manifest.layers().clone()).unwrap_or_default();
    let mut diff_ids: Vec<String> =
        base.into_iter().flat_map(|base| &base.diff_ids).map(|digest| format!("sha256:{digest}")).collect();
    for (packed, names) in layers {
        let mut line = HistoryBuilder::default().created(created.clone()).created_by(created_by(description, names));
        if let Some(author) = &description.author {
            line = line.author(author.clone());
        }
        history.push(line.build().map_err(incomplete)?);
        descriptors.push(packed.descriptor()?);
        diff_ids.push(format!("sha256:{}", packed.diff_id));
    }
    let platform = &description.platform;
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().map_err(incomplete)?;
    let mut configuration = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(Arch::from(platform.architecture.as_str()))
        .os(Os::from(platform.os.as_str()))
        .rootfs(rootfs)
        .history(history)
        .config(config(base, description)?);
    if let Some(author) = &description.author {
        configuration = configuration.author(author.clone());
    }
    if let Some(variant) = &platform.variant {
        configuration = configuration.variant(variant.clone());
    }
    let configuration = configuration.build().map_err(incomplete)?;
    let configuration = writer.document(MediaType::ImageConfig, "a configuration", &configuration)?;
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(configuration)
        .layers(descriptors);
    if !description.annotations.is_empty() {
        manifest = manifest.annotations(hashed(&description.annotations));
    }
    let manifest = manifest.build().map_err(incomplete)?;
    let mut descriptor = writer.document(MediaType::ImageManifest, "a manifest", &manifest)?;
    descriptor.set_platform(Some(platform.describe()?));
    Ok(descriptor)
}

/// Writes an index of images for several platforms and gives its descriptor.
///
/// # Errors
/// Errors of the writer.
pub fn write_index(
    writer: &Writer,
    images: Vec<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Descriptor, Error> {
    let mut index =
        ImageIndexBuilder::default().schema_version(2u32).media_type(MediaType::ImageIndex).manifests(images);
    if !annotations.is_empty() {
        index = index.annotations(hashed(annotations));
    }
    writer.document(MediaType::ImageIndex, "an index", &index.build().map_err(incomplete)?)
}

fn config(base: Option<&Image>, description: &Description) -> Result<Config, Error> {
    let mut config = match base.and_then(|base| base.configuration.config().clone()) {
        Some(config) => config,
        None => ConfigBuilder::default().build().map_err(incomplete)?,
    };
    let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        (!list.is_empty()).then_some(list)
    };
    if let Some(user) = &description.user {
        config.set_user(Some(user.clone()));
    }
    if let Some(env) = list(&description.env) {
        config.set_env(Some(env));
    }
    if let Some(entrypoint) = list(&description.entrypoint) {
        config.set_entrypoint(Some(entrypoint));
        // Arguments of another program mean nothing to this one.
        config.set_cmd(None);
    }
    if let Some(cmd) = list(&description.cmd) {
        config.set_cmd(Some(cmd));
    }
    if let Some(directory) = &description.working_dir {
        config.set_working_dir(Some(directory.clone()));
    }
    if let Some(signal) = &description.stop_signal {
        config.set_stop_signal(Some(signal.clone()));
    }
    if let Some(ports) = sorted(&description.exposed_ports) {
        config.set_exposed_ports(Some(ports));
    }
    if let Some(volumes) = sorted(&description.volumes) {
        config.set_volumes(Some(volumes));
    }
    if !description.labels.is_empty() {
        let mut labels = config.labels().clone().unwrap_or_default();
        labels.extend(hashed(&description.labels));
        config.set_labels(Some(labels));
    }
    Ok(config)
}

fn created_by(description: &Description, names: &[String]) -> String {
    let mut text = description.tool.clone();
    for (at, name) in names.iter().enumerate() {
        text.push_str(if at == 0 { ": " } else { ", " });
        if text.len().saturating_add(name.len()) > CREATED_BY_BYTES_MAX {
            let more = names.len().saturating_sub(at);
            text.push_str(&format!("and {more} more"));
            break;
        }
        text.push_str(name);
    }
    text
}

/// Seconds since the epoch as RFC 3339 has them, in UTC.
fn timestamp(seconds: i64) -> Result<String, Error> {
    let time = Timestamp::from_second(seconds);
    time.map(|time| time.to_string()).map_err(|error| Error::document("the time of an image", error.to_string()))
}

pub(crate) fn incomplete(error: OciSpecError) -> Error {
    Error::document("what was to be written", error.to_string())
}

pub(crate) fn hashed(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Which image of an index is meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Its reference name (`org.opencontainers.image.ref.name`).
    pub name: Option<String>,
    /// Its platform, for images of several.
    pub platform: Option<Platform>,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.name, &self.platform) {
            (Some(name), Some(platform)) => write!(f, "{} for {platform}", shown(name)),
            (Some(name), None) => f.write_str(&shown(name)),
            (None, Some(platform)) => write!(f, "for {platform}"),
            (None, None) => f.write_str("of any name"),
        }
    }
}

/// Finds the one image that is meant, through the index of an image for several platforms if there
/// is one.
///
/// # Errors
/// [`Error::NoImage`]: none, or several; documents that are damaged or lie.
pub fn find(blobs: &dyn Blobs, index: &ImageIndex, wanted: &Wanted) -> Result<Image, Error> {
    let named: Vec<&Descriptor> = index
        .manifests()
        .iter()
        .filter(|descriptor| descriptor.artifact_type().is_none())
        .filter(|descriptor| wanted.name.is_none() || reference_name(descriptor) == wanted.name.as_deref())
        .collect();
    let none = |found: String| Error::NoImage { wanted: wanted.to_string(), found };
    let fits = |descriptor: &&Descriptor| {
        let offered = descriptor.platform().as_ref();
        let is_for = |platform: &Platform| offered.is_none_or(|offered| platform.fits(offered));
        is_manifest(descriptor.media_type()) && wanted.platform.as_ref().is_none_or(is_for)
    };
    let mut images = Vec::new();
    let mut read_before = BTreeSet::new();
    for descriptor in named {
        if !is_index(descriptor.media_type()) {
            images.extend(Some(descriptor).filter(fits).cloned());
        } else if read_before.insert(descriptor.digest().as_ref()) {
            // An index in an index in an index is nothing that tools make.
            let inner: ImageIndex = document::fetch(blobs, descriptor, Members::Index)?;
            images.extend(inner.manifests().iter().filter(fits).cloned());
        }
        if read_before.len() >= INDEXES_MAX || images.len() >= IMAGES_MAX {
            return Err(none("there are more than can be looked through".into()));
        }
    }
    let image = match images.as_slice() {
        [] => return Err(none(offered(index))),
        [descriptor] => read(blobs, descriptor)?,
        several => return Err(none(format!("there are {} of them", several.len()))),
    };
    // A descriptor without a platform says nothing; the configuration does.
    if let Some(platform) = &wanted.platform {
        let (os, architecture) = (image.configuration.os().to_string(), image.configuration.architecture().to_string());
        if (os.as_str(), architecture.as_str()) != (platform.os.as_str(), platform.architecture.as_str()) {
            return Err(none(format!("the image is for {}/{}", shown(&os), shown(&architecture))));
        }
    }
    Ok(image)
}

fn offered(index: &ImageIndex) -> String {
    let names: Vec<String> = index.manifests().iter().take(20).filter_map(reference_name).map(shown).collect();
    match names.as_slice() {
        [] => "there is none".into(),
        names => format!("there is {}", names.join(", ")),
    }
}

fn reference_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(oci_spec::image::ANNOTATION_REF_NAME).map(String::as_str)
}

fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex || media_type.to_string() == DOCKER_INDEX
}

fn is_manifest(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageManifest || media_type.to_string() == DOCKER_MANIFEST
}

impl Image {
    /// What it runs on, as its configuration says.
    ///
    /// # Errors
    /// [`Error::Document`]: what cannot be said in a descriptor.
    pub fn platform(&self) -> Result<oci_spec::image::Platform, Error> {
        let configuration = &self.configuration;
        let platform = Platform {
            architecture: configuration.architecture().to_string(),
            os: configuration.os().to_string(),
            variant: configuration.variant().clone(),
        };
        platform.describe()
    }
}

/// Reads manifest and configuration of an image and holds them to each other.
///
/// # Errors
/// Documents that are damaged, lie, or are not of an image.
pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Image, Error> {
    let name = descriptor.digest().to_string();
    let refuse = |reason: String| Err(Error::document(shown(&name), reason));
    if !is_manifest(descriptor.media_type()) {
        return refuse(format!("{} is no manifest of an image", shown(&descriptor.media_type().to_string())));
    }
    let manifest: ImageManifest = document::fetch(blobs, descriptor, Members::Manifest)?;
    let config = manifest.config();
    if *config.media_type() != MediaType::ImageConfig && config.media_type().to_string() != DOCKER_CONFIG {
        let found = shown(&config.media_type().to_string());
        return refuse(format!("it is an artifact and no image: its configuration is {found}"));
    }
    let configuration: ImageConfiguration = document::fetch(blobs, config, Members::Configuration)?;
    let rootfs = configuration.rootfs();
    if rootfs.typ() != "layers" {
        return refuse(format!("its root file system is of the unknown type {}", shown(rootfs.typ())));
    }
    let (layers, diff_ids) = (manifest.layers().len(), rootfs.diff_ids().len());
    if layers != diff_ids {
        return refuse(format!("it has {layers} layers, and its configuration speaks of {diff_ids}"));
    }
    if layers > LAYERS_MAX {
        return refuse(format!("it has {layers} layers, and {LAYERS_MAX} are the most that are read"));
    }
    let parse = |text: &String| -> Result<Sha256, Error> {
        let digest = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        digest.ok_or_else(|| Error::document(shown(&name), format!("{} is no SHA-256 of a layer", shown(text))))
    };
    let diff_ids = rootfs.diff_ids().iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Image { descriptor: descriptor.clone(), manifest, configuration, diff_ids })
}

pub(crate) fn same_type(stated: &MediaType, announced: &MediaType) -> bool {
    stated.to_string() == announced.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(timestamp(1_709_213_862).unwrap(), "2024-02-29T13:37:42Z");
        assert!(timestamp(i64::MAX).is_err());
    }

    #[test]
    fn a_history_names_who_is_in_a_layer_and_stays_short() {
        let description = Description::new(Platform::linux("amd64"), 0);
        assert_eq!(created_by(&description, &["a".into(), "b".into()]), "image-composer: a, b");
        let many: Vec<String> = (0..1000).map(|number| format!("package-{number}")).collect();
        let text = created_by(&description, &many);
        assert!(text.len() < 1050 && text.ends_with(" more"), "{text}");
    }
}
