//! Resolving the disk: every partition with its defaults.

use image::disk::types;
use layers::TreePath;

use super::decode::Located;
use super::partition::{Filesystem, MountPoint, PartitionRole, PartitionSize, Usual};
use super::possible;
use super::problem::{Problem, Problems};
use super::resolved::{Architecture, Bootloader, CopiedFile, Disk, Partition};
use super::scalar::ByteSize;
use super::space::ALIGNMENT_BYTES;
use super::tree::Span;
use super::typed::{self, Spec};

/// Default size of a disk in bytes, where a partition takes a share or the rest of it. Sparse, and
/// its last partition grows on the first boot; as large as what peers write for a minimal image
/// (facts on default layouts).
const DISK_BYTES_DEFAULT: u64 = 6 << 30;
/// Default size of the EFI system partition in bytes: room for three kernels with their initrds
/// (kernel-install keeps them there).
const ESP_BYTES_DEFAULT: u64 = 512 << 20;
/// Smallest EFI system partition in bytes: below 33 MiB FAT32 is not allowed, because it needs
/// 65,525 clusters (Microsoft FAT specification, section 3.5).
const ESP_BYTES_MIN: u64 = 34 << 20;
/// Default size of a BIOS boot partition in bytes: as large as every partitioning tool makes it
/// (GRUB manual, "BIOS installation").
const BIOS_BYTES_DEFAULT: u64 = 1 << 20;
/// Largest disk in bytes: the largest root that ext4 gets from us.
pub(super) const DISK_BYTES_MAX: u64 = 16 << 40;
/// Longest label of ext4 (`s_volume_name`) and of swap space, in bytes.
const LABEL_BYTES_MAX: usize = 16;
/// Longest label of FAT, in characters (the length of a short name).
const FAT_LABEL_BYTES_MAX: usize = 11;
/// Longest name of a partition, in UTF-16 code units (UEFI 2.10, table 5.6).
const NAME_UNITS_MAX: usize = 36;
/// Most partitions of a disk (UEFI 2.10, section 5.3.1).
const PARTITIONS_MAX: usize = 128;
/// A partition and how it was written; `None`: it is there by default.
pub(super) type Written<'a> = (Partition, Option<&'a Located<typed::Partition>>);

/// What the rest of the spec says that a disk depends on.
pub struct Around<'a> {
    /// What starts the kernel.
    pub bootloader: Bootloader,
    /// Whether GRUB starts under a BIOS too.
    pub grub_for_bios: bool,
    /// Whose root a type may be.
    pub architecture: Architecture,
    /// What is copied into the image.
    pub files: &'a [CopiedFile],
}

impl Around<'_> {
    /// Whether a boot loader starts under a BIOS, and needs a partition for that.
    fn has_bios_part(&self) -> bool {
        self.bootloader == Bootloader::Grub && self.grub_for_bios && self.architecture == Architecture::Amd64
    }
}

/// Resolves the disk.
pub fn disk(spec: &Spec, around: &Around<'_>, problems: &mut Problems) -> Disk {
    let written = &spec.disk;
    let mut partitions: Vec<Written<'_>> = Vec::new();
    for located in &written.partitions {
        let partition = one(&located.value, &located.span, &partitions, around, problems);
        partitions.push((partition, Some(located)));
    }
    complete(&mut partitions, spec, around, problems);
    possible::mounts(&partitions, around, problems);
    possible::sizes(&partitions, problems);
    possible::growth(&mut partitions, problems);
    let bounded = partitions.iter().any(|(p, _)| matches!(p.size, PartitionSize::Rest | PartitionSize::Percent(_)));
    let size = match &written.size {
        Some(size) => Some(aligned(size.value.0, &size.span, problems)),
        None => bounded.then_some(DISK_BYTES_DEFAULT),
    };
    if let (Some(bytes), Some(place)) = (size, &written.size)
        && bytes > DISK_BYTES_MAX
    {
        problems.push(Problem::error(&place.span, "disk.size: it is larger than 16TiB"));
    }
    let disk = Disk { size, partitions: partitions.into_iter().map(|(partition, _)| partition).collect() };
    possible::room(&disk, spec, around, problems);
    disk
}

