//! The graph of a disk: EFI system partition and root file system, each made of a tree.

use image::disk::{Disk, Layout, Partition, PartitionSize, layout, types};
use image::{ext4, fat};
use layers::{Content, Contents, Error as LayersError, Time, Tree};
use providers::distro::Distro;

use crate::boot::{Esp, Identity};
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;

/// The file systems of a disk, every position settled.
pub struct Volumes {
    esp: Option<fat::Plan>,
    root: ext4::Plan,
    layout: Layout,
}

/// Contents of an image and of what was generated beside it.
pub struct Both<'a>(pub &'a dyn Contents, pub &'a dyn Contents);

impl Contents for Both<'_> {
    fn open(&self, content: &Content) -> Result<Box<dyn std::io::Read + Send>, LayersError> {
        match self.0.open(content) {
            Err(LayersError::NoContent { .. }) => self.1.open(content),
            other => other,
        }
    }

    fn host_file(&self, content: &Content) -> Result<Option<std::fs::File>, LayersError> {
        match self.0.host_file(content) {
            Err(LayersError::NoContent { .. }) => self.1.host_file(content),
            other => other,
        }
    }
}

/// Lays out the disk of a spec and settles its file systems.
///
/// # Errors
/// The tree does not fit: by how much, and what to change.
pub fn plan(
    spec: &ResolvedSpec,
    distro: &Distro,
    identity: &Identity,
    tree: &Tree,
    esp: Option<&Esp>,
    epoch: i64,
) -> Result<Volumes, Error> {
    let mut wishes = Vec::new();
    if esp.is_some() {
        wishes.push(PartitionSize::Bytes(spec.disk.esp_size));
    }
    wishes.push(match spec.disk.root_size {
        Some(size) => PartitionSize::Bytes(size),
        None => PartitionSize::Rest { at_least: 1 },
    });
    let layout = layout(Some(spec.disk.size), &wishes).map_err(too_small)?;
    let root_size = layout.partitions.last().map_or(0, |extent| extent.size);
    let created = Time::seconds(epoch);
    let features: Vec<&str> = distro.ext4.features.iter().map(String::as_str).collect();
    let options = ext4::Options {
        label: spec.disk.root_label.as_bytes().to_vec(),
        features: ext4::Features::parse(&features.join(",")).to("read the provider's ext4 features")?,
        inode_size: distro.ext4.inode_size,
        ..ext4::Options::new(
            root_size,
            identity.root_file_system().into_bytes(),
            identity.uuid("hash seed of the root file system").into_bytes(),
            created,
        )
    };
    let root = ext4::plan(tree, &options).map_err(too_small)?;
    let esp = match esp {
        None => None,
        Some(esp) => {
            let options = fat::Options {
                kind: fat::Wish::Kind(fat::Kind::Fat32),
                volume_id: identity.volume_id("esp"),
                label: "ESP".into(),
                created,
                // 1 MiB in sectors of 512 bytes.
                hidden_sectors: 2048,
                ..fat::Options::new(spec.disk.esp_size)
            };
            Some(fat::plan(&esp.tree, &options).map_err(too_small)?)
        }
    };
    Ok(Volumes { esp, root, layout })
}

fn too_small(error: image::Error) -> Error {
    let hint = "raise disk.size (or the size of a partition in disk.partitions) in the spec, or install less";
    match error {
        image::Error::TooSmall { .. } => {
            Error::build("Insufficient disk space in the image").caused_by(error).hint(hint)
        }
        other => Error::build("failed to lay out the disk").caused_by(other),
    }
}

impl Volumes {
    /// The whole disk, ready to be written.
    ///
    /// # Errors
    /// An architecture without a partition type.
    pub fn disk(&self, identity: &Identity, root_type: &str) -> Result<Disk<'_>, Error> {
        let root_type = types::by_name(root_type)
            .ok_or_else(|| Error::build(format!("failed to find the partition type '{root_type}'")))?;
        let mut partitions = Vec::new();
        let mut extents = self.layout.partitions.iter();
        // The root's extent is the first one of a disk without an ESP.
        if let Some(esp) = &self.esp
            && let Some(extent) = extents.next()
        {
            partitions.push(Partition {
                start: extent.start,
                size: extent.size,
                type_guid: types::ESP,
                guid: identity.uuid("partition esp"),
                name: "esp".into(),
                attributes: 0,
                content: Some(esp),
            });
        }
        if let Some(extent) = extents.next() {
            partitions.push(Partition {
                start: extent.start,
                size: extent.size,
                type_guid: root_type,
                guid: identity.uuid("partition root"),
                name: "root".into(),
                // Grown by systemd-repart at boot (Discoverable Partitions Specification, flag 59).
                attributes: 1 << 59,
                content: Some(&self.root),
            });
        }
        Disk::new(self.layout.size, identity.disk(), partitions).to("lay out the disk")
    }
}
