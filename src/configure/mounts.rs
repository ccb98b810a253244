//! What the running system is told of its partitions: the table of file systems, and which
//! partition grows on the first boot.

use image::disk::types;
use layers::TreePath;

use crate::boot::Identity;
use crate::draft::Draft;
use crate::error::Error;
use crate::spec::ResolvedSpec;
use crate::spec::resolved::{Bootloader, Filesystem, Partition, PartitionRole};

/// Writes fstab(5), mount points, and what systemd-repart(8) grows.
///
/// # Errors
/// Paths blocked by something else.
pub fn write(spec: &ResolvedSpec, identity: &Identity, draft: &mut Draft<'_>) -> Result<(), Error> {
    let plain = draft.root_owned(0o644);
    for mount in spec.partitions().filter_map(|partition| partition.mount.as_ref()) {
        if !mount.is_root() {
            draft.ensure_directory(mount, draft.root_owned(0o755))?;
        }
    }
    if spec.bootloader != Bootloader::None {
        for (name, text) in definitions(spec) {
            draft.file(&format!("etc/repart.d/{name}"), text, plain.clone())?;
        }
    }
    draft.file("etc/fstab", table(spec, identity), plain)
}

/// The table of file systems, those above before those below, and swap space at the end, as
/// Debian's installer writes it.
fn table(spec: &ResolvedSpec, identity: &Identity) -> String {
    let mut mounted: Vec<(&TreePath, &Partition)> =
        spec.partitions().filter_map(|partition| Some((partition.mount.as_ref()?, partition))).collect();
    mounted.sort_by_key(|(mount, _)| *mount);
    let mut table = "# <file system> <mount point> <type> <options> <dump> <pass>\n".to_owned();
    for (mount, partition) in mounted {
        let source = identity.source(partition);
        let kind = partition.filesystem.as_str();
        let options = &partition.options;
        // systemd-repart grows the partition, this the file system in it.
        let grow = if partition.grow { ",x-systemd.growfs" } else { "" };
        // The root is checked first, and alone (fstab(5), "fs_passno").
        let pass = if mount.is_root() { 1 } else { 2 };
        table.push_str(&format!("UUID={source} {mount} {kind} {options}{grow} 0 {pass}\n"));
    }
    for partition in spec.partitions().filter(|partition| partition.filesystem == Filesystem::Swap) {
        table.push_str(&format!("UUID={} none swap {} 0 0\n", identity.source(partition), partition.options));
    }
    table
}

/// The name of a partition's type as systemd-repart spells it (repart.d(5), `Type=`).
fn type_name(partition: &Partition) -> String {
    match partition.type_guid {
        None => "root".to_owned(),
        Some(guid) => types::name_of(guid).map_or_else(|| guid.to_string(), str::to_owned),
    }
}

/// Files for repart.d(5): one for the partition that grows, and one for each partition of the same
/// type before it, since definitions are matched with partitions by type, in order. Partitions
/// without a definition are left alone.
fn definitions(spec: &ResolvedSpec) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let Some(grown) = spec.partitions().find(|partition| partition.grow) else { return files };
    let name = type_name(grown);
    let same = spec.partitions().filter(|partition| partition.id != grown.id && partition.type_guid == grown.type_guid);
    // One that exists needs no more than it has, however small (`SizeMinBytes=`, 10 MiB unless said).
    let any_size = "SizeMinBytes=4096\n";
    for (number, partition) in (1..).zip(same) {
        let text = format!("# The {} partition stays as it is.\n[Partition]\nType={name}\n{any_size}", partition.id);
        files.push((format!("49-{number:02}.conf"), text));
    }
    let least = if grown.role == PartitionRole::Root { "" } else { any_size };
    let text = format!("# Grows the {} partition to the end of the disk.\n[Partition]\nType={name}\n{least}", grown.id);
    files.push((format!("50-{}.conf", grown.role.word()), text));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::spec::{KnownProviders, Release, Surroundings, resolve_text};

    fn spec(disk: &str) -> ResolvedSpec {
        let providers = KnownProviders(BTreeMap::from([(
            "debian".to_owned(),
            vec![Release { version: "13".into(), ..Release::default() }],
        )]));
        let around =
            Surroundings { spec_directory: Path::new("/"), current_directory: Path::new("/"), providers: &providers };
        let text = format!("image: {{name: a, base: {{os: debian, version: 13}}}}\n{disk}");
        resolve_text(Path::new("spec.yml"), text.as_bytes(), &around).unwrap().0
    }

    /// The table with `U` in place of each identifier, which also must all differ.
    fn shown(spec: &ResolvedSpec) -> Vec<String> {
        let text = table(spec, &Identity::of(spec));
        let mut seen = std::collections::BTreeSet::new();
        let line = |line: &str| {
            let (source, rest) = line.split_once(' ').unwrap();
            assert!(seen.insert(source.to_owned()), "{source} stands twice");
            format!("U {rest}")
        };
        text.lines().skip(1).map(line).collect()
    }

    #[test]
    fn the_usual_disk_is_written_as_ever() {
        let spec = spec("");
        assert_eq!(
            shown(&spec),
            ["U / ext4 errors=remount-ro,x-systemd.growfs 0 1", "U /boot/efi vfat umask=0077 0 2"]
        );
        let text = "# Grows the root partition to the end of the disk.\n[Partition]\nType=root\n";
        assert_eq!(definitions(&spec), [("50-root.conf".to_owned(), text.to_owned())]);
    }

    #[test]
    fn file_systems_come_in_the_order_in_which_they_are_mounted() {
        let spec = spec(
            "disk: {partitions: [{type: root, size: fit}, {type: swap, size: 1GiB}, {type: xbootldr, size: fit},
               {type: linux, size: 1GiB, mount: /srv/data}, {type: srv, size: 10%, options: [noatime, nodev]},
               {type: boot, size: 1GiB}, {type: linux, size: rest, mount: /opt}]}",
        );
        assert_eq!(
            shown(&spec),
            [
                "U / ext4 errors=remount-ro 0 1",
                "U /boot ext4 defaults 0 2",
                "U /boot/efi vfat umask=0077 0 2",
                "U /boot/xbootldr vfat umask=0077 0 2",
                "U /opt ext4 defaults,x-systemd.growfs 0 2",
                "U /srv ext4 noatime,nodev 0 2",
                "U /srv/data ext4 defaults 0 2",
                "U none swap sw 0 0",
            ]
        );
        let files = definitions(&spec);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        // Two of the type that grows lie before it: /srv/data and /boot.
        assert_eq!(names, ["49-01.conf", "49-02.conf", "50-linux.conf"]);
        assert!(files.iter().all(|(_, text)| text.contains("Type=linux-generic\nSizeMinBytes=4096\n")));
    }

    #[test]
    fn nothing_grows_where_nobody_wants_it() {
        let spec = spec("disk: {partitions: [{type: root, size: 2GiB, grow: false}]}");
        assert_eq!(definitions(&spec), []);
        assert_eq!(shown(&spec)[0], "U / ext4 errors=remount-ro 0 1");
    }
}