impl Disk {
    /// Size of the ESP, size of the root (`None`: the rest) and its label, where a disk holds just these
    /// two and all else about them is as usual.
    pub(super) fn as_esp_and_root(&self) -> Option<(u64, Option<u64>, &str)> {
        let [esp, root] = self.partitions.as_slice() else { return None };
        let PartitionSize::Bytes(esp_size) = esp.size else { return None };
        let root_size = match root.size {
            PartitionSize::Bytes(size) => Some(size.0),
            PartitionSize::Rest => None,
            PartitionSize::Percent(_) | PartitionSize::Fit => return None,
        };
        let usual_root =
            Partition { label: root.label.clone(), grow: true, ..usual_partition(PartitionRole::Root, root.size) };
        let is_usual = *esp == usual_partition(PartitionRole::Esp, esp.size) && *root == usual_root;
        is_usual.then_some((esp_size.0, root_size, root.label.as_str()))
    }
}

/// Adds what every disk has, and puts the ESP first, where firmware looks first.
fn complete(partitions: &mut Vec<Written<'_>>, spec: &Spec, around: &Around<'_>, problems: &mut Problems) {
    let esp = match partitions.iter().position(|(partition, _)| partition.role == PartitionRole::Esp) {
        Some(at) => partitions.remove(at),
        None => (usual_partition(PartitionRole::Esp, PartitionSize::Bytes(ByteSize(ESP_BYTES_DEFAULT))), None),
    };
    if partitions.is_empty() {
        if around.has_bios_part() {
            let size = PartitionSize::Bytes(ByteSize(BIOS_BYTES_DEFAULT));
            partitions.push((usual_partition(PartitionRole::Bios, size), None));
        }
        partitions.push((usual_partition(PartitionRole::Root, PartitionSize::Rest), None));
    } else if around.has_bios_part()
        && !partitions.iter().any(|(partition, _)| partition.role == PartitionRole::Bios)
        && let Some(first) = spec.disk.partitions.first()
    {
        let problem =
            Problem::warning(&first.span, "the disk starts under UEFI only: it has no partition for GRUB's BIOS part");
        problems.push(problem.hint("add { type: bios } to start under a BIOS too"));
    }
    partitions.insert(0, esp);
    if !partitions.iter().any(|(partition, _)| partition.mount.as_ref().is_some_and(TreePath::is_root)) {
        let place = spec.disk.partitions.first().map_or(&spec.image.name.span, |first| &first.span);
        let problem = Problem::error(place, "disk.partitions: no partition is the root");
        problems.push(problem.hint("add { type: root, size: rest }"));
    }
    if partitions.len() > PARTITIONS_MAX {
        let place = spec.disk.partitions.last().map_or(&spec.image.name.span, |last| &last.span);
        problems.push(Problem::error(place, format!("disk.partitions: a disk has at most {PARTITIONS_MAX}")));
    }
}

fn usual_partition(role: PartitionRole, size: PartitionSize) -> Partition {
    let Usual { guid, filesystem, mount, label } = role.usual();
    let mount = (!mount.is_empty()).then(|| TreePath::new(mount).ok()).flatten();
    Partition {
        id: role.word().to_owned(),
        role,
        type_guid: guid,
        name: role.word().to_owned(),
        size,
        filesystem,
        label: label.to_owned(),
        options: options_default(role, filesystem, mount.as_ref()).to_owned(),
        mount,
        grow: false,
    }
}

