//! `ls` and `cat`: what is in the tree of an image, as ls(1) and cat(1) show it.

use std::io::Write;

use image::volume::FileKind;
use layers::{Time, TreePath};

use super::tree::{Mounted, Place, shown, shown_bytes};
use crate::error::{Error, ResultExt};

/// Bytes of a file that are read at once.
pub(super) const CHUNK: usize = 1 << 20;

/// How a list looks.
#[derive(Clone, Copy, Default, Debug)]
pub struct Style {
    /// One line of metadata for each name.
    pub long: bool,
    /// Everything below, by path.
    pub recursive: bool,
}

/// Lists a directory, or one file.
///
/// # Errors
/// There is no such path; damage; those of the output.
pub fn list(tree: &Mounted<'_>, path: &TreePath, style: Style, out: &mut dyn Write) -> Result<(), Error> {
    let place = tree.find(path, true)?;
    let write = |out: &mut dyn Write, place: &Place<'_>, name: &str| -> Result<(), Error> {
        let line = if style.long { long(place, name)? } else { name.to_owned() };
        writeln!(out, "{line}").to("write the list")
    };
    if place.file.kind != FileKind::Directory {
        return write(out, &place, &format!("/{}", shown(path)));
    }
    if style.recursive {
        return tree.walk(place, &mut |place| write(out, place, &format!("/{}", shown(&place.path))));
    }
    for child in tree.children(&place)? {
        write(out, &child, &shown_bytes(child.path.name()))?;
    }
    Ok(())
}

/// A line of `ls -ln`, with the time in UTC.
fn long(place: &Place<'_>, name: &str) -> Result<String, Error> {
    let (file, meta) = (&place.file, &place.file.meta);
    let size = match file.kind {
        FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => format!("{major}, {minor}"),
        _ => file.size.to_string(),
    };
    let target = match file.kind {
        FileKind::Symlink => format!(" -> {}", shown_bytes(&place.target()?)),
        _ => String::new(),
    };
    Ok(format!(
        "{} {:>3} {:>5} {:>5} {size:>10} {} {name}{target}",
        mode(file.kind, meta.mode),
        file.links,
        meta.uid,
        meta.gid,
        date(meta.mtime)
    ))
}

/// As ls(1) writes a mode: `drwxr-sr-x`.
pub fn mode(kind: FileKind, bits: u32) -> String {
    let first = match kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice(..) => 'c',
        FileKind::BlockDevice(..) => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    };
    let mut text = String::from(first);
    // Three bits for each of owner, group and others; the bit that changes what execution means.
    for (shift, special, with, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits_of = bits >> shift;
        text.push(if bits_of & 4 != 0 { 'r' } else { '-' });
        text.push(if bits_of & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & special != 0, bits_of & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Minutes are enough for people; times that no calendar has are shown as seconds.
pub fn date(time: Time) -> String {
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => time.seconds.to_string(),
    }
}

/// Writes the bytes of a file.
///
/// # Errors
/// There is no such file, or it is none that has bytes; damage; those of the output.
pub fn cat(tree: &Mounted<'_>, path: &TreePath, out: &mut dyn Write) -> Result<(), Error> {
    let place = tree.find(path, true)?;
    if place.file.kind != FileKind::File {
        return Err(Error::other(format!("failed to read /{}: it is not a regular file", shown(path))));
    }
    pour(&place, &mut |_, bytes| out.write_all(bytes).to("write the file"))
}

/// Gives the bytes of a file in order, with where they lie.
///
/// # Errors
/// Damage; those of the taker.
pub fn pour(place: &Place<'_>, take: &mut dyn FnMut(u64, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(place.file.size).unwrap_or(CHUNK))];
    let mut at = 0;
    while at < place.file.size {
        let count = place.read(at, &mut buffer)?;
        if count == 0 {
            return Err(Error::other(format!("failed to read /{}: it ends early", shown(&place.path))));
        }
        take(at, &buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_look_as_ls_shows_them() {
        assert_eq!(mode(FileKind::Directory, 0o2755), "drwxr-sr-x");
        assert_eq!(mode(FileKind::File, 0o4644), "-rwSr--r--");
        assert_eq!(mode(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(FileKind::BlockDevice(8, 1), 0o660), "brw-rw----");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(date(Time::seconds(1_700_000_000)), "2023-11-14 22:13");
        assert_eq!(date(Time::seconds(i64::MAX)), i64::MAX.to_string());
    }
}
