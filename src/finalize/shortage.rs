//! What is said when the files of an image do not fit: which partition, by how many bytes, and the
//! sizes that would do.

use image::disk::ALIGNMENT_BYTES;

use crate::error::Error;
use crate::spec::resolved::{Partition, PartitionSize};
use crate::spec::space::least_disk;

/// What a partition needs. Sizes are bytes, multiples of [`ALIGNMENT_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// As the spec has it.
    pub partition: &'a Partition,
    /// The least size that would do.
    pub least: u64,
    /// What it has; `None` where the disk is too small for it to have any.
    pub given: Option<u64>,
}

/// The causes below the error, a sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shortages(String);

fn shortage(what: &str, needed: u64, available: u64) -> String {
    let missing = needed.saturating_sub(available);
    format!("{what}: {needed} bytes are needed and {available} are there, {missing} are missing")
}

fn shares_in_the_way(causes: &mut Vec<String>, advice: &mut Vec<String>) {
    causes.push("fit the partitions on the disk: their shares leave too little for the others".to_owned());
    advice.push("make a share smaller".to_owned());
}

/// The error for partitions of which at least one, or the disk, is too small.
pub fn error(disk: Option<u64>, needs: &[Need<'_>]) -> Error {
    let mut causes = Vec::new();
    let mut advice = Vec::new();
    for Need { partition, least, given } in needs {
        let Some(given) = given.filter(|given| given < least) else { continue };
        causes.push(shortage(&format!("fit the files of the partition '{}'", partition.id), *least, given));
        if matches!(partition.size, PartitionSize::Bytes(_)) {
            advice.push(format!("give '{}' in disk.partitions a size of {}MiB", partition.id, least / ALIGNMENT_BYTES));
        }
    }
    let units: Vec<(PartitionSize, u64)> =
        needs.iter().map(|need| (need.partition.size, need.least / ALIGNMENT_BYTES)).collect();
    match (disk, least_disk(&units)) {
        (Some(disk), Some(least)) if least > disk / ALIGNMENT_BYTES => {
            let bytes = least.saturating_mul(ALIGNMENT_BYTES);
            causes.push(shortage("fit the partitions on the disk", bytes, disk));
            advice.push(format!("make disk.size at least {least}MiB"));
        }
        (_, None) => shares_in_the_way(&mut causes, &mut advice),
        // Shares are rounded: a disk of this very size may be worse than a smaller one.
        _ if causes.is_empty() => shares_in_the_way(&mut causes, &mut advice),
        _ => {}
    }
    let advice =
        if advice.is_empty() { "install less".to_owned() } else { advice.join(", and ") + "; or install less" };
    Error::build("Insufficient disk space in the image").caused_by(Shortages(causes.join("; "))).hint(advice)
}
