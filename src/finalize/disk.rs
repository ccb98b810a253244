//! The graph of a disk: its partitions, each made of a tree or of nothing.

use image::disk::{Disk, Layout, Partition as OnDisk, PartitionSize as Wish, attributes, layout, types};
use image::swap::Swap;
use image::{Sink, Source};
use image::{ext4, fat};
use layers::{Content, Contents, Error as LayersError, Time, Tree};
use providers::distro::Distro;

use super::shortage::{self, Need};
use crate::boot::Identity;
use crate::boot::grub::Bios;
use crate::error::{Error, ResultExt};
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Filesystem, Partition, PartitionRole, PartitionSize};
use crate::spec::space::{ALIGNMENT_BYTES, share};

/// What a file system "as small as fits" has beyond the least size that holds its files: a tenth of
/// it.
const MARGIN_SHARE: u64 = 10;
/// At least so many bytes: the first boot alone writes a journal of 8 MiB for the system and one for
/// each user that logs in, beside keys and lists of packages.
const MARGIN_BYTES_MIN: u64 = 32 << 20;

/// The contents of a disk, every position settled.
pub struct Volumes<'a> {
    partitions: Vec<(&'a Partition, Volume)>,
    layout: Layout,
}

/// What lies in a partition.
enum Volume {
    Ext4(Box<ext4::Plan>),
    Fat(Box<fat::Plan>),
    Swap(Swap),
    Code(Code),
    Nothing,
}

/// What a BIOS loads from its partition.
struct Code {
    /// Bytes of the partition.
    size: u64,
    core: Vec<u8>,
    first_sector: Vec<u8>,
}

impl Source for Code {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_to(&self, _: &dyn Contents, sink: &mut dyn Sink) -> Result<(), image::Error> {
        sink.data(0, &self.core)
    }
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

/// What the file systems of an image have in common.
pub struct Making<'a> {
    /// The distribution: what its file systems are like.
    pub distro: &'a Distro,
    /// Where identifiers come from.
    pub identity: &'a Identity,
    /// What a BIOS runs, where it is to boot the disk.
    pub bios: Option<&'a Bios>,
    /// Time of creation, seconds since the epoch.
    pub epoch: i64,
}

/// A partition with the tree that lies in it.
pub struct Part<'a> {
    /// As the spec has it.
    pub partition: &'a Partition,
    /// Empty for one that holds no files.
    pub tree: Tree,
}

