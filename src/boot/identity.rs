//! Identifiers of the disk and its file systems, from a seed: the same spec gives the same ones.

use layers::{Key, KeyBuilder, TreePath};
use uuid::Uuid;

use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Filesystem, Partition};

/// Where every identifier of an image comes from.
///
/// The seed is a digest of the part of the spec that says which image this is, not of all of it:
/// a changed line in a script must not give the disk another UUID, or every step that saw the old
/// one would have to run again (docs/decisions/seed.md).
#[derive(Clone, Debug)]
pub struct Identity {
    seed: Key,
}

impl Identity {
    /// The identity of the image that a spec describes.
    pub fn of(spec: &ResolvedSpec) -> Self {
        let seed = KeyBuilder::new("image identity", 1)
            .field("name", spec.name.to_string())
            .field("version", spec.image_version.as_ref().map(ToString::to_string).unwrap_or_default())
            .field("os", spec.os.to_string())
            .field("os version", spec.os_version.to_string())
            .field("architecture", spec.architecture.to_string())
            .field("hostname", spec.hostname.to_string())
            // None of its own where it is as small as its partitions.
            .field("disk", spec.disk.size.unwrap_or(0).to_le_bytes())
            .finish();
        Self { seed }
    }

    fn derive(&self, what: &str) -> Key {
        KeyBuilder::new("identifier", 1).field("seed", self.seed).field("what", what).finish()
    }

    /// A UUID (RFC 9562, version 8: made by a rule of our own).
    pub fn uuid(&self, what: &str) -> Uuid {
        let key = self.derive(what);
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&key.0[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The serial number of a FAT volume.
    pub fn volume_id(&self, what: &str) -> u32 {
        let key = self.derive(what);
        u32::from_le_bytes([key.0[0], key.0[1], key.0[2], key.0[3]])
    }

    /// UUID of the disk (GPT).
    pub fn disk(&self) -> Uuid {
        self.uuid("disk")
    }

    /// UUID of the root file system.
    pub fn root_file_system(&self) -> Uuid {
        self.uuid("root file system")
    }

    /// UUID of a partition (GPT).
    pub fn partition(&self, partition: &Partition) -> Uuid {
        self.uuid(&format!("partition {}", partition.id))
    }

    /// UUID of the file system or swap space in a partition; FAT has none.
    pub fn file_system(&self, partition: &Partition) -> Uuid {
        match partition.mount.as_ref().is_some_and(TreePath::is_root) {
            true => self.root_file_system(),
            false => self.uuid(&format!("file system {}", partition.id)),
        }
    }

    /// Seed of the hashes of directories in a partition's file system.
    pub fn hash_seed(&self, partition: &Partition) -> Uuid {
        match partition.mount.as_ref().is_some_and(TreePath::is_root) {
            true => self.uuid("hash seed of the root file system"),
            false => self.uuid(&format!("hash seed {}", partition.id)),
        }
    }

    /// What lies in a partition as `blkid` and fstab name it after `UUID=`; `1234-ABCD` for FAT.
    pub fn source(&self, partition: &Partition) -> String {
        if partition.filesystem != Filesystem::Vfat {
            return self.file_system(partition).to_string();
        }
        let id = self.volume_id(&partition.id);
        format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
    }
}
