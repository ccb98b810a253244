//! `compare`: in what two images differ: partitions, packages, files.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;

use image::volume::{File, FileKind};
use layers::TreePath;
use serde::Serialize;

use super::inspect::{Partition, has_boot_code, partition, table};
use super::list::{CHUNK, date, mode};
use super::packages::{Package, packages};
use super::tree::{Mount, Mounted, Place, shown, shown_bytes, tree};
use super::{Image, Piece};
use crate::error::Error;

/// Everything in which two images differ. The fields are the keys of `compare --json`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Differences {
    /// Partitions and file systems, in words.
    pub partitions: Vec<String>,
    /// Packages.
    pub packages: Vec<Difference>,
    /// Files.
    pub files: Vec<Difference>,
}

/// Something that only one image has, or that is not the same in both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// What it is the difference of: a package's name, a path.
    pub name: String,
    /// How it is in the first image, if it is there.
    pub a: Option<String>,
    /// How it is in the second one.
    pub b: Option<String>,
    /// Bytes of it in each, where it has bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.packages.is_empty() && self.files.is_empty()
    }

    /// The differences for people: `-` only in the first, `+` only in the second, `~` in both.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        for line in &self.partitions {
            let _ = writeln!(text, "~ {line}");
        }
        for (what, list) in [("package ", &self.packages), ("", &self.files)] {
            for Difference { name, a, b, .. } in list {
                let _ = match (a, b) {
                    (Some(a), None) => writeln!(text, "- {what}{name} {a}"),
                    (None, Some(b)) => writeln!(text, "+ {what}{name} {b}"),
                    (a, b) => {
                        let (a, b) = (a.as_deref().unwrap_or_default(), b.as_deref().unwrap_or_default());
                        writeln!(text, "~ {what}{name} {a} -> {b}")
                    }
                };
            }
        }
        let count = |count: usize, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {many}"),
        };
        let _ = match self.is_empty() {
            true => writeln!(text, "no differences in partitions, packages and files"),
            false => writeln!(
                text,
                "{}, {}, {} differ",
                count(self.partitions.len(), "property of partitions", "properties of partitions"),
                count(self.packages.len(), "package", "packages"),
                count(self.files.len(), "file", "files"),
            ),
        };
        text
    }
}

/// Compares two images.
///
/// # Errors
/// Damage in either.
pub fn compare(a: &Image<'_>, b: &Image<'_>) -> Result<Differences, Error> {
    let mut found = Differences { partitions: partitions(a, b)?, ..Differences::default() };
    let (mut in_a, mut in_b) = (trees(a)?, trees(b)?);
    if let (Some(a), Some(b)) = (in_a.get(""), in_b.get("")) {
        found.packages = versions(packages(a)?, packages(b)?);
    }
    let names: Vec<String> = in_a.keys().chain(in_b.keys()).cloned().collect();
    for name in std::collections::BTreeSet::from_iter(names) {
        match (in_a.remove(&name), in_b.remove(&name)) {
            (Some(a), Some(b)) => {
                let mut comparing = Comparing { a: &a, b: &b, prefix: &name, found: &mut found.files };
                comparing.places(a.root()?, b.root()?)?;
            }
            (a, _) => {
                let which = if a.is_some() { "first" } else { "second" };
                found.partitions.push(format!("only the {which} image has files on {name}"));
            }
        }
    }
    Ok(found)
}

/// The trees of an image: the one that its fstab makes, under an empty name, and each file system
/// that is not part of it, such as an EFI system partition that is found by its type.
fn trees<'a>(image: &'a Image<'_>) -> Result<BTreeMap<String, Mounted<'a>>, Error> {
    let mut trees = BTreeMap::new();
    let readable = |piece: &'a Piece<'_>| piece.volume.as_deref().map(|volume| (piece, volume));
    if let Some((broken, problem)) = image.pieces.iter().find_map(|piece| Some((piece, piece.problem.as_ref()?))) {
        let failed = format!("failed to read partition {} of {}", broken.part.number, image.path.display());
        return Err(Error::other(format!("{failed}: {problem}")));
    }
    let mut rest: Vec<_> = image.pieces.iter().filter_map(readable).collect();
    if let Ok(whole) = tree(image, None) {
        rest.retain(|(piece, _)| whole.mounts().iter().all(|mount| mount.number != piece.part.number));
        trees.insert(String::new(), whole);
    }
    for (piece, volume) in rest {
        let number = piece.part.number;
        let alone = Mounted::alone(Mount { path: TreePath::root(), number, volume });
        trees.insert(format!("partition {number} ({}):", piece.part.purpose), alone);
    }
    Ok(trees)
}

