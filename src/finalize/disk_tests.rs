//! Whether what does not fit is told to the byte, and what was named then does.

use std::collections::BTreeMap;
use std::path::Path;

use image::Source;
use layers::{Content, Entry, Meta, Time, Tree, TreePath};
use providers::distro::Catalogue;

use super::disk::{Making, Part, Volumes, plan};
use super::divide::divide;
use crate::boot::Identity;
use crate::error::Error;
use crate::explain;
use crate::spec::{KnownProviders, Release, ResolvedSpec, Surroundings, resolve_text};

const MIB: u64 = 1 << 20;

fn spec(disk: &str) -> ResolvedSpec {
    let providers = KnownProviders(BTreeMap::from([(
        "debian".to_owned(),
        vec![Release { version: "13".into(), ..Release::default() }],
    )]));
    let around =
        Surroundings { spec_directory: Path::new("/"), current_directory: Path::new("/"), providers: &providers };
    let text = format!("image: {{name: a, base: {{os: debian, version: 13}}}}\nbootloader: none\ndisk: {disk}");
    resolve_text(Path::new("spec.yml"), text.as_bytes(), &around).unwrap_or_else(|p| panic!("{disk}: {}", p[0])).0
}

/// Files of 1 MiB and one byte below directories, so many each.
fn tree(files: &[(&str, u32)]) -> Tree {
    let mut tree = Tree::default();
    let meta = Meta::root_owned(0o755, Time::default());
    for (directory, count) in files {
        let directory = TreePath::new(directory).unwrap();
        tree.create_directories(&directory, &meta).unwrap();
        for number in 0..*count {
            // Nothing is written here: a digest without bytes behind it will do.
            let content = Content { size: MIB + 1, ..Content::of(&number.to_le_bytes()) };
            tree.insert(directory.join(format!("{number}")).unwrap(), Entry::file(content, meta.clone())).unwrap();
        }
    }
    tree
}

