//! Bytes, read in every way that the program reads them.

use std::collections::BTreeSet;
use std::io::Read;

use image::compress::{Compressed, Decoder};
use image::disk::scan;
use image::volume::{self, FileKind, Volume};
use image::{Error, Medium, container};

/// Files of a volume that are looked at.
const FILES_MAX: usize = 500;
/// Bytes that are taken out of a compressed file.
const UNPACKED_MAX: u64 = 8 << 20;

fn told<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

pub fn container(bytes: &[u8]) -> String {
    told((|| {
        let (format, disk) = container::open(bytes)?;
        let mut buffer = vec![0; 100_000];
        let (mut at, mut ranges) = (0, 0);
        while let Some(range) = disk.data_from(at)?.filter(|_| ranges < 50) {
            assert!(range.start >= at && range.start < range.end && range.end <= disk.size(), "{range:?}");
            let count = (range.end - range.start).min(buffer.len() as u64) as usize;
            disk.read_at(range.start, &mut buffer[..count])?;
            (at, ranges) = (range.end, ranges + 1);
        }
        let count = disk.size().min(buffer.len() as u64) as usize;
        disk.read_at(disk.size() - count as u64, &mut buffer[..count])?;
        Ok((format, ranges > 0))
    })())
}

pub fn table(bytes: &[u8]) -> String {
    told((|| {
        let (scheme, parts) = scan(&bytes)?;
        for part in &parts {
            part.window(&bytes)?;
        }
        Ok((std::mem::discriminant(&scheme), parts.len()))
    })())
}

/// Makes the sums of a GUID partition table right (UEFI 2.10, section 5.3.2).
pub fn right_sums(bytes: &mut [u8]) {
    const HEADER: usize = 512;
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map_or(0, |field| u32::from_le_bytes(field.try_into().unwrap()) as usize)
    };
    let entries_at = number(bytes, HEADER + 72).saturating_mul(512);
    let length = number(bytes, HEADER + 80).saturating_mul(number(bytes, HEADER + 84));
    let Some(entries) = bytes.get(entries_at..entries_at.saturating_add(length)).filter(|_| bytes.len() >= 2 * HEADER)
    else {
        return;
    };
    let sum = crc32fast::hash(entries);
    bytes[HEADER + 88..HEADER + 92].copy_from_slice(&sum.to_le_bytes());
    bytes[HEADER + 16..HEADER + 20].fill(0);
    let Some(header) = bytes.get(HEADER..HEADER + number(bytes, HEADER + 12)) else { return };
    let sum = crc32fast::hash(header);
    bytes[HEADER + 16..HEADER + 20].copy_from_slice(&sum.to_le_bytes());
}

pub fn volume(bytes: &[u8]) -> String {
    told((|| match volume::open(&bytes)? {
        Some(volume) => walk(volume.as_ref()),
        None => Ok((0, String::new())),
    })())
}

fn walk(volume: &dyn Volume) -> Result<(usize, String), Error> {
    let _ = (volume.label(), volume.uuid(), volume.space());
    let mut pending = vec![volume.root()];
    let (mut seen, mut first) = (BTreeSet::new(), None);
    let mut buffer = vec![0; 64 << 10];
    while let Some(id) = pending.pop().filter(|_| seen.len() < FILES_MAX) {
        if !seen.insert(id) {
            continue;
        }
        let mut look = || {
            let file = volume.file(id)?;
            match file.kind {
                FileKind::Directory => pending.extend(volume.names(id)?.into_iter().map(|(_, id)| id)),
                FileKind::File => {
                    volume.read(id, 0, &mut buffer)?;
                    volume.read(id, file.size.saturating_sub(1000), &mut buffer)?;
                    volume.read(id, file.size / 2, &mut buffer[..100])?;
                }
                FileKind::Symlink => drop(volume.target(id)?),
                _ => {}
            }
            Ok::<(), Error>(())
        };
        // One file that is damaged does not keep others from being read.
        if let Err(error) = look() {
            first.get_or_insert(error.to_string());
        }
    }
    Ok((seen.len(), first.unwrap_or_default()))
}

pub fn compressed(bytes: &[u8]) -> String {
    let format = match Compressed::detect(&bytes) {
        Ok(Some(format)) => format,
        Ok(None) => return "none".into(),
        Err(error) => return error.to_string(),
    };
    let mut buffer = Vec::new();
    match Decoder::new(bytes, format).and_then(|decoder| decoder.take(UNPACKED_MAX).read_to_end(&mut buffer)) {
        Ok(count) => format!("{format:?} {}", count > 0),
        Err(error) => format!("{format:?} {error}"),
    }
}