fn partitions(a: &Image<'_>, b: &Image<'_>) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut differ = |what: String, a: String, b: String| {
        if a != b {
            found.push(format!("{what}: {a} -> {b}"));
        }
    };
    let or_none = |text: Option<&String>| text.map_or_else(|| "none".to_owned(), |text| shown_bytes(text.as_bytes()));
    differ("disk: bytes".into(), a.disk.size().to_string(), b.disk.size().to_string());
    let tables = (table(&a.scheme), table(&b.scheme));
    differ("disk: partition table".into(), tables.0.kind.into(), tables.1.kind.into());
    differ("disk: identity".into(), or_none(tables.0.id.as_ref()), or_none(tables.1.id.as_ref()));
    differ("disk: boot code for a BIOS".into(), has_boot_code(a)?.to_string(), has_boot_code(b)?.to_string());
    let numbers = a.pieces.iter().chain(&b.pieces).map(|piece| piece.part.number);
    for number in std::collections::BTreeSet::from_iter(numbers) {
        // Where it is mounted is in the fstab, which is compared as a file.
        let of = |list: &[Piece<'_>]| {
            list.iter().find(|piece| piece.part.number == number).map(|piece| partition(piece, None))
        };
        match (of(&a.pieces), of(&b.pieces)) {
            (Some(a), Some(b)) => {
                let (a, b) = (properties(&a), properties(&b));
                for ((name, a), (_, b)) in a.iter().zip(&b) {
                    differ(format!("partition {number}: {name}"), or_none(a.as_ref()), or_none(b.as_ref()));
                }
            }
            (a, b) => {
                let has = |there: bool| if there { "there" } else { "missing" }.to_owned();
                differ(format!("partition {number}"), has(a.is_some()), has(b.is_some()));
            }
        }
    }
    Ok(found)
}

fn properties(partition: &Partition) -> Vec<(&'static str, Option<String>)> {
    let system = partition.filesystem.as_ref();
    vec![
        ("start", Some(partition.start.to_string())),
        ("bytes", Some(partition.bytes.to_string())),
        ("type", Some(partition.purpose.clone())),
        ("name", Some(partition.name.clone())),
        ("PARTUUID", partition.partuuid.clone()),
        ("file system", system.map(|system| system.format.clone())),
        ("label", system.and_then(|system| system.label.clone())),
        ("UUID", system.and_then(|system| system.uuid.clone())),
    ]
}

/// Packages that are not the same in both lists.
fn versions(a: Vec<Package>, b: Vec<Package>) -> Vec<Difference> {
    let by_name = |list: Vec<Package>| -> BTreeMap<String, String> {
        list.into_iter()
            .map(|package| (format!("{}:{}", package.name, package.architecture), package.version))
            .collect()
    };
    let (a, b) = (by_name(a), by_name(b));
    let names = std::collections::BTreeSet::from_iter(a.keys().chain(b.keys()));
    let differs = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    let difference = |name: &String| Difference {
        name: name.clone(),
        a: a.get(name).cloned(),
        b: b.get(name).cloned(),
        bytes: None,
    };
    differs.map(difference).collect()
}

struct Comparing<'t, 'a, 'b> {
    a: &'t Mounted<'a>,
    b: &'t Mounted<'b>,
    prefix: &'t str,
    found: &'t mut Vec<Difference>,
}

