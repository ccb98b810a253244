//! The tree inside an image as its own fstab(5) mounts it.

use std::collections::VecDeque;

use image::volume::{File, FileId, FileKind, Volume};
use layers::TreePath;

use super::{Image, Piece};
use crate::error::{Error, Kind, ResultExt};

/// Most symbolic links on the way to a file, as Linux has it (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;

/// Longest fstab that is read, in bytes.
const FSTAB_MAX: usize = 1 << 18;

/// Most bytes of extended attributes that are held of the files of one directory.
const ATTRIBUTES_MAX: usize = 64 << 20;

/// Where a file system is mounted.
pub struct Mount<'a> {
    /// The directory.
    pub path: TreePath,
    /// The part it lies on.
    pub number: u32,
    /// The file system.
    pub volume: &'a dyn Volume,
}

/// The file systems of an image in their places, the root first.
pub struct Mounted<'a> {
    mounts: Vec<Mount<'a>>,
}

/// A file and where it was found.
#[derive(Clone)]
pub struct Place<'a> {
    /// Its path, without symbolic links on the way.
    pub path: TreePath,
    /// The part it lies on.
    pub number: u32,
    /// The file system it is in.
    pub volume: &'a dyn Volume,
    /// The file.
    pub file: File,
}

/// The whole tree, or one part of the image as a tree of its own.
///
/// # Errors
/// No part, or more than one, can be the root; a part that is not there or cannot be read.
pub fn tree<'a>(image: &'a Image<'_>, number: Option<u32>) -> Result<Mounted<'a>, Error> {
    let (number, volume) = match number {
        Some(number) => return only(image, number),
        None => root(image)?,
    };
    let mut mounted = Mounted { mounts: vec![Mount { path: TreePath::root(), number, volume }] };
    let text = mounted.text("etc/fstab", FSTAB_MAX)?.unwrap_or_default();
    let mut more: Vec<Mount<'a>> = text.lines().filter_map(|line| of_fstab(image, line)).collect();
    // What is mounted on top of another comes after it.
    more.sort_by(|a, b| a.path.cmp(&b.path));
    mounted.mounts.extend(more);
    Ok(mounted)
}

fn only<'a>(image: &'a Image<'_>, number: u32) -> Result<Mounted<'a>, Error> {
    let failed = || format!("failed to read partition {number} of {}", image.path.display());
    let numbers: Vec<String> = image.pieces.iter().map(|piece| piece.part.number.to_string()).collect();
    let Some(piece) = image.pieces.iter().find(|piece| piece.part.number == number) else {
        return Err(
            Error::other(format!("{}: there is none", failed())).hint(format!("there are: {}", numbers.join(", ")))
        );
    };
    match &piece.volume {
        Some(volume) => Ok(Mounted { mounts: vec![Mount { path: TreePath::root(), number, volume: volume.as_ref() }] }),
        None => Err(unreadable(piece, failed())),
    }
}

fn unreadable(piece: &Piece<'_>, failed: String) -> Error {
    match (&piece.problem, piece.format) {
        (Some(problem), _) => Error::other(format!("{failed}: {problem}")),
        (None, Some(format)) => Error::other(format!("{failed}: {format} cannot be read here")),
        (None, None) => Error::other(format!("{failed}: no file system that is known lies on it")),
    }
}