fn planned(spec: &ResolvedSpec, files: &[(&str, u32)], look: impl FnOnce(&Volumes<'_>)) -> Result<(), Error> {
    let catalogue = Catalogue::embedded().unwrap();
    let identity = Identity::of(spec);
    let making = Making { distro: catalogue.find("debian", "13").unwrap(), identity: &identity, bios: None, epoch: 1 };
    let mounts: Vec<TreePath> = spec.partitions().filter_map(|partition| partition.mount.clone()).collect();
    let mut trees = divide(tree(files), &mounts).unwrap().trees;
    let part = |partition| {
        let of: &crate::spec::resolved::Partition = partition;
        Part { partition, tree: of.mount.as_ref().and_then(|mount| trees.remove(mount)).unwrap_or_default() }
    };
    let parts: Vec<Part<'_>> = spec.partitions().map(part).collect();
    plan(spec, &making, &parts).map(|volumes| look(&volumes))
}

/// The partitions as "name:MiB", and the size of the disk in MiB.
fn sizes(disk: &str, files: &[(&str, u32)]) -> (Vec<String>, u64) {
    let spec = spec(disk);
    let mut found = (Vec::new(), 0);
    planned(&spec, files, |volumes| {
        let disk = volumes.disk(&Identity::of(&spec), "root-x86-64").unwrap();
        let shown = disk.partitions().iter().map(|p| format!("{}:{}", p.name, p.size / MIB)).collect();
        found = (shown, disk.size() / MIB);
    })
    .unwrap_or_else(|error| panic!("{}", explain::chain(&error)));
    found
}

fn refused(disk: &str, files: &[(&str, u32)]) -> (String, String) {
    let error = planned(&spec(disk), files, |_| {}).expect_err(disk);
    (explain::chain(&error), error.hint_text().unwrap_or_default().to_owned())
}

/// The number between two texts.
fn number(text: &str, before: &str, after: &str) -> u64 {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {text}")).0.parse().unwrap()
}

#[test]
fn shares_rest_and_fixed_sizes_fill_the_disk() {
    let (shown, disk) = sizes(
        "{size: 1026MiB, partitions: [{type: root, size: 25%}, {type: swap, size: 100MiB}, {type: home, size: rest}]}",
        &[("etc", 1)],
    );
    assert_eq!((shown, disk), (vec!["root:256".to_owned(), "swap:100".into(), "home:668".into()], 1026));
}

#[test]
fn as_small_as_fits_has_its_margin_and_makes_the_disk_as_small() {
    let disk = "{partitions: [{type: root, size: fit}, {type: home, size: fit}, {type: bios}]}";
    let (shown, whole) = sizes(disk, &[("etc", 40), ("home", 600)]);
    let size = |name: &str| {
        let found = shown.iter().find_map(|text| text.strip_prefix(&format!("{name}:")));
        found.unwrap_or_else(|| panic!("{name} in {shown:?}")).parse::<u64>().unwrap()
    };
    // Small: the least margin, and some metadata; large: a tenth.
    assert!((40 + 32..40 + 32 + 20).contains(&size("root")), "{shown:?}");
    assert!((660..760).contains(&size("home")), "{shown:?}");
    assert_eq!(size("bios"), 1);
    assert_eq!(whole, 2 + size("root") + size("home") + size("bios"));
}

#[test]
fn a_partition_that_is_too_small_is_named_with_the_size_that_would_do() {
    // On either side of 512 MiB, where mke2fs takes larger blocks.
    for files in [30, 300, 470, 480, 700] {
        let disk = |root: u64| {
            format!("{{size: 4GiB, partitions: [{{type: root, size: {root}MiB}}, {{type: home, size: 1GiB}}]}}")
        };
        let (text, hint) = refused(&disk(20), &[("etc", files)]);
        assert!(
            text.starts_with("Insufficient disk space in the image: fit the files of the partition 'root': "),
            "{text}"
        );
        let needed = number(&text, "'root': ", " bytes are needed");
        let missing = number(&text, "are there, ", " are missing");
        assert_eq!(needed, 20 * MIB + missing, "{text}");
        let size = number(&hint, "give 'root' in disk.partitions a size of ", "MiB");
        assert_eq!(size * MIB, needed, "{hint}");
        sizes(&disk(size), &[("etc", files)]);
        let (text, _) = refused(&disk(size - 1), &[("etc", files)]);
        assert!(text.contains(&format!("{MIB} are missing")), "{text}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_told_the_size_that_would_do() {
    for partitions in [
        "{type: root, size: rest}",
        "{type: root, size: rest}, {type: home, size: 100MiB}",
        "{type: root, size: fit}, {type: swap, size: 100MiB}",
        "{type: swap, size: 10%}, {type: root, size: rest}",
        "{type: root, size: 50%}, {type: home, size: 50%}",
    ] {
        let files = [("etc", 150), ("home", 20)];
        let disk = |size: u64| format!("{{size: {size}MiB, partitions: [{partitions}]}}");
        let (text, hint) = refused(&disk(140), &files);
        let needed = number(&text, "on the disk: ", " bytes are needed");
        assert!(text.contains(&format!("{} are missing", needed - 140 * MIB)), "{text}");
        let size = number(&hint, "make disk.size at least ", "MiB");
        assert_eq!(size * MIB, needed, "{partitions}: {hint}");
        sizes(&disk(size), &files);
        refused(&disk(size - 1), &files);
    }
}

#[test]
fn all_that_is_too_small_is_told_at_once() {
    let disk =
        "{size: 1GiB, partitions: [{type: root, size: 20MiB}, {type: home, size: 30MiB}, {type: var, size: fit}]}";
    let (text, hint) = refused(disk, &[("etc", 50), ("home", 60), ("var", 10)]);
    assert!(text.contains("'root'") && text.contains("'home'") && !text.contains("'var'"), "{text}");
    assert!(hint.contains("'root'") && hint.contains("'home'") && !hint.contains("disk.size"), "{hint}");
}
