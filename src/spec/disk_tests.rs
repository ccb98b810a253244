//! Disks as people write them: what they mean, and what no disk can grant.

use std::collections::BTreeMap;
use std::path::Path;

use super::resolved::{Partition, PartitionSize};
use super::*;

fn resolved(disk: &str) -> Result<ResolvedSpec, Vec<Problem>> {
    let providers = KnownProviders(BTreeMap::from([("debian".to_owned(), vec![Release::of_deb("13")])]));
    let around = Surroundings {
        spec_directory: Path::new("/nowhere"),
        current_directory: Path::new("/work"),
        providers: &providers,
    };
    let text = format!("image: {{name: a, base: {{os: debian, version: 13}}}}\n{disk}\n");
    resolve_text(Path::new("spec.yml"), text.as_bytes(), &around).map(|(spec, _)| spec)
}

#[track_caller]
fn good(disk: &str) -> ResolvedSpec {
    resolved(disk).unwrap_or_else(|problems| {
        panic!("{disk}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Every error, each as "column message"; each has a hint or says itself what is expected.
#[track_caller]
fn refused(disk: &str) -> Vec<String> {
    let problems = resolved(disk).expect_err(disk);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| problem.message.clone()).collect()
}

fn partition<'a>(spec: &'a ResolvedSpec, id: &str) -> &'a Partition {
    spec.partitions().find(|partition| partition.id == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn a_server_disk_has_every_default() {
    let spec = good(
        "disk: {size: 20GiB, partitions: [{type: root, size: 6GiB}, {type: boot, size: fit}, {type: var, size: 25%},
          {type: swap, size: 1GiB}, {type: esp, size: 64MiB}, {type: home, size: rest}]}",
    );
    let shown: Vec<String> = spec
        .partitions()
        .map(|p| {
            let mount = p.mount.as_ref().map(ToString::to_string).unwrap_or_default();
            let (filesystem, grow) = (p.filesystem.as_str(), if p.grow { "grows" } else { "" });
            format!("{}|{}|{filesystem}|{mount}|{}|{}|{}|{grow}", p.id, p.size, p.label, p.name, p.options)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "esp|64MiB|vfat|/boot/efi|ESP|esp|umask=0077|",
            "root|6GiB|ext4|/|root|root|errors=remount-ro|",
            "boot|fit|ext4|/boot|boot|boot|defaults|",
            "var|25%|ext4|/var|var|var|defaults|",
            "swap|1GiB|swap||swap|swap|sw|",
            "home|rest|ext4|/home|home|home|defaults|grows",
        ]
    );
}

#[test]
fn everything_about_a_partition_can_be_said() {
    let spec = good(
        "disk: {partitions: [{type: root, size: 2GiB}, {type: 01234567-89ab-cdef-0123-456789abcdef, size: 1GiB,
          filesystem: ext4, mount: /opt/data, options: 'noatime,nodev', label: store, name: My data, grow: false}]}",
    );
    let data = partition(&spec, "/opt/data");
    assert_eq!(data.type_guid.unwrap().to_string(), "01234567-89ab-cdef-0123-456789abcdef");
    assert_eq!((data.options.as_str(), data.label.as_str(), data.name.as_str()), ("noatime,nodev", "store", "My data"));
    assert!(!data.grow && !partition(&spec, "root").grow);
    // Everything has a size, so that the disk needs none.
    assert_eq!(spec.disk.size, None);
    assert_eq!(good("disk: {partitions: [{type: root, size: 90%}]}").disk.size, Some(6 << 30));
    // Two that differ in nothing have names of their own.
    let spec = good("disk: {partitions: [{type: root, size: fit}, {type: swap, size: 1G}, {type: swap, size: 1G}]}");
    assert_eq!(spec.partitions().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["esp", "root", "swap", "swap 2"]);
}

#[test]
fn keys_of_other_tools_are_known() {
    let spec = good("disk: {partitions: [{type: root}, {type: linux, size: 1G, mountpoint: /opt, fs_type: vfat}]}");
    assert_eq!(partition(&spec, "/opt").filesystem.as_str(), "vfat");
    let found = refused("disk: {partitions: [{type: root}, {type: linux, size: 1G, mount: /a, mountpoint: /opt}]}");
    assert!(found[0].contains("unknown key 'mountpoint'"), "{found:?}");
}

#[test]
fn a_disk_of_an_esp_and_a_root_keeps_its_digest() {
    // Pinned: the digest stands in the manifest of every image that was ever made.
    for (disk, digest) in [
        ("", "23ce8bc7fc6daa7b833054c842cac4024c8c6258b85e84475103e03804c3242f"),
        (
            "disk: {size: 2GiB, partitions: [{type: root, size: 1GiB, label: sys}, {type: esp, size: 64MiB}]}",
            "9ffc178015756a9e6159d3620fd5c6f144b7073a3228c370f225d36e6af51887",
        ),
        (
            "bootloader: none\ndisk: {size: 3GiB, partitions: [{type: esp, size: 64MiB}]}",
            "94e71a428b0c2fca9533e18c90ef042fec0aca95dacce37fa82018a803df4712",
        ),
    ] {
        assert_eq!(hex::encode(good(disk).content_digest()), digest, "{disk}");
    }
}