impl<'a, 'b> Comparing<'_, 'a, 'b> {
    fn name(&self, path: &TreePath) -> String {
        format!("{}/{}", self.prefix, shown(path))
    }

    /// Compares two files at the same path, and what is below.
    fn places(&mut self, a: Place<'a>, b: Place<'b>) -> Result<(), Error> {
        let mut open = vec![(a, b)];
        while let Some((a, b)) = open.pop() {
            self.one(&a, &b)?;
            let both = [&a.file, &b.file].iter().all(|file| file.kind == FileKind::Directory);
            if !both {
                continue;
            }
            let (mut left, mut right) =
                (self.a.children(&a)?.into_iter().peekable(), self.b.children(&b)?.into_iter().peekable());
            let mut below = Vec::new();
            loop {
                let order = match (left.peek(), right.peek()) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(a), Some(b)) => a.path.name().cmp(b.path.name()),
                };
                match order {
                    Ordering::Less => {
                        if let Some(a) = left.next() {
                            self.alone(self.a, a, true)?;
                        }
                    }
                    Ordering::Greater => {
                        if let Some(b) = right.next() {
                            self.alone(self.b, b, false)?;
                        }
                    }
                    Ordering::Equal => below.extend(left.next().zip(right.next())),
                }
            }
            below.reverse();
            open.append(&mut below);
        }
        Ok(())
    }

    /// Notes a file that only one image has, and everything below it.
    fn alone<'c>(&mut self, tree: &Mounted<'c>, place: Place<'c>, first: bool) -> Result<(), Error> {
        tree.walk(place, &mut |place| {
            let words = Some(words(place)?.join(" "));
            let (a, b) = if first { (words, None) } else { (None, words) };
            let size = if place.file.kind == FileKind::File { place.file.size } else { 0 };
            let bytes = Some(if first { (size, 0) } else { (0, size) });
            self.found.push(Difference { name: self.name(&place.path), a, b, bytes });
            Ok(())
        })
    }

    fn one(&mut self, a: &Place<'a>, b: &Place<'b>) -> Result<(), Error> {
        let (words_a, words_b) = (words(a)?, words(b)?);
        let differ = |(a, b): &(&String, &String)| a != b;
        let pairs: Vec<(&String, &String)> = words_a.iter().zip(&words_b).filter(differ).collect();
        let mut sides: (Vec<&str>, Vec<&str>) = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
        if a.file.kind == FileKind::File
            && a.file.kind == b.file.kind
            && a.file.size == b.file.size
            && !same_bytes(a, b)?
        {
            sides.0.push("content");
            sides.1.push("other content");
        }
        if !sides.0.is_empty() {
            self.found.push(Difference {
                name: self.name(&a.path),
                a: Some(sides.0.join(" ")),
                b: Some(sides.1.join(" ")),
                bytes: (a.file.kind == FileKind::File).then_some((a.file.size, b.file.size)),
            });
        }
        Ok(())
    }
}

/// What there is to say of a file, the same number of words for each of a kind.
fn words(place: &Place<'_>) -> Result<Vec<String>, Error> {
    let File { kind, meta, size, links, .. } = &place.file;
    let mut words = vec![mode(*kind, meta.mode), format!("{}:{}", meta.uid, meta.gid)];
    let time = date(meta.mtime);
    words.push(match meta.mtime.nanoseconds {
        0 => format!("{time}:{:02}", meta.mtime.seconds.rem_euclid(60)),
        nanoseconds => format!("{time}:{:02}.{nanoseconds:09}", meta.mtime.seconds.rem_euclid(60)),
    });
    words.push(match kind {
        FileKind::File => format!("{size} bytes"),
        FileKind::Symlink => format!("-> {}", shown_bytes(&place.target()?)),
        FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => format!("{major}, {minor}"),
        FileKind::Directory | FileKind::Fifo | FileKind::Socket => String::new(),
    });
    // Of directories it is the number of those below, which have lines of their own.
    words.push(if *kind == FileKind::Directory || *links == 1 { String::new() } else { format!("{links} names") });
    let attribute = |(name, value): (&Box<[u8]>, &Box<[u8]>)| {
        format!("{}={}", shown_bytes(name), value.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    words.push(meta.xattrs.iter().map(attribute).collect::<Vec<_>>().join(" "));
    Ok(words)
}

/// Whether two files of the same size hold the same; stops at the first difference.
fn same_bytes(a: &Place<'_>, b: &Place<'_>) -> Result<bool, Error> {
    let size = usize::try_from(a.file.size).unwrap_or(CHUNK).min(CHUNK);
    let (mut left, mut right) = (vec![0; size], vec![0; size]);
    let mut at = 0;
    while at < a.file.size {
        let counts = (a.read(at, &mut left)?, b.read(at, &mut right)?);
        if counts.0 != counts.1 || left[..counts.0] != right[..counts.0] {
            return Ok(false);
        }
        if counts.0 == 0 {
            break;
        }
        at += counts.0 as u64;
    }
    Ok(true)
}