/// The part that holds the operating system: by its type, or because it has an os-release(5).
fn root<'a>(image: &'a Image<'_>) -> Result<(u32, &'a dyn Volume), Error> {
    let readable: Vec<(&Piece<'_>, &dyn Volume)> =
        image.pieces.iter().filter_map(|piece| Some((piece, piece.volume.as_deref()?))).collect();
    let by_type = readable.iter().filter(|(piece, _)| is_root_type(&piece.part.purpose)).collect::<Vec<_>>();
    let holds_system = |volume: &dyn Volume| {
        ["etc/os-release", "usr/lib/os-release"].iter().any(|path| {
            let alone = Mounted { mounts: vec![Mount { path: TreePath::root(), number: 0, volume }] };
            TreePath::new(path).is_ok_and(|path| alone.find(&path, true).is_ok())
        })
    };
    let by_system = || readable.iter().filter(|(_, volume)| holds_system(*volume)).collect::<Vec<_>>();
    let found = match (by_type.as_slice(), readable.as_slice()) {
        ([only], _) => **only,
        (_, [only]) => *only,
        _ => match by_system().as_slice() {
            [only] => **only,
            _ => {
                let failed = format!("failed to find the root file system in {}", image.path.display());
                let broken = image.pieces.iter().find(|piece| piece.problem.is_some());
                return Err(match broken {
                    Some(piece) => unreadable(piece, format!("{failed}: partition {}", piece.part.number)),
                    None => Error::other(failed).hint("--partition N takes one by its number; `inspect` lists them"),
                });
            }
        },
    };
    Ok((found.0.part.number, found.1))
}

fn is_root_type(purpose: &str) -> bool {
    purpose.starts_with("root-") && !purpose.contains("verity")
}

/// What a line of fstab(5) mounts, if it is a part of this image that can be read.
fn of_fstab<'a>(image: &'a Image<'_>, line: &str) -> Option<Mount<'a>> {
    let mut fields = line.split_ascii_whitespace();
    let source = fields.next().filter(|source| !source.starts_with('#'))?;
    let path = TreePath::new(unescaped(fields.next().filter(|path| path.starts_with('/'))?)).ok()?;
    if path.is_root() {
        return None;
    }
    let piece = image.pieces.iter().find(|piece| names(source, piece))?;
    Some(Mount { path, number: piece.part.number, volume: piece.volume.as_deref()? })
}

/// Whether the first field of a line of fstab(5) means this part.
fn names(source: &str, piece: &Piece<'_>) -> bool {
    let value = |value: &str| String::from_utf8_lossy(&unescaped(value.trim_matches('"'))).into_owned();
    let volume = piece.volume.as_deref();
    match source.split_once('=') {
        // Many a file system has no label, some have no identity: no name means none of them.
        Some((_, "")) => false,
        Some(("UUID", uuid)) => volume.is_some_and(|volume| volume.uuid().eq_ignore_ascii_case(&value(uuid))),
        Some(("LABEL", label)) => volume.is_some_and(|volume| volume.label() == value(label)),
        Some(("PARTUUID", guid)) => piece.part.guid.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&value(guid))),
        Some(("PARTLABEL", name)) => piece.part.name == value(name),
        Some(_) => false,
        // sda1, vda1, nvme0n1p1, mmcblk0p1: whatever the disk is called there.
        None => source.strip_prefix("/dev/").is_some_and(|device| {
            let digits = device.bytes().rev().take_while(u8::is_ascii_digit).count();
            device[device.len() - digits..].parse() == Ok(piece.part.number)
        }),
    }
}

