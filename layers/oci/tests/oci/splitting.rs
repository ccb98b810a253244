//! Trees are cut into layers that are the same trees, and stay the same layers.

use std::collections::BTreeSet;

use layers::{Change, Content, Entry, Kind, Layer, Meta, Time, Tree, TreePath};
use oci::{Origin, Part, split};
use proptest::prelude::*;

use crate::images::{meta, path};

/// A distribution of packages that share directories, whose times are of the package that came last.
fn packages(count: usize, change: Option<usize>) -> Vec<(String, Layer)> {
    (0..count)
        .map(|number| {
            let version = if change == Some(number) { 2 } else { 1 };
            let time = Time::seconds(1_000_000 + i64::try_from(number).unwrap() + 5000 * version);
            let directory = Entry::directory(Meta::root_owned(0o755, time));
            // Some are large: their files say so, nobody reads them.
            let size = if number % 7 == 0 { 3 << 20 } else { 1000 };
            let content = Content { digest: layers::Blake3::of(format!("{number} {version}").as_bytes()), size };
            let own = format!("usr/share/doc/package{number}");
            let mut layer = Layer::of(
                ["", "usr", "usr/bin", "usr/share", "usr/share/doc", &own].map(|name| (path(name), directory.clone())),
            );
            for name in [format!("usr/bin/tool{number}"), format!("{own}/copyright")] {
                layer.changes.insert(path(&name), Change::Set(Entry::file(content, Meta::root_owned(0o644, time))));
            }
            (format!("package{number}"), layer)
        })
        .collect()
}

fn cut(packages: &[(String, Layer)], limit: usize) -> (Tree, Vec<Part>) {
    let mut tree = Tree::default();
    for (_, layer) in packages {
        tree.apply(layer).unwrap();
    }
    // What scripts made of it.
    let content = Content::of(format!("{:?}", packages.len()).as_bytes());
    let status = Layer::of([(path("status"), Entry::file(content, meta(0o644)))]);
    tree.apply(&status).unwrap();
    let mut origins: Vec<Origin<'_>> =
        packages.iter().map(|(name, layer)| Origin { name, layer, is_package: true }).collect();
    origins.push(Origin { name: "compose", layer: &status, is_package: false });
    let parts = split(&tree, None, &origins, limit).unwrap();
    (tree, parts)
}

fn applied(parts: &[Part], base: Option<&Tree>) -> Tree {
    let mut tree = base.cloned().unwrap_or_default();
    for part in parts {
        tree.apply(&part.layer).unwrap();
    }
    tree
}

#[test]
fn a_changed_package_touches_its_layer_and_the_topmost() {
    let (tree, before) = cut(&packages(300, None), 64);
    assert_eq!(applied(&before, None), tree);
    assert!(before.len() <= 64 && before.len() > 40, "{}", before.len());
    let ids = |parts: &[Part]| -> BTreeSet<layers::Blake3> { parts.iter().map(|part| part.layer.id()).collect() };
    // A small one, a large one, the last one (whose times the directories have), and one that is new.
    for changed in [packages(300, Some(5)), packages(300, Some(14)), packages(300, Some(299)), packages(301, None)] {
        let (tree, after) = cut(&changed, 64);
        assert_eq!(applied(&after, None), tree);
        let new: Vec<_> = after.iter().filter(|part| !ids(&before).contains(&part.layer.id())).collect();
        // The step has the number of packages in its file.
        let most = if changed.len() == 301 { 3 } else { 2 };
        assert!(new.len() <= most, "{:?}", new.iter().map(|part| &part.names).collect::<Vec<_>>());
    }
}

#[test]
fn a_limit_is_kept_however_small() {
    let packages = packages(40, None);
    for limit in [1, 2, 3, 4, 8, 20, 127] {
        let (tree, parts) = cut(&packages, limit);
        assert!((1..=limit).contains(&parts.len()), "{} for {limit}", parts.len());
        assert_eq!(applied(&parts, None), tree);
        let names: BTreeSet<&String> = parts.iter().flat_map(|part| &part.names).collect();
        assert!(limit < 4 || names.len() == 41, "{} names for {limit}", names.len());
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = prop_oneof![
        3 => (0u8..4).prop_map(|seed| Kind::File(Content::of(&[seed]))),
        3 => Just(Kind::Directory),
        1 => Just(Kind::Symlink(b"a"[..].into())),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::HardLink(TreePath::root())),
    ];
    (kinds, 0u32..2, 0i64..3).prop_map(|(kind, uid, seconds)| {
        let meta = Meta { uid, mtime: Time::seconds(seconds), ..Meta::root_owned(0o755, Time::default()) };
        Entry { kind, meta }
    })
}

/// A tree of whatever fits of these entries.
fn tree(entries: Vec<(String, Entry)>) -> Tree {
    let mut tree = Tree::default();
    for (name, mut entry) in entries {
        let path = path(&name);
        let parent = path.parent().unwrap_or_default();
        if path.is_root() || tree.get(&path).is_some() || !tree.get(&parent).is_some_and(Entry::is_directory) {
            continue;
        }
        if let Kind::HardLink(_) = entry.kind {
            let first = tree.iter().find(|(first, there)| **first < path && matches!(there.kind, Kind::File(_)));
            let Some((first, _)) = first else { continue };
            entry = Entry { kind: Kind::HardLink(first.clone()), meta: Meta::default() };
        }
        tree.insert(path, entry).unwrap();
    }
    tree
}

fn entries() -> impl Strategy<Value = Vec<(String, Entry)>> {
    prop::collection::vec(("[ab](/[ab]){0,3}", entry()), 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn layers_make_the_tree(one in entries(), two in entries(), based in entries(), limit in 1usize..12, on_base: bool) {
        let brought: Vec<Layer> = [one.clone(), two.clone()].into_iter().map(|entries| crate::images::whole(&tree(entries))).collect();
        let all = tree([one, two].concat());
        let base = tree(based);
        let origins: Vec<Origin<'_>> = brought.iter().zip(["one", "two"]).map(|(layer, name)| Origin { name, layer, is_package: name == "one" }).collect();
        let base = on_base.then_some(&base);
        let parts = split(&all, base, &origins, limit).unwrap();
        prop_assert!(!parts.is_empty() && parts.len() <= limit);
        prop_assert_eq!(&applied(&parts, base), &all);
        let mut seen = BTreeSet::new();
        for part in &parts {
            // Each can be a tar of its own.
            oci::archive::Plan::new(&part.layer).unwrap();
            for (path, change) in &part.layer.changes {
                let directory = matches!(change, Change::Set(entry) if entry.is_directory());
                prop_assert!(directory || seen.insert(path.clone()), "{} is in two layers", path);
                prop_assert!(path.parent().is_none_or(|parent| part.layer.changes.contains_key(&parent)), "{}", path);
            }
        }
    }

    #[test]
    fn a_difference_makes_the_other_tree(before in entries(), after in entries()) {
        let (before, after) = (tree(before), tree(after));
        let mut made = before.clone();
        made.apply(&Layer::between(&before, &after)).unwrap();
        prop_assert_eq!(made, after);
    }
}
