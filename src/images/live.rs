//! Live media: an ISO 9660 image is a disk and a file system at once, and the system is a file on it.

use image::Medium;
use image::disk::{Part, Scheme};
use image::volume::{self, Format, Inside, Volume};
use image::{Error, Window};

/// Where live media have the system: those of Debian's live-boot, Ubuntu's casper, and dracut.
const ROOTS: [&[&str]; 3] =
    [&["live", "filesystem.squashfs"], &["casper", "filesystem.squashfs"], &["LiveOS", "squashfs.img"]];

/// The parts of a disk, and before them the whole where it is an ISO 9660 image: number 0.
pub(super) fn with_medium(disk: &dyn Medium, scheme: &Scheme, parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    if *scheme == Scheme::Whole || volume::identify(&disk)? != Some(Format::Iso9660) {
        return Ok(parts);
    }
    let mut all = vec![part(0, disk.size(), "iso9660", "")];
    for part in parts {
        // Some tools make a partition of the same bytes.
        if volume::identify(&part.window(disk)?)? != Some(Format::Iso9660) {
            all.push(part);
        }
    }
    Ok(all)
}

fn part(number: u32, size: u64, purpose: &str, name: &str) -> Part {
    Part { number, start: 0, size, purpose: purpose.into(), guid: None, name: name.into() }
}

/// The ISO 9660 file systems among the parts.
pub(super) fn media<'a>(windows: &'a [(Part, Window<'_>)]) -> Vec<Box<dyn Volume + 'a>> {
    let is_medium = |window: &Window<'_>| matches!(volume::identify(window), Ok(Some(Format::Iso9660)));
    // One that is damaged is told as a part.
    windows
        .iter()
        .filter(|(_, window)| is_medium(window))
        .filter_map(|(_, window)| volume::open(window).ok()?)
        .collect()
}

/// The systems on them, numbered after the parts.
pub(super) fn roots<'a>(media: &'a [Box<dyn Volume + 'a>], windows: &[(Part, Window<'_>)]) -> Vec<(Part, Inside<'a>)> {
    let last = windows.iter().map(|(part, _)| part.number).max().unwrap_or(0);
    let found = media.iter().flat_map(|medium| ROOTS.iter().filter_map(|path| find(medium.as_ref(), path)));
    (1..)
        .zip(found)
        .map(|(number, (name, inside))| (part(last + number, inside.size(), "live system", &name), inside))
        .collect()
}

fn find<'a>(medium: &'a dyn Volume, path: &[&str]) -> Option<(String, Inside<'a>)> {
    let mut at = medium.root();
    for name in path {
        at = medium.names(at).ok()?.into_iter().find(|(found, _)| **found == *name.as_bytes())?.1;
    }
    Some((path.join("/"), Inside::new(medium, at).ok()?))
}
