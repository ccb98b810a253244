//! Refuses what no disk can grant: partitions that contradict each other, or the rest of the spec.

use std::collections::BTreeMap;

use layers::TreePath;

use super::choice::Bootloader;
use super::decode::Located;
use super::disk::{Around, DISK_BYTES_MAX, Written};
use super::partition::{Filesystem, PartitionRole, PartitionSize};
use super::problem::{Problem, Problems};
use super::resolved::{Disk, Partition, SourceKind};
use super::space::{ALIGNMENT_BYTES, TABLE_UNITS, least_disk, share};
use super::tree::Span;
use super::typed::{self, Spec};

/// What the system needs before it has read fstab, or makes itself when it runs.
const NEVER_MOUNTED: [&str; 12] =
    ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr"];

/// Where something wrong in a partition is shown.
fn mount_span(written: Option<&Located<typed::Partition>>) -> Option<&Span> {
    let written = written?;
    Some(written.value.mount.as_ref().map_or(&written.value.r#type.span, |mount| &mount.span))
}

/// Refuses mount points that stand twice, or where nothing can be mounted.
pub(super) fn mounts(partitions: &[Written<'_>], around: &Around<'_>, problems: &mut Problems) {
    let mut seen: BTreeMap<&TreePath, PartitionRole> = BTreeMap::new();
    for (partition, written) in partitions {
        let (Some(mount), Some(span)) = (&partition.mount, mount_span(*written)) else { continue };
        // A type that stands twice has been told of.
        if seen.insert(mount, partition.role).is_some_and(|other| !other.is_single() || other != partition.role) {
            problems.push(Problem::error(span, format!("disk.partitions: two partitions are mounted at {mount}")));
        }
        let top = mount.components().next().unwrap_or_default();
        if NEVER_MOUNTED.iter().any(|name| name.as_bytes() == top) {
            let problem = Problem::error(span, format!("{mount} cannot be a partition of its own"));
            problems.push(problem.hint("what is there is needed before fstab is read, or is made by the system"));
        }
        if partition.filesystem == Filesystem::Vfat && mount.as_bytes() == b"boot" {
            let problem = Problem::error(span, "/boot cannot be on vfat: dpkg could not replace a kernel there");
            problems.push(problem.hint("use type: boot (ext4), or leave out the mount point of this partition"));
        }
        if mount.is_root() && partition.filesystem != Filesystem::Ext4 {
            let problem = Problem::error(span, "the root must be ext4");
            problems.push(problem.hint("write filesystem: ext4"));
        }
        if around.bootloader == Bootloader::Grub
            && mount.as_bytes().starts_with(b"boot/")
            && mount.as_bytes() != b"boot/efi"
        {
            let problem = Problem::error(span, format!("{mount} cannot be a partition of its own with GRUB"));
            problems.push(problem.hint("GRUB reads one file system: make /boot a partition"));
        }
        for file in around.files {
            let is_directory = file.entries.iter().any(|e| e.path.is_root() && matches!(e.kind, SourceKind::Directory));
            if !is_directory && (*mount == file.destination || mount.is_below(&file.destination)) {
                let message = format!("{mount} is to be a mount point, and a file is copied to {}", file.destination);
                problems.push(Problem::error(span, message).hint("mount it elsewhere, or copy the file elsewhere"));
            }
        }
    }
}

/// Refuses sizes that contradict each other on any disk.
pub(super) fn sizes(partitions: &[Written<'_>], problems: &mut Problems) {
    let mut rest: Option<(&Partition, Option<&Span>)> = None;
    let mut percent = 0u32;
    for (partition, written) in partitions {
        let place = written.map(|written| written.value.size.as_ref().map_or(&written.span, |size| &size.span));
        match partition.size {
            PartitionSize::Rest => {
                // One of the two may be there by default only.
                if let Some((other, others_place)) = rest
                    && let Some(place) = place.or(others_place)
                {
                    let message = format!("both '{}' and '{}' take the rest of the disk", other.id, partition.id);
                    let hint = "one partition can; give the other a size: 4GiB, 25% or fit";
                    problems.push(Problem::error(place, message).hint(hint));
                }
                rest = rest.or(Some((partition, place)));
            }
            PartitionSize::Percent(share) => {
                let before = percent;
                percent += u32::from(share);
                if let (true, Some(place)) = (percent > 100 && before <= 100, place) {
                    let problem = Problem::error(place, "disk.partitions: the shares are more than 100%");
                    problems.push(problem.hint("give one partition the rest of the disk: size: rest"));
                }
            }
            PartitionSize::Bytes(_) | PartitionSize::Fit => {}
        }
        if partition.size == PartitionSize::Fit
            && !partition.filesystem.holds_files()
            && written.is_some_and(|written| written.value.size.is_some())
            && let Some(place) = place
        {
            let problem = Problem::error(place, format!("'{}' holds no files that it could fit", partition.id));
            problems.push(problem.hint("write its size: 512MiB"));
        }
    }
}

/// Settles which partition grows on the first boot: the last one can, for nothing lies behind it.
pub(super) fn growth(partitions: &mut [Written<'_>], problems: &mut Problems) {
    let last = partitions.len().saturating_sub(1);
    for (at, (partition, written)) in partitions.iter_mut().enumerate() {
        let can = partition.filesystem == Filesystem::Ext4 && partition.mount.is_some();
        let wish = written.and_then(|written| written.value.grow.as_ref());
        partition.grow = at == last && can && wish.is_none_or(|wish| wish.value);
        let Some(wish) = wish.filter(|wish| wish.value) else { continue };
        if at != last {
            let problem =
                Problem::error(&wish.span, format!("'{}' cannot grow: another partition lies behind it", partition.id));
            problems.push(problem.hint("put it last in disk.partitions"));
        } else if !can {
            let problem =
                Problem::error(&wish.span, format!("'{}' cannot grow: only ext4 that is mounted does", partition.id));
            problems.push(problem.hint("remove `grow`"));
        }
    }
}

/// Refuses partitions whose sizes alone are more than the disk's.
pub(super) fn room(disk: &Disk, spec: &Spec, around: &Around<'_>, problems: &mut Problems) {
    let usable = disk.size.map(|size| size / ALIGNMENT_BYTES);
    let needs: Vec<(PartitionSize, u64)> = disk
        .partitions_with(around.bootloader)
        .map(|partition| match partition.size {
            PartitionSize::Bytes(bytes) => (partition.size, bytes.0 / ALIGNMENT_BYTES),
            size => (size, 1),
        })
        .collect();
    let fixed = needs.iter().map(|(size, least)| match (size, usable) {
        (PartitionSize::Percent(percent), Some(units)) => share(units, *percent).max(*least),
        _ => *least,
    });
    let needed = fixed.fold(TABLE_UNITS, u64::saturating_add);
    let place = spec.disk.size.as_ref().map(|size| &size.span);
    let place = place.or(spec.disk.partitions.first().map(|partition| &partition.span));
    let place = place.unwrap_or(&spec.image.name.span);
    let most = DISK_BYTES_MAX / ALIGNMENT_BYTES;
    let shares = needs.iter().map(|(size, _)| match size {
        PartitionSize::Percent(percent) => u32::from(*percent),
        _ => 0,
    });
    // That has been told.
    if shares.sum::<u32>() > 100 {
        return;
    }
    let (message, hint) = match (usable, least_disk(&needs)) {
        (Some(units), Some(least)) if needed > units || least > units => (
            format!(
                "the partitions do not fit on the disk: {} MiB are missing",
                needed.max(least).saturating_sub(units)
            ),
            format!("make disk.size at least {}MiB, or a partition smaller", needed.max(least)),
        ),
        (_, None) => ("the partitions do not fit on any disk".to_owned(), "make one of them smaller".to_owned()),
        (_, Some(least)) if least > most => {
            ("the partitions do not fit on a disk of 16TiB".to_owned(), "make one of them smaller".to_owned())
        }
        _ => return,
    };
    problems.push(Problem::error(place, message).hint(hint));
}
