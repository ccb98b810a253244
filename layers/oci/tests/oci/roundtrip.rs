//! What is written is what is read, and is the same each time.

use std::collections::BTreeMap;
use std::path::Path;

use layers::{Entry, Kind, Layer, MemoryContents, Meta, Sha256, Tree};
use oci::image::{Platform, Wanted, find, write_index};
use oci::{Error, Form, Layout, Writer, artifact, split};

use crate::images::{
    GZIP, Home, ZSTD, assert_same, assert_whole, changes, description, meta, named, path, plant, whole, write,
};

#[test]
fn a_tree_comes_back_from_any_form_and_compression() {
    let plant = plant();
    for (form, how) in [(Form::Directory, ZSTD), (Form::Archive, GZIP)] {
        let home = Home::new();
        let layout = home.path("image");
        write(&layout, form, &[whole(&plant.tree)], &plant.contents, how, 2);
        let stack = home.import(&layout).unwrap();
        assert_same(stack.tree(), &plant.tree);
        assert_whole(&stack);
        assert_eq!((home.layers(), home.work()), (1, 0));
        // What is there already is not asked for again.
        let blobs = Layout::open(&layout).unwrap();
        let image = find(&blobs, blobs.index(), &named()).unwrap();
        let nothing = crate::images::Memory::default();
        let again = oci::import::import(&image, &nothing, &home.store, &Default::default()).unwrap();
        assert_same(again.tree(), stack.tree());
    }
}

fn digest(path: &Path) -> Sha256 {
    Sha256::of(&std::fs::read(path).unwrap())
}

#[test]
fn the_bytes_are_the_same_with_any_number_of_threads() {
    let plant = plant();
    for how in [ZSTD, GZIP] {
        let home = Home::new();
        for threads in [1, 5] {
            let to = home.path(&format!("{threads}"));
            write(&to, Form::Archive, &[whole(&plant.tree)], &plant.contents, how, threads);
        }
        assert_eq!(digest(&home.path("1")), digest(&home.path("5")));
    }
}

/// The digest of a layer's tar is remembered by others: it must never change unnoticed.
#[test]
fn the_tar_is_this_one() {
    let plant = plant();
    let (digest, size) = oci::pack::diff_id(&whole(&plant.tree), &plant.contents).unwrap();
    assert_eq!(
        (digest.to_hex().as_str(), size),
        ("f56d1ec03d1d4a2d24f4b62fab6dbed728cd62559fe90d568dfd0b9817ef76ef", 3_251_712)
    );
}

#[test]
fn whiteouts_opaque_directories_and_changed_kinds_come_back() {
    let mut contents = MemoryContents::default();
    let (layers, tree) = changes(&mut contents);
    let home = Home::new();
    let layout = home.path("image");
    write(&layout, Form::Directory, &layers, &contents, ZSTD, 1);
    let stack = home.import(&layout).unwrap();
    assert_same(stack.tree(), &tree);
    assert_whole(&stack);
    // Layer by layer, not only in sum.
    for (found, written) in stack.layers().iter().zip(&layers) {
        assert_eq!(*found.layer, *written);
    }
}

