//! Which container a file is, by its first bytes, and a VHD also by its last.

use super::Format;
use crate::bytes::Fields;
use crate::medium::Medium;
use crate::{Error, qcow2, vdi, vhd, vhdx, vmdk};

/// Beginnings of files that hold a disk in a way that we do not read, and what helps.
const REFUSED: &[(&[u8], &str, &str)] = &[
    (&[0x1f, 0x8b, 8], "gzip", "decompress the file first, with gunzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "decompress the file first, with unxz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "decompress the file first, with unzstd"),
    (b"BZh", "bzip2", "decompress the file first, with bunzip2"),
    (b"QED\0", "QED", "convert it with qemu-img first"),
    (b"WithoutFreeSpace", "Parallels", "convert it with qemu-img first"),
    (b"WithouFreSpacExt", "Parallels", "convert it with qemu-img first"),
    (b"# Disk Descripto", "VMDK", "its data lies in other files; convert it with qemu-img first"),
    (b"COWD", "VMDK", "it is a part of a disk of ESX; convert the whole with qemu-img first"),
];

/// Tells which container a file is. What no other is, is raw.
///
/// # Errors
/// [`Error::Unsupported`] for compressed files and containers that are not read, with what to do
/// instead; those of the file.
pub fn detect(file: &dyn Medium) -> Result<Format, Error> {
    // To the end of the last signature that is looked for, VDI's.
    let mut head = [0; vdi::SIGNATURE_AT + 4];
    let length = file.size().min(head.len() as u64) as usize;
    file.read_at(0, &mut head[..length])?;
    if Fields(&head).u32_be(0) == qcow2::MAGIC {
        return Ok(Format::Qcow2);
    }
    if head.starts_with(vhdx::MAGIC) {
        return Ok(Format::Vhdx);
    }
    if head.starts_with(vmdk::MAGIC) {
        return Ok(Format::Vmdk);
    }
    if Fields(&head).u32_le(vdi::SIGNATURE_AT) == vdi::SIGNATURE {
        return Ok(Format::Vdi);
    }
    if let Some((_, format, reason)) = REFUSED.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(Error::Unsupported { format, what: "a disk".into(), reason: (*reason).into() });
    }
    // A dynamic disk begins with a copy of its footer: its own may be cut off, and is missed then.
    let mut foot = [0; 8];
    if file.size() >= vhd::FOOTER_BYTES as u64 {
        file.read_at(file.size() - vhd::FOOTER_BYTES as u64, &mut foot)?;
    }
    if foot == *vhd::FOOTER_COOKIE || head.starts_with(vhd::FOOTER_COOKIE) {
        return Ok(Format::Vhd);
    }
    Ok(Format::Raw)
}

/// Opens the disk inside a file, whatever container it is.
///
/// # Errors
/// As [`detect`], and those of the container's reader.
pub fn open<'a>(file: impl Medium + 'a) -> Result<(Format, Box<dyn Medium + 'a>), Error> {
    let format = detect(&file)?;
    let disk: Box<dyn Medium + 'a> = match format {
        Format::Raw => Box::new(file),
        Format::Qcow2 => Box::new(qcow2::Reader::open(file)?),
        Format::Vhd => Box::new(vhd::Reader::open(file)?),
        Format::Vhdx => Box::new(vhdx::Reader::open(file)?),
        Format::Vmdk => Box::new(vmdk::Reader::open(file)?),
        Format::Vdi => Box::new(vdi::Reader::open(file)?),
    };
    Ok((format, disk))
}