/// As Debian's installer writes them; the ESP's for bootctl(1), which minds who may read it.
fn options_default(role: PartitionRole, filesystem: Filesystem, mount: Option<&TreePath>) -> &'static str {
    match filesystem {
        Filesystem::Swap => "sw",
        _ if mount.is_some_and(TreePath::is_root) => "errors=remount-ro",
        Filesystem::Vfat if matches!(role, PartitionRole::Esp | PartitionRole::Xbootldr) => "umask=0077",
        _ => "defaults",
    }
}

/// One partition as it was written, with what it usually is where nothing was.
fn one(
    written: &typed::Partition,
    span: &Span,
    before: &[Written<'_>],
    around: &Around<'_>,
    problems: &mut Problems,
) -> Partition {
    let machine_root = types::of_architecture(around.architecture.rpm()).map(|known| known.root);
    let role = match written.r#type.value {
        PartitionRole::Guid(guid) if Some(guid) == machine_root => PartitionRole::Root,
        role => role,
    };
    let size_default = match role {
        PartitionRole::Esp => Some(PartitionSize::Bytes(ByteSize(ESP_BYTES_DEFAULT))),
        PartitionRole::Bios => Some(PartitionSize::Bytes(ByteSize(BIOS_BYTES_DEFAULT))),
        PartitionRole::Root => Some(PartitionSize::Rest),
        _ => None,
    };
    if written.size.is_none() && size_default.is_none() {
        let problem = Problem::error(span, format!("the partition '{}' has no size", role.word()));
        problems.push(problem.hint("write size: 4GiB, 25%, rest, or fit (as small as its files allow)"));
    }
    // Nothing further is to be said of one without a size.
    let mut partition = usual_partition(role, size_default.unwrap_or(PartitionSize::Fit));
    if let Some(size) = &written.size {
        partition.size = match size.value {
            PartitionSize::Bytes(bytes) => PartitionSize::Bytes(ByteSize(aligned(bytes.0, &size.span, problems))),
            other => other,
        };
        if partition.size == PartitionSize::Bytes(ByteSize(0)) {
            problems.push(Problem::error(&size.span, format!("the {} has no size", role.word())));
        }
        match (role, partition.size) {
            (PartitionRole::Esp, PartitionSize::Bytes(bytes)) if bytes.0 < ESP_BYTES_MIN => {
                let message = format!("an ESP has at least {}MiB (FAT32)", ESP_BYTES_MIN >> 20);
                problems.push(Problem::error(&size.span, message));
            }
            _ => {}
        }
    }
    place(&mut partition, written, problems);
    words(&mut partition, written, problems);
    if role.is_single() && before.iter().any(|(other, _)| other.role == role) {
        let message = format!("disk.partitions: '{}' stands twice", role.word());
        problems.push(Problem::error(&written.r#type.span, message));
    }
    // A mount point says more than "linux" does.
    if let (PartitionRole::Linux | PartitionRole::Guid(_), Some(mount)) = (role, &partition.mount) {
        partition.id = mount.to_string();
    }
    let stem = partition.id.clone();
    let mut number = 2;
    while before.iter().any(|(other, _)| other.id == partition.id) {
        partition.id = format!("{stem} {number}");
        number += 1;
    }
    partition
}

/// File system and mount point.
fn place(partition: &mut Partition, written: &typed::Partition, problems: &mut Problems) {
    let role = partition.role;
    if let Some(mount) = &written.mount {
        partition.mount = match &mount.value {
            MountPoint::Nowhere => None,
            MountPoint::At(path) => Some(path.clone()),
        };
        if matches!(role, PartitionRole::Guid(_)) && partition.mount.is_some() {
            partition.filesystem = Filesystem::Ext4;
        }
    }
    if let Some(filesystem) = &written.filesystem {
        partition.filesystem = filesystem.value;
        let only = match role {
            PartitionRole::Esp | PartitionRole::Xbootldr => Some((Filesystem::Vfat, "the firmware reads no other")),
            PartitionRole::Root => Some((Filesystem::Ext4, "it keeps owners and permissions")),
            PartitionRole::Swap => Some((Filesystem::Swap, "this is what the type means")),
            PartitionRole::Bios => Some((Filesystem::None, "GRUB writes its own code there")),
            _ => None,
        };
        if let Some((only, why)) = only
            && filesystem.value != only
        {
            let (word, own) = (filesystem.value.as_str(), only.as_str());
            let message = format!("the file system '{word}' does not fit the partition type '{}'", role.word());
            problems.push(Problem::error(&filesystem.span, message).hint(format!("use {own}: {why}")));
            partition.filesystem = only;
        }
    }
    if partition.mount.is_some() && !partition.filesystem.holds_files() {
        let of = written.mount.as_ref().map(|mount| &mount.span);
        let of = of.or(written.filesystem.as_ref().map(|filesystem| &filesystem.span));
        if let Some(span) = of {
            let what = match partition.filesystem {
                Filesystem::Swap => "swap space",
                _ => "a partition without a file system",
            };
            let problem = Problem::error(span, format!("{what} cannot be mounted"));
            problems.push(problem.hint("remove `mount`, or write filesystem: ext4"));
        }
        partition.mount = None;
    }
    let options = options_default(role, partition.filesystem, partition.mount.as_ref());
    partition.options = options.to_owned();
}

/// Options, label and name.
fn words(partition: &mut Partition, written: &typed::Partition, problems: &mut Problems) {
    let is_swap = partition.filesystem == Filesystem::Swap;
    let mut options = Vec::new();
    for option in written.options.0.iter() {
        let is_fine = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        if partition.mount.is_none() && !is_swap {
            let problem = Problem::error(&option.span, "options of a partition that is not mounted");
            problems.push(problem.hint("add mount: /a/path, or remove `options`"));
            break;
        }
        for word in option.value.split(',') {
            if is_fine(word) {
                options.push(word);
            } else {
                let message = format!("{word:?} is not a mount option: printable characters without blanks");
                problems.push(Problem::error(&option.span, message));
            }
        }
    }
    if !options.is_empty() {
        partition.options = options.join(",");
    }
    if let Some(label) = &written.label {
        let (max, signs) = match partition.filesystem {
            Filesystem::Vfat => (FAT_LABEL_BYTES_MAX, "!#$%&()-@^_{}~"),
            _ => (LABEL_BYTES_MAX, "!#$%&()-@^_{}~*+,.:;<=>?[]|`"),
        };
        let is_fine = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
        if partition.filesystem == Filesystem::None {
            let problem = Problem::error(&label.span, "a label of a partition without a file system");
            problems.push(problem.hint("the partition itself is named by `name`"));
        } else if label.value.is_empty() || label.value.len() > max || !label.value.chars().all(is_fine) {
            let message = format!("{:?} is not a label: at most {max} printable characters", label.value);
            problems.push(Problem::error(&label.span, message));
        } else {
            partition.label = label.value.clone();
        }
    } else if partition.filesystem == Filesystem::Vfat && partition.label.len() > FAT_LABEL_BYTES_MAX {
        partition.label.clear();
    }
    if partition.filesystem == Filesystem::None {
        partition.label.clear();
    }
    if let Some(name) = &written.name {
        if name.value.chars().any(char::is_control) || name.value.encode_utf16().count() > NAME_UNITS_MAX {
            let message = format!("{:?} is not a partition's name: at most {NAME_UNITS_MAX} characters", name.value);
            problems.push(Problem::error(&name.span, message));
        } else {
            partition.name = name.value.clone();
        }
    }
}

/// Rounds a size down to whole MiB, with a warning; partitions lie on MiB.
fn aligned(bytes: u64, span: &Span, problems: &mut Problems) -> u64 {
    let rounded = bytes - bytes % ALIGNMENT_BYTES;
    if rounded != bytes {
        problems.push(Problem::warning(span, format!("rounded down to {} MiB", rounded >> 20)));
    }
    rounded
}
