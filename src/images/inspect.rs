//! `inspect`: what an image is, in a screenful, or as JSON.

use std::fmt::Write;

use image::disk::{Copy, Scheme};
use image::volume::{FileKind, Format, Volume};
use layers::TreePath;
use serde::Serialize;

use super::packages::{Package, packages};
use super::tree::{Mount, Mounted, shown, tree};
use super::{Image, Piece};
use crate::base::release_fields;
use crate::error::{Error, Kind, ResultExt};
use crate::progress::human_bytes;

/// Longest os-release(5) that is read, in bytes.
const RELEASE_MAX: usize = 64 << 10;

/// What is known of an image. The fields are the keys of `inspect --json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Its container: `raw`, `qcow2`, …
    pub format: &'static str,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the disk inside.
    pub disk_bytes: u64,
    /// How it is divided.
    pub partition_table: Table,
    /// Its parts.
    pub partitions: Vec<Partition>,
    /// What its os-release(5) says.
    pub operating_system: Option<System>,
    /// What firmware and boot loaders find.
    pub boot: Boot,
    /// Installed packages by name.
    pub packages: Vec<Package>,
    /// What is damaged, or could not be read.
    pub problems: Vec<String>,
}

/// A partition table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Table {
    /// `gpt`, `mbr` or `none`.
    pub kind: &'static str,
    /// The disk's GUID, or signature.
    pub id: Option<String>,
}

/// A part of the disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Partition {
    /// Its number; 0 for a disk that is not divided.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is for.
    #[serde(rename = "type")]
    pub purpose: String,
    /// Its name in the table.
    pub name: String,
    /// What `PARTUUID=` finds it by.
    pub partuuid: Option<String>,
    /// What lies on it.
    pub filesystem: Option<FileSystem>,
    /// Where the image's fstab mounts it.
    pub mount: Option<String>,
}

/// A file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileSystem {
    /// Its format, by blkid(8)'s name.
    #[serde(rename = "type")]
    pub format: String,
    /// Its label.
    pub label: Option<String>,
    /// What `UUID=` finds it by.
    pub uuid: Option<String>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// How much of it is free, if it keeps count.
    pub free_bytes: Option<u64>,
}

/// An operating system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct System {
    /// `ID` of os-release(5).
    pub id: String,
    /// `VERSION_ID`.
    pub version: Option<String>,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// What boots.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Boot {
    /// Whether the first sector has code for a BIOS.
    pub bios: bool,
    /// Programs and entries of boot loaders on the EFI system partition.
    pub efi: Vec<String>,
    /// Kernels in /boot.
    pub kernels: Vec<String>,
}

/// Finds out everything about an image. What cannot be read is listed, and no error.
///
/// # Errors
/// Those of the medium, in the first sector.
pub fn inspect(image: &Image<'_>) -> Result<Report, Error> {
    let mut problems = problems(image);
    let mounted = match tree(image, None) {
        Ok(mounted) => Some(mounted),
        Err(error) => {
            // Nothing to say of a disk that holds no system, such as one of data alone.
            if image.pieces.iter().any(|piece| piece.volume.is_some()) {
                problems.push(error.to_string());
            }
            None
        }
    };
    let mut report = Report {
        file: image.path.display().to_string(),
        format: image.container,
        file_bytes: image.file_bytes,
        disk_bytes: image.disk.size(),
        partition_table: table(&image.scheme),
        partitions: image.pieces.iter().map(|piece| partition(piece, mounted.as_ref())).collect(),
        operating_system: None,
        boot: Boot { bios: has_boot_code(image)?, ..Boot::default() },
        packages: Vec::new(),
        problems,
    };
    let mut note = |error: Error| report.problems.push(error.to_string());
    for piece in image.pieces.iter().filter(|piece| piece.part.purpose == "esp" || piece.part.purpose == "EFI system") {
        if let Some(volume) = piece.volume.as_deref() {
            match efi_files(piece.part.number, volume) {
                Ok(mut files) => report.boot.efi.append(&mut files),
                Err(error) => note(error),
            }
        }
    }
    if let Some(mounted) = &mounted {
        system(mounted).map_or_else(&mut note, |system| report.operating_system = system);
        kernels(mounted).map_or_else(&mut note, |kernels| report.boot.kernels = kernels);
        packages(mounted).map_or_else(&mut note, |packages| report.packages = packages);
    }
    Ok(report)
}

fn problems(image: &Image<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if let Scheme::Gpt { copy, other_copy: Some(reason), .. } = &image.scheme {
        let other = if *copy == Copy::Primary { "backup" } else { "primary" };
        found.push(format!("the {other} copy of the partition table is not good: failed to {reason}"));
    }
    for piece in &image.pieces {
        if let Some(problem) = &piece.problem {
            found.push(format!("partition {}: failed to {problem}", piece.part.number));
        }
    }
    found
}

pub(super) fn table(scheme: &Scheme) -> Table {
    match scheme {
        Scheme::Gpt { guid, .. } => Table { kind: "gpt", id: Some(guid.to_string()) },
        Scheme::Mbr(signature) => Table { kind: "mbr", id: Some(format!("{signature:08x}")) },
        Scheme::Whole => Table { kind: "none", id: None },
    }
}

