//! Partition types, from the Discoverable Partitions Specification (UAPI group, "Defined
//! Partition Type UUIDs") and, for the BIOS boot partition, the GRUB manual ("BIOS installation").

use uuid::{Uuid, uuid};

/// EFI system partition (also UEFI Specification 2.10, table 5.8).
pub const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Extended boot loader partition: kernels beside a small ESP.
pub const XBOOTLDR: Uuid = uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172");
/// Where GRUB keeps its core image on a BIOS machine.
pub const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
/// Swap.
pub const SWAP: Uuid = uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
/// /home.
pub const HOME: Uuid = uuid!("933ac7e1-2eb4-4f13-b844-0e14e2aef915");
/// /srv.
pub const SRV: Uuid = uuid!("3b8f8425-20e0-4f3b-907f-1a25a76f98e8");
/// /var; its GUID must be derived from the machine id to be found.
pub const VAR: Uuid = uuid!("4d21b016-b534-45c2-a9fb-5c16e091fd2d");
/// /var/tmp.
pub const TMP: Uuid = uuid!("7ec6f557-3bc5-4aca-b293-16ef5df639d1");
/// Any Linux file system that is mounted by /etc/fstab.
pub const LINUX_GENERIC: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// Types that exist once per architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchitectureTypes {
    /// The root file system.
    pub root: Uuid,
    /// dm-verity hashes of the root file system.
    pub root_verity: Uuid,
    /// The signature of those hashes.
    pub root_verity_signature: Uuid,
    /// /usr.
    pub usr: Uuid,
    /// dm-verity hashes of /usr.
    pub usr_verity: Uuid,
    /// The signature of those hashes.
    pub usr_verity_signature: Uuid,
}

/// Types for 64-bit x86.
pub const X86_64: ArchitectureTypes = ArchitectureTypes {
    root: uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    root_verity: uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    root_verity_signature: uuid!("41092b05-9fc8-4523-994f-2def0408b176"),
    usr: uuid!("8484680c-9521-48c6-9c11-b0720656f69e"),
    usr_verity: uuid!("77ff5f63-e7b6-4633-acf4-1565b864c0e6"),
    usr_verity_signature: uuid!("e7bb33fb-06cf-4e81-8273-e543b413e2e2"),
};

/// Types for 64-bit ARM.
pub const ARM64: ArchitectureTypes = ArchitectureTypes {
    root: uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    root_verity: uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
    root_verity_signature: uuid!("6db69de6-29f4-4758-a7a5-962190f00ce3"),
    usr: uuid!("b0e01050-ee5f-4390-949a-9101b17104e9"),
    usr_verity: uuid!("6e11a4e7-fbca-4ded-b9e9-e1a512bb664e"),
    usr_verity_signature: uuid!("c23ce4ff-44bd-4b00-b2d4-b41b3419e02a"),
};

/// The types of an architecture by the name the kernel gives it (`uname -m`).
pub fn of_architecture(machine: &str) -> Option<ArchitectureTypes> {
    match machine {
        "x86_64" => Some(X86_64),
        "aarch64" => Some(ARM64),
        _ => None,
    }
}

/// Every type that has a name in a spec, with that name as systemd-repart spells it
/// (repart.d(5), `Type=`).
pub const NAMES: &[(&str, Uuid)] = &[
    ("esp", ESP),
    ("xbootldr", XBOOTLDR),
    ("bios-boot", BIOS_BOOT),
    ("swap", SWAP),
    ("home", HOME),
    ("srv", SRV),
    ("var", VAR),
    ("tmp", TMP),
    ("linux-generic", LINUX_GENERIC),
    ("root-x86-64", X86_64.root),
    ("root-x86-64-verity", X86_64.root_verity),
    ("root-x86-64-verity-sig", X86_64.root_verity_signature),
    ("usr-x86-64", X86_64.usr),
    ("usr-x86-64-verity", X86_64.usr_verity),
    ("usr-x86-64-verity-sig", X86_64.usr_verity_signature),
    ("root-arm64", ARM64.root),
    ("root-arm64-verity", ARM64.root_verity),
    ("root-arm64-verity-sig", ARM64.root_verity_signature),
    ("usr-arm64", ARM64.usr),
    ("usr-arm64-verity", ARM64.usr_verity),
    ("usr-arm64-verity-sig", ARM64.usr_verity_signature),
];

/// The type with this name.
pub fn by_name(name: &str) -> Option<Uuid> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, guid)| *guid)
}

/// The name of this type.
pub fn name_of(guid: Uuid) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == guid).map(|(name, _)| *name)
}