/// Lays out the disk of a spec and settles its file systems.
///
/// # Errors
/// The trees do not fit: what, by how much, and what to change.
pub fn plan<'a>(spec: &ResolvedSpec, making: &Making<'_>, parts: &[Part<'a>]) -> Result<Volumes<'a>, Error> {
    let mut wishes = Vec::with_capacity(parts.len());
    for part in parts {
        wishes.push(match part.partition.size {
            PartitionSize::Bytes(bytes) => Wish::Bytes(bytes.0),
            PartitionSize::Percent(percent) => {
                let units = spec.disk.size.unwrap_or(0) / ALIGNMENT_BYTES;
                Wish::Bytes(share(units, percent).saturating_mul(ALIGNMENT_BYTES))
            }
            PartitionSize::Rest => Wish::Rest { at_least: 1 },
            PartitionSize::Fit => Wish::Bytes(making.as_small_as_fits(part)?),
        });
    }
    let layout = match layout(spec.disk.size, &wishes) {
        Ok(layout) => layout,
        Err(image::Error::TooSmall { .. }) => return Err(too_small(spec, making, parts, &wishes, None)),
        Err(error) => return Err(Error::build("failed to lay out the disk").caused_by(error)),
    };
    let mut partitions = Vec::with_capacity(parts.len());
    let mut fits = true;
    for (part, extent) in parts.iter().zip(&layout.partitions) {
        match making.volume(part, extent.start, extent.size) {
            Ok(volume) => partitions.push((part.partition, volume)),
            Err(image::Error::TooSmall { .. }) => fits = false,
            Err(error) => return Err(unwritable(part.partition, error)),
        }
    }
    if fits { Ok(Volumes { partitions, layout }) } else { Err(too_small(spec, making, parts, &wishes, Some(&layout))) }
}

fn unwritable(partition: &Partition, error: image::Error) -> Error {
    Error::build(format!("failed to make the file system of the partition '{}'", partition.id)).caused_by(error)
}

/// What every partition needs, in the words of an error.
fn too_small(
    spec: &ResolvedSpec,
    making: &Making<'_>,
    parts: &[Part<'_>],
    wishes: &[Wish],
    layout: Option<&Layout>,
) -> Error {
    let mut needs = Vec::with_capacity(parts.len());
    for (number, (part, wish)) in parts.iter().zip(wishes).enumerate() {
        let given = layout.and_then(|layout| layout.partitions.get(number)).map(|extent| extent.size);
        // What a partition has may do; where it does not, larger sizes count, not smaller ones of
        // another class of block sizes.
        let written = match (part.partition.size, wish) {
            (PartitionSize::Bytes(_) | PartitionSize::Fit, Wish::Bytes(bytes)) => *bytes,
            _ => 0,
        };
        let least = match given.map(|size| (size, making.least(part, size))) {
            Some((size, Ok(least))) if least > size => Ok(least),
            _ => making.least(part, written),
        };
        match least {
            Ok(least) => needs.push(Need {
                partition: part.partition,
                least,
                given: given.or(Some(written).filter(|&bytes| bytes > 0)),
            }),
            Err(error) => return unwritable(part.partition, error),
        }
    }
    shortage::error(spec.disk.size, &needs)
}

impl Making<'_> {
    fn created(&self) -> Time {
        Time::seconds(self.epoch)
    }

    fn ext4(&self, partition: &Partition, size: u64) -> Result<ext4::Options, image::Error> {
        let features: Vec<&str> = self.distro.ext4.features.iter().map(String::as_str).collect();
        Ok(ext4::Options {
            label: partition.label.as_bytes().to_vec(),
            features: ext4::Features::parse(&features.join(","))?,
            inode_size: self.distro.ext4.inode_size,
            ..ext4::Options::new(
                size,
                self.identity.file_system(partition).into_bytes(),
                self.identity.hash_seed(partition).into_bytes(),
                self.created(),
            )
        })
    }

    fn fat(&self, partition: &Partition, start: u64, size: u64) -> fat::Options {
        let kind = match partition.role {
            PartitionRole::Esp | PartitionRole::Xbootldr => fat::Wish::Kind(fat::Kind::Fat32),
            _ => fat::Wish::Auto,
        };
        fat::Options {
            kind,
            volume_id: self.identity.volume_id(&partition.id),
            label: partition.label.clone(),
            created: self.created(),
            // The field has 32 bits; boot code of partitions behind 2 TiB does not exist.
            hidden_sectors: u32::try_from(start / image::disk::SECTOR_BYTES).unwrap_or(0),
            ..fat::Options::new(size)
        }
    }

    fn volume(&self, part: &Part<'_>, start: u64, size: u64) -> Result<Volume, image::Error> {
        let partition = part.partition;
        Ok(match partition.filesystem {
            Filesystem::Ext4 => Volume::Ext4(Box::new(ext4::plan(&part.tree, &self.ext4(partition, size)?)?)),
            Filesystem::Vfat => Volume::Fat(Box::new(fat::plan(&part.tree, &self.fat(partition, start, size))?)),
            Filesystem::Swap => {
                let uuid = self.identity.file_system(partition).into_bytes();
                Volume::Swap(Swap::new(size, uuid, partition.label.as_bytes())?)
            }
            Filesystem::None => match self.bios.filter(|_| partition.role == PartitionRole::Bios) {
                Some(bios) if bios.bytes() > size => {
                    return Err(image::Error::TooSmall {
                        what: "GRUB's core image into its partition".into(),
                        needed: bios.bytes(),
                        available: size,
                    });
                }
                Some(bios) => {
                    let (core, first_sector) = (bios.core_image(start), bios.first_sector(start));
                    Volume::Code(Code { size, core, first_sector })
                }
                None => Volume::Nothing,
            },
        })
    }

    /// The least size of a partition, at least `from`, that holds its files: bytes, in whole units.
    fn least(&self, part: &Part<'_>, from: u64) -> Result<u64, image::Error> {
        let unit = |bytes: u64| bytes.div_ceil(ALIGNMENT_BYTES).max(1).saturating_mul(ALIGNMENT_BYTES);
        let mut size = unit(from);
        loop {
            let least = match part.partition.filesystem {
                Filesystem::Ext4 => ext4::minimum_size_from(&part.tree, &self.ext4(part.partition, size)?, size)?,
                Filesystem::Vfat => fat::minimum_size_from(&part.tree, &self.fat(part.partition, 0, size), size)?,
                Filesystem::None if part.partition.role == PartitionRole::Bios => {
                    self.bios.map_or(0, Bios::bytes).max(size)
                }
                Filesystem::Swap | Filesystem::None => size,
            };
            // A whole unit may be of another class than the least size is, and then not suffice.
            if least <= size {
                return Ok(size);
            }
            size = unit(least);
        }
    }

    /// See [`MARGIN_SHARE`].
    fn as_small_as_fits(&self, part: &Part<'_>) -> Result<u64, Error> {
        let size = self.least(part, 0).and_then(|least| {
            let margin = (least / MARGIN_SHARE).max(MARGIN_BYTES_MIN);
            self.least(part, least.saturating_add(margin))
        });
        size.map_err(|error| unwritable(part.partition, error))
    }
}

impl Volumes<'_> {
    /// The whole disk, ready to be written.
    ///
    /// # Errors
    /// An architecture without a partition type.
    pub fn disk(&self, identity: &Identity, root_type: &str) -> Result<Disk<'_>, Error> {
        let mut partitions = Vec::with_capacity(self.partitions.len());
        for ((partition, volume), extent) in self.partitions.iter().zip(&self.layout.partitions) {
            let type_guid = partition
                .type_guid
                .or_else(|| types::by_name(root_type))
                .ok_or_else(|| Error::build(format!("failed to find the partition type '{root_type}'")))?;
            partitions.push(OnDisk {
                start: extent.start,
                size: extent.size,
                type_guid,
                guid: identity.partition(partition),
                name: partition.name.clone(),
                attributes: if partition.grow { attributes::GROW_FILE_SYSTEM } else { 0 },
                content: match volume {
                    Volume::Ext4(plan) => Some(plan.as_ref() as &dyn Source),
                    Volume::Fat(plan) => Some(plan.as_ref()),
                    Volume::Swap(swap) => Some(swap),
                    Volume::Code(code) => Some(code),
                    Volume::Nothing => None,
                },
            });
        }
        let disk = Disk::new(self.layout.size, identity.disk(), partitions).to("lay out the disk")?;
        let code = self.partitions.iter().find_map(|(_, volume)| match volume {
            Volume::Code(code) => Some(&code.first_sector),
            _ => None,
        });
        match code {
            Some(code) => disk.with_boot_code(code).to("lay out the disk"),
            None => Ok(disk),
        }
    }
}