#[test]
fn an_image_on_top_of_another_keeps_its_layers_and_configuration() {
    let home = Home::new();
    let mut contents = MemoryContents::default();
    let mut tree = Tree::default();
    for name in ["etc/a", "etc/b", "usr/lib/x"] {
        tree.create_directories(&path(name).parent().unwrap(), &meta(0o755)).unwrap();
        tree.insert(path(name), Entry::file(contents.add(name), meta(0o644))).unwrap();
    }
    let base_at = home.path("base");
    write(&base_at, Form::Directory, &[whole(&tree)], &contents, GZIP, 1);
    let base_layout = Layout::open(&base_at).unwrap();
    let base = find(&base_layout, base_layout.index(), &named()).unwrap();
    let below = tree.clone();
    tree.remove(&path("etc/b"));
    tree.insert(path("etc/c"), Entry { kind: Kind::HardLink(path("etc/a")), meta: Meta::default() }).unwrap();
    tree.insert(path("etc/new"), Entry::file(contents.add("new"), meta(0o600))).unwrap();
    let parts = split(&tree, Some(&below), &[], 10).unwrap();
    assert_eq!(parts.len(), 1);
    let mut writer = Writer::create(&home.path("image"), Form::Directory).unwrap();
    for layer in base.manifest.layers() {
        writer.copy(&base_layout, layer).unwrap();
    }
    let packed = vec![(writer.layer(&parts[0].layer, &contents, ZSTD, 1).unwrap(), parts[0].names.clone())];
    let mut description = description();
    description.env.clear();
    description.cmd.clear();
    description.entrypoint = vec!["/init".into()];
    let manifest = oci::image::write(&writer, Some(&base), &packed, &description).unwrap();
    writer.add(manifest, Some("test"));
    writer.finish().unwrap();
    let stack = home.import(&home.path("image")).unwrap();
    assert_same(stack.tree(), &tree);
    let layout = Layout::open(&home.path("image")).unwrap();
    let image = find(&layout, layout.index(), &named()).unwrap();
    assert_eq!(image.manifest.layers()[0], base.manifest.layers()[0]);
    assert_eq!(image.configuration.history().as_ref().unwrap().len(), 2);
    let config = image.configuration.config().as_ref().unwrap();
    assert_eq!(config.env().as_ref().unwrap(), &["PATH=/usr/bin:/bin"]);
    assert_eq!(*config.cmd(), None, "the arguments were for the base's program");
}

#[test]
fn nothing_is_overwritten_and_nothing_half_done_stays() {
    let home = Home::new();
    let to = home.path("image");
    for form in [Form::Directory, Form::Archive] {
        let writer = Writer::create(&to, form).unwrap();
        std::fs::write(&to, "precious").unwrap();
        let error = writer.finish().unwrap_err();
        assert!(matches!(error, Error::Exists { .. }) && error.hint().is_some(), "{error}");
        assert!(matches!(Writer::create(&to, form), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&to).unwrap(), b"precious");
        std::fs::remove_file(&to).unwrap();
        drop(Writer::create(&to, form).unwrap());
        let names: Vec<_> = std::fs::read_dir(home.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["store"]);
    }
}