#[test]
fn what_changes_a_partition_changes_the_digest() {
    let specs = [
        "size: 1GiB",
        "size: 2GiB",
        "size: 20%",
        "size: fit",
        "size: 1GiB, grow: false",
        "size: 1GiB, label: a",
        "size: 1GiB, name: a",
        "size: 1GiB, options: noatime",
        "size: 1GiB, mount: /opt",
        "size: 1GiB, mount: none",
        "size: 1GiB, filesystem: vfat",
    ];
    let digest = |rest: &&str| {
        good(&format!("disk: {{size: 9GiB, partitions: [{{type: root, size: 1GiB}}, {{type: home, {rest}}}]}}"))
            .content_digest()
    };
    let mut digests: Vec<_> = specs.iter().map(digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), specs.len());
}

#[test]
fn impossible_wishes_are_refused() {
    let of = |partitions: &str| refused(&format!("disk: {{size: 8GiB, partitions: [{partitions}]}}"));
    for (partitions, expected) in [
        ("{type: root}, {type: home, size: rest}", "both 'root' and 'home' take the rest of the disk"),
        ("{type: home, size: 1G}", "disk.partitions: no partition is the root"),
        ("{type: root, mount: none}", "disk.partitions: no partition is the root"),
        ("{type: root}, {type: home}", "the partition 'home' has no size"),
        ("{type: root}, {type: hom, size: 1G}", "\"hom\" is not a type of partition"),
        ("{type: root}, {type: root, size: 1G, mount: /x}", "disk.partitions: 'root' stands twice"),
        ("{type: root}, {type: esp}, {type: esp}", "disk.partitions: 'esp' stands twice"),
        (
            "{type: root}, {type: home, size: 1G}, {type: linux, size: 1G, mount: /home}",
            "disk.partitions: two partitions are mounted at /home",
        ),
        ("{type: linux, size: 1G, mount: /}, {type: root}", "disk.partitions: two partitions are mounted at /"),
        ("{type: root}, {type: swap, size: 1G, mount: /swap}", "swap space cannot be mounted"),
        ("{type: root}, {type: swap, size: 1G, filesystem: ext4}", "does not fit the partition type 'swap'"),
        ("{type: root}, {type: bios, mount: /b}", "a partition without a file system cannot be mounted"),
        ("{type: root, filesystem: vfat}", "the file system 'vfat' does not fit the partition type 'root'"),
        ("{type: esp, filesystem: ext4}", "the file system 'ext4' does not fit the partition type 'esp'"),
        ("{type: root}, {type: home, size: 1G, filesystem: xfs}", "it is not supported yet"),
        ("{type: root}, {type: boot, size: 1G, filesystem: vfat}", "/boot cannot be on vfat"),
        ("{type: root}, {type: xbootldr, size: 1G, mount: /boot}", "/boot cannot be on vfat"),
        ("{type: root}, {type: linux, size: 1G, mount: /etc}", "/etc cannot be a partition of its own"),
        ("{type: root}, {type: linux, size: 1G, mount: /run/x}", "/run/x cannot be a partition of its own"),
        ("{type: root}, {type: linux, size: 1G, mount: opt}", "\"opt\" is not a mount point"),
        ("{type: root, size: 60%}, {type: home, size: 50%}", "disk.partitions: the shares are more than 100%"),
        ("{type: root, size: 100%}", "the partitions do not fit on any disk"),
        (
            "{type: root, size: 50%}, {type: home, size: 5G}",
            "the partitions do not fit on the disk: 3073 MiB are missing",
        ),
        ("{type: root}, {type: home, size: 0}", "the home has no size"),
        ("{type: root}, {type: swap, size: fit}", "'swap' holds no files that it could fit"),
        ("{type: root, grow: true}, {type: home, size: 1G}", "'root' cannot grow: another partition lies behind it"),
        ("{type: root}, {type: swap, size: 1G, grow: true}", "'swap' cannot grow: only ext4 that is mounted does"),
        ("{type: root}, {type: linux, size: 1G, options: noatime}", "options of a partition that is not mounted"),
        ("{type: root, options: 'a b'}", "\"a b\" is not a mount option"),
        ("{type: root}, {type: bios, label: x}", "a label of a partition without a file system"),
        ("{type: esp, label: more-than-eleven}", "is not a label: at most 11 printable characters"),
        ("{type: root, name: a-name-that-is-longer-than-thirty-six-units}", "is not a partition's name"),
    ] {
        let found = of(partitions);
        assert!(found.iter().any(|message| message.contains(expected)), "{partitions}: {found:#?}");
    }
}

#[test]
fn all_of_them_are_told_at_once() {
    let found = refused(
        "disk: {size: 4GiB, partitions: [{type: home, size: rest}, {type: srv, size: rest, mount: /home},
          {type: swap, size: 1G, mount: /s}, {type: nope, size: 1G}, {type: var, size: 9G}]}",
    );
    for expected in
        ["no partition is the root", "the rest of the disk", "mounted at /home", "swap space", "\"nope\"", "do not fit"]
    {
        assert!(found.iter().any(|message| message.contains(expected)), "no {expected:?}: {found:#?}");
    }
}

#[test]
fn a_mount_point_is_no_place_for_a_file() {
    let with = |destination: &str| {
        format!(
            "customizations: {{files: [{{content: a, destination: {destination}}}]}}\n\
             disk: {{partitions: [{{type: root}}, {{type: linux, size: 1G, mount: /opt/data}}]}}"
        )
    };
    for bad in ["/opt", "/opt/data"] {
        let found = refused(&with(bad));
        assert_eq!(found, [format!("/opt/data is to be a mount point, and a file is copied to {bad}")]);
    }
    good(&with("/opt/data/file"));
}

#[test]
fn shares_are_of_the_whole_disk() {
    let spec = good("disk: {size: 8GiB, partitions: [{type: root, size: 60%}, {type: home, size: 30%}]}");
    assert_eq!(partition(&spec, "home").size, PartitionSize::Percent(30));
}
