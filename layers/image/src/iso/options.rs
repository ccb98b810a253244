//! What an image is made with.

use layers::{Time, TreePath};
use uuid::Uuid;

use super::unsupported;
use crate::{Error, Source};

/// An EFI system partition, which lies behind the files.
#[derive(Clone, Copy)]
pub struct EfiImage<'a> {
    /// The partition's bytes: a FAT file system. The contents of its files come from where those of
    /// the tree come from.
    pub image: &'a dyn Source,
    /// The partition's identity.
    pub guid: Uuid,
}

/// What a BIOS boots: GRUB's images, as grub-mkrescue makes them.
#[derive(Clone, Debug)]
pub struct BiosBoot {
    /// A file of the tree: cdboot.img and behind it a core image of the format i386-pc. Its place is
    /// written into it (the boot info table, and GRUB's own), so it must not exceed 1 MiB.
    pub image: TreePath,
    /// GRUB's boot_hybrid.img, 512 bytes, for USB sticks and disks; without it only discs boot.
    pub hybrid: Option<Vec<u8>>,
}

/// What an image is made with.
#[derive(Clone)]
pub struct Options<'a> {
    /// Name of the volume, at most 32 printable ASCII characters: what `LABEL=` finds it by.
    pub volume_id: String,
    /// The system that starts from it, at most 32 printable ASCII characters.
    pub system_id: String,
    /// Who publishes it, at most 128 printable ASCII characters.
    pub publisher_id: String,
    /// What made it, at most 128 printable ASCII characters.
    pub application_id: String,
    /// Time of creation and of last modification, which is also what `UUID=` finds it by.
    pub created: Time,
    /// Whether Windows finds long names too.
    pub joliet: bool,
    /// Identity of the disk that it is on a USB stick.
    pub disk_guid: Uuid,
    /// What UEFI boots.
    pub uefi: Option<EfiImage<'a>>,
    /// What a BIOS boots.
    pub bios: Option<BiosBoot>,
}

impl Options<'_> {
    /// Names and no boot loader, at a time: for one that names just these.
    pub fn new(volume_id: &str, created: Time) -> Self {
        Self {
            volume_id: volume_id.to_owned(),
            system_id: String::new(),
            publisher_id: String::new(),
            application_id: String::new(),
            created,
            joliet: true,
            disk_guid: Uuid::nil(),
            uefi: None,
            bios: None,
        }
    }

    /// Whether anything boots from it.
    pub(super) fn boots(&self) -> bool {
        self.uefi.is_some() || self.bios.is_some()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let texts = [
            ("volume", &self.volume_id, 32),
            ("system", &self.system_id, 32),
            ("publisher", &self.publisher_id, 128),
            ("application", &self.application_id, 128),
        ];
        for (which, text, most) in texts {
            // The standard has upper case only, which no system asks for.
            if text.len() > most || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                return Err(unsupported(
                    format_args!("the {which} identifier {text:?}"),
                    format!("it must be at most {most} printable ASCII characters"),
                ));
            }
        }
        if self.uefi.is_some_and(|uefi| uefi.guid.is_nil()) || self.uefi.is_some() && self.disk_guid.is_nil() {
            return Err(unsupported("a GUID of zeros", "a disk and its partition need identities of their own"));
        }
        match self.bios.as_ref().and_then(|bios| bios.hybrid.as_ref()) {
            Some(hybrid) if hybrid.len() != 512 => Err(unsupported(
                format_args!("a boot record of {} bytes", hybrid.len()),
                "GRUB's boot_hybrid.img has 512",
            )),
            _ => Ok(()),
        }
    }
}