#[test]
fn one_of_several_platforms_is_found_and_artifacts_are_no_images() {
    let home = Home::new();
    let mut contents = MemoryContents::default();
    let mut writer = Writer::create(&home.path("image"), Form::Archive).unwrap();
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let content = contents.add(architecture);
        let layer = Layer::of([(path("arch"), Entry::file(content, meta(0o644)))]);
        let packed = vec![(writer.layer(&layer, &contents, ZSTD, 1).unwrap(), vec![])];
        let mut description = description();
        description.platform = Platform::linux(architecture);
        images.push(oci::image::write(&writer, None, &packed, &description).unwrap());
    }
    let index = write_index(&writer, images, &BTreeMap::new()).unwrap();
    writer.add(index.clone(), Some("test"));
    let attachment = || artifact::Attachment {
        media_type: "application/spdx+json".into(),
        title: "sbom.json".into(),
        reader: Box::leak(Box::new(&b"{}"[..])),
    };
    let sbom = artifact::write(&writer, "application/spdx+json", Some(&index), vec![attachment()], &BTreeMap::new());
    writer.add(sbom.unwrap(), None);
    writer.finish().unwrap();
    let layout = Layout::open(&home.path("image")).unwrap();
    for architecture in ["amd64", "arm64"] {
        let wanted = Wanted { platform: Some(Platform::linux(architecture)), ..Wanted::default() };
        let image = find(&layout, layout.index(), &wanted).unwrap();
        assert_eq!(image.configuration.architecture().to_string(), architecture);
    }
    for (wanted, says) in [
        (Wanted { name: Some("test".into()), platform: None }, "2 of them"),
        (Wanted { name: Some("other".into()), platform: None }, "there is test"),
        (Wanted { name: None, platform: Some(Platform::linux("riscv64")) }, "there is test"),
    ] {
        let error = find(&layout, layout.index(), &wanted).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn what_a_tar_cannot_hold_is_refused_with_its_path() {
    let contents = MemoryContents::default();
    let refused = |layer: &Layer, says: &str| {
        let error = oci::pack::diff_id(layer, &contents).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(&Layer::of([(path("a/.wh.b"), Entry::symlink(b"x", meta(0).mtime))]), "/a/.wh.b");
    let link = Entry { kind: Kind::HardLink(path("elsewhere")), meta: Meta::default() };
    refused(&Layer::of([(path("link"), link)]), "another layer");
    let long = "n".repeat(255);
    let layer = Layer { changes: [(path(&long), layers::Change::Remove)].into() };
    refused(&layer, "too long for a whiteout");
    let missing = Entry::file(layers::Content::of(b"bytes that nobody has"), meta(0o644));
    refused(&Layer::of([(path("lost"), missing)]), "find content");
}

/// A damaged store must not become an image whose digests look right.
#[test]
fn content_that_changed_on_the_disk_is_refused() {
    struct Damaged;
    impl layers::Contents for Damaged {
        fn open(&self, _: &layers::Content) -> Result<Box<dyn std::io::Read + Send>, layers::Error> {
            Ok(Box::new(&b"other"[..]))
        }
    }
    let layer = Layer::of([(path("a"), Entry::file(layers::Content::of(b"bytes"), meta(0o644)))]);
    let error = oci::pack::diff_id(&layer, &Damaged).unwrap_err();
    assert!(error.to_string().contains("/a"), "{error}");
}

#[test]
fn what_the_destination_has_is_not_packed_again() {
    let home = Home::new();
    let plant = plant();
    let memory = oci::memory::Memory::open(&home.path("memory")).unwrap();
    let export = |name: &str, has: &(dyn Fn(&oci::Packed) -> bool + Sync)| {
        let mut writer = Writer::create(&home.path(name), Form::Directory).unwrap();
        let request = oci::Export {
            tree: &plant.tree,
            contents: &plant.contents,
            origins: &[],
            base: None,
            layers: 64,
            compression: ZSTD,
            threads: 2,
            memory: Some(&memory),
            has: Some(has),
        };
        let exported = oci::export(&writer, &request, &description()).unwrap();
        writer.add(exported.descriptor.clone(), Some("test"));
        writer.finish().unwrap();
        exported
    };
    let first = export("first", &|_| panic!("nothing is remembered yet"));
    home.import(&home.path("first")).unwrap();
    let second = export("second", &|packed| packed.size > 0);
    assert_eq!(first, second);
    let blobs = |name: &str| std::fs::read_dir(home.path(name).join("blobs/sha256")).unwrap().count();
    assert_eq!((blobs("first"), blobs("second")), (3, 2));
    // A destination that lost it gets it again.
    assert_eq!(export("third", &|_| false), first);
    assert_eq!(blobs("third"), 3);
}

#[test]
fn what_packing_came_to_the_last_time_is_no_more_than_a_hint() {
    let plant = plant();
    let (home, contents, layer) = (Home::new(), &plant.contents, whole(&plant.tree));
    let writer = Writer::create(&home.path("image"), Form::Directory).unwrap();
    let first = writer.layer(&layer, contents, ZSTD, 1).unwrap();
    assert_eq!(writer.layer_again(&layer, contents, ZSTD, 2, Some(&first)).unwrap(), first);
    // Of another compressor, of another layer: then all is hashed.
    let other = oci::Packed { digest: Sha256::of(b"other"), diff_id: Sha256::of(b"tar"), ..first.clone() };
    assert_eq!(writer.layer_again(&layer, contents, ZSTD, 2, Some(&other)).unwrap(), first);
    let other = oci::Packed { tar_bytes: first.tar_bytes + 512, ..other };
    assert_eq!(writer.layer_again(&layer, contents, ZSTD, 2, Some(&other)).unwrap(), first);
    // Contents are held to the layer all the same.
    let lost = MemoryContents::default();
    assert!(writer.layer_again(&layer, &lost, ZSTD, 1, Some(&first)).is_err());
}