pub(super) fn partition(piece: &Piece<'_>, mounted: Option<&Mounted<'_>>) -> Partition {
    let part = &piece.part;
    let text = |text: String| (!text.is_empty()).then_some(text);
    let filesystem = piece.format.map(|format: Format| {
        let volume = piece.volume.as_deref();
        FileSystem {
            format: format.to_string(),
            label: volume.and_then(|volume| text(volume.label())),
            uuid: volume.and_then(|volume| text(volume.uuid())),
            bytes: volume.map(|volume| volume.space().0),
            free_bytes: volume.and_then(|volume| volume.space().1),
        }
    });
    let mount = mounted.and_then(|tree| tree.mounts().iter().find(|mount| mount.number == part.number));
    Partition {
        number: part.number,
        start: part.start,
        bytes: part.size,
        purpose: part.purpose.clone(),
        name: part.name.clone(),
        partuuid: part.guid.clone(),
        filesystem,
        mount: mount.map(|mount| format!("/{}", shown(&mount.path))),
    }
}

pub(super) fn has_boot_code(image: &Image<'_>) -> Result<bool, Error> {
    let mut code = [0; 440];
    if matches!(image.scheme, Scheme::Whole) || image.disk.size() < 512 {
        return Ok(false);
    }
    image.disk.read_at(0, &mut code).or_fail(Kind::Other, || "failed to read the first sector".into())?;
    Ok(code.iter().any(|byte| *byte != 0))
}

/// Programs and entries that boot loaders read on an EFI system partition.
fn efi_files(number: u32, volume: &dyn Volume) -> Result<Vec<String>, Error> {
    let alone = Mounted::alone(Mount { path: TreePath::root(), number, volume });
    let mut found = Vec::new();
    alone.walk(alone.root()?, &mut |place| {
        let path = shown(&place.path);
        let lower = path.to_ascii_lowercase();
        let boots = lower.ends_with(".efi") || lower.starts_with("loader/entries/") || lower.ends_with("/grub.cfg");
        if place.file.kind == FileKind::File && boots {
            found.push(path);
        }
        Ok(())
    })?;
    Ok(found)
}

fn system(tree: &Mounted<'_>) -> Result<Option<System>, Error> {
    let mut text = tree.text("etc/os-release", RELEASE_MAX)?;
    if text.is_none() {
        text = tree.text("usr/lib/os-release", RELEASE_MAX)?;
    }
    let Some(text) = text else { return Ok(None) };
    let fields = release_fields(&text);
    let field = |key: &str| fields.get(key).map(|value| (*value).to_owned());
    // The defaults of os-release(5).
    let id = field("ID").unwrap_or_else(|| "linux".into());
    let name = field("PRETTY_NAME").unwrap_or_else(|| "Linux".into());
    Ok(Some(System { id, version: field("VERSION_ID"), name }))
}

fn kernels(tree: &Mounted<'_>) -> Result<Vec<String>, Error> {
    let boot = TreePath::new("boot").or_fail(Kind::Other, || "failed to name /boot".into())?;
    let Ok(directory) = tree.find(&boot, true) else { return Ok(Vec::new()) };
    if directory.file.kind != FileKind::Directory {
        return Ok(Vec::new());
    }
    let children = tree.children(&directory)?;
    let files = children.iter().filter(|child| child.file.kind == FileKind::File);
    let names = files.map(|child| shown(&child.path)).filter(|path| path.starts_with("boot/vmlinu"));
    Ok(names.collect())
}

impl Report {
    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{}: {}, a disk of {} in {}",
            self.file,
            self.format,
            human_bytes(self.disk_bytes),
            human_bytes(self.file_bytes)
        );
        let table = match (self.partition_table.kind, &self.partition_table.id) {
            ("none", _) | (_, None) => "no partition table".to_owned(),
            (kind, Some(id)) => format!("{kind} {id}"),
        };
        let _ = writeln!(text, "{table}\n");
        let mut rows =
            vec![["#", "start", "size", "type", "file system", "label", "used", "mount", "name"].map(String::from)];
        rows.extend(self.partitions.iter().map(row));
        text.push_str(&columns(&rows));
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "{what:<10}{value}");
        };
        line(
            "\nsystem",
            self.operating_system.as_ref().map_or_else(|| " none found".into(), |s| format!(" {}", s.name)),
        );
        line("bios", if self.boot.bios { "boot code in the first sector" } else { "no boot code" }.into());
        for (index, file) in self.boot.efi.iter().enumerate() {
            line(if index == 0 { "efi" } else { "" }, file.clone());
        }
        for (index, kernel) in self.boot.kernels.iter().enumerate() {
            line(if index == 0 { "kernels" } else { "" }, kernel.clone());
        }
        line("packages", self.packages.len().to_string());
        for problem in &self.problems {
            line("problem", problem.clone());
        }
        text
    }
}

fn row(partition: &Partition) -> [String; 9] {
    let dash = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
    let system = partition.filesystem.as_ref();
    let used = system.and_then(|system| Some(system.bytes?.saturating_sub(system.free_bytes?)));
    [
        partition.number.to_string(),
        human_bytes(partition.start),
        human_bytes(partition.bytes),
        dash(Some(&partition.purpose)),
        dash(system.map(|system| system.format.as_str())),
        dash(system.and_then(|system| system.label.as_deref())),
        dash(used.map(human_bytes).as_deref()),
        dash(partition.mount.as_deref()),
        dash(Some(&partition.name)),
    ]
}

/// Columns two blanks apart, without blanks at the ends of lines.
fn columns(rows: &[[String; 9]]) -> String {
    let widths: Vec<usize> =
        (0..9).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