/// The octal escapes of fstab(5) (`\040` is a blank).
fn unescaped(text: &str) -> Vec<u8> {
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| byte == b'\\') {
            Some(value) => {
                plain.push(value);
                at += 4;
            }
            None => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

impl<'a> Mounted<'a> {
    /// One file system as a tree of its own.
    pub fn alone(mount: Mount<'a>) -> Self {
        Self { mounts: vec![mount] }
    }

    /// The file systems themselves.
    pub fn into_mounts(self) -> Vec<Mount<'a>> {
        self.mounts
    }

    /// Where each file system is, the root first.
    pub fn mounts(&self) -> &[Mount<'a>] {
        &self.mounts
    }

    /// The root directory.
    ///
    /// # Errors
    /// A damaged file system.
    pub fn root(&self) -> Result<Place<'a>, Error> {
        self.enter(&self.mounts[0])
    }

    fn enter(&self, mount: &Mount<'a>) -> Result<Place<'a>, Error> {
        self.place(mount, mount.path.clone(), mount.volume.root())
    }

    fn place(&self, mount: &Mount<'a>, path: TreePath, id: FileId) -> Result<Place<'a>, Error> {
        let file = mount.volume.file(id).or_fail(Kind::Other, || format!("failed to read /{}", shown(&path)))?;
        Ok(Place { path, number: mount.number, volume: mount.volume, file })
    }

    /// The file at a path; symbolic links are followed, the last one only if asked for.
    ///
    /// # Errors
    /// There is none; links without end; damage.
    pub fn find(&self, path: &TreePath, follow: bool) -> Result<Place<'a>, Error> {
        let missing = |what: &str| Error::other(format!("failed to find /{} in the image: {what}", shown(path)));
        let mut rest: VecDeque<Box<[u8]>> = path.components().map(Into::into).collect();
        // The directories above, so that `..` leads back through mounts.
        let mut above: Vec<Place<'a>> = Vec::new();
        let mut at = self.root()?;
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    at = above.pop().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            if at.file.kind != FileKind::Directory {
                return Err(missing(&format!("/{} is not a directory", shown(&at.path))));
            }
            let Some(next) = self.child(&at, &name)? else {
                return Err(missing("there is no such file or directory"));
            };
            if next.file.kind == FileKind::Symlink && (follow || !rest.is_empty()) {
                links += 1;
                if links > LINKS_MAX {
                    return Err(missing("too many levels of symbolic links"));
                }
                let target = next.target()?;
                if target.starts_with(b"/") {
                    at = self.root()?;
                    above.clear();
                }
                for part in target.split(|&byte| byte == b'/').rev() {
                    rest.push_front(part.into());
                }
                continue;
            }
            above.push(std::mem::replace(&mut at, next));
        }
        Ok(at)
    }

    fn child(&self, directory: &Place<'a>, name: &[u8]) -> Result<Option<Place<'a>>, Error> {
        let names = directory.names()?;
        let Ok(index) = names.binary_search_by(|(known, _)| (**known).cmp(name)) else { return Ok(None) };
        self.step(directory, &names[index]).map(Some)
    }

    /// What a name in a directory is, or what is mounted there.
    fn step(&self, directory: &Place<'a>, (name, id): &(Box<[u8]>, FileId)) -> Result<Place<'a>, Error> {
        let read = |error: layers::Error| Error::other("failed to read a name in the image").caused_by(error);
        let path = directory.path.join(name).map_err(read)?;
        if let Some(mount) = self.mounts.iter().rev().find(|mount| mount.path == path) {
            return self.enter(mount);
        }
        let mount = Mount { path: TreePath::root(), number: directory.number, volume: directory.volume };
        self.place(&mount, path, *id)
    }

    /// What a directory holds, by name.
    ///
    /// # Errors
    /// Damage.
    pub fn children(&self, directory: &Place<'a>) -> Result<Vec<Place<'a>>, Error> {
        // Many names may share one set of attributes in the image, and each has its own here.
        let mut bytes = 0;
        let mut children = Vec::new();
        for name in directory.names()? {
            let child = self.step(directory, &name)?;
            bytes += child.file.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            if bytes > ATTRIBUTES_MAX {
                let what = format!("failed to read /{}: its files have too many attributes", shown(&directory.path));
                return Err(Error::other(what));
            }
            children.push(child);
        }
        Ok(children)
    }

    /// Visits a file and everything below it, directories before what they hold.
    ///
    /// # Errors
    /// Damage, such as a directory in two places; those of the visitor.
    pub fn walk(&self, from: Place<'a>, visit: &mut dyn FnMut(&Place<'a>) -> Result<(), Error>) -> Result<(), Error> {
        let mut entered = std::collections::BTreeSet::new();
        let mut open = vec![from];
        while let Some(place) = open.pop() {
            visit(&place)?;
            if place.file.kind == FileKind::Directory {
                if !entered.insert((place.number, place.file.id)) {
                    let what = format!("failed to read /{}: the directory is in two places", shown(&place.path));
                    return Err(Error::other(what));
                }
                let mut children = self.children(&place)?;
                children.reverse();
                open.append(&mut children);
            }
        }
        Ok(())
    }

    /// A text file of the tree, at most so many bytes of it; `None` where there is none.
    ///
    /// # Errors
    /// Damage.
    pub fn text(&self, path: &str, most: usize) -> Result<Option<String>, Error> {
        let path = TreePath::new(path).or_fail(Kind::Other, || format!("failed to look for /{path}"))?;
        match self.find(&path, true) {
            Ok(place) if place.file.kind == FileKind::File => {
                let mut bytes = vec![0; usize::try_from(place.file.size).unwrap_or(most).min(most)];
                let count = place.read(0, &mut bytes)?;
                bytes.truncate(count);
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(None),
        }
    }
}

impl Place<'_> {
    fn failed(&self) -> String {
        format!("failed to read /{}", shown(&self.path))
    }

    fn names(&self) -> Result<Vec<(Box<[u8]>, FileId)>, Error> {
        self.volume.names(self.file.id).or_fail(Kind::Other, || self.failed())
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// Damage.
    pub fn target(&self) -> Result<Vec<u8>, Error> {
        self.volume.target(self.file.id).or_fail(Kind::Other, || self.failed())
    }

    /// Reads bytes of a file; fewer than asked for only at its end.
    ///
    /// # Errors
    /// Damage.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.volume.read(self.file.id, offset, buffer).or_fail(Kind::Other, || self.failed())
    }
}

/// A path as people read it; what could steer a terminal is escaped.
pub fn shown(path: &TreePath) -> String {
    shown_bytes(path.as_bytes())
}

/// As [`shown`], of any name.
pub fn shown_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_fstab_are_read() {
        assert_eq!(unescaped("/a\\040b\\134"), b"/a b\\");
        assert_eq!(unescaped("plain\\"), b"plain\\");
        assert_eq!(unescaped("\\09x"), b"\\09x");
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(shown_bytes("späte".as_bytes()), "späte");
        assert_eq!(shown_bytes(b"a\x1b[31m"), "a\\x1b[31m");
        assert_eq!(shown_bytes(b"\xff"), "\\xff");
    }
}
