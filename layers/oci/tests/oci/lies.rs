//! Documents that lie, and blobs that are not what they should be.

use std::os::unix::fs::FileExt;

use layers::{Entry, Layer, MemoryContents, Sha256};
use oci::image::Wanted;
use oci::import::{Limits, import};
use oci::oci_spec::image::{Descriptor, ImageIndex, MediaType};
use oci::{Form, Layout};
use serde_json::json;

use crate::images::{GZIP, Home, Memory, ZSTD, meta, path, write};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn layer() -> (Layer, MemoryContents) {
    let mut contents = MemoryContents::default();
    let content = contents.add("the same text again and again".repeat(400));
    (Layer::of([(path("a"), Entry::file(content, meta(0o644)))]), contents)
}

fn tar() -> Vec<u8> {
    let (layer, contents) = layer();
    let mut tar = Vec::new();
    oci::archive::Plan::new(&layer).unwrap().write(&contents, &mut tar).unwrap();
    tar
}

#[test]
fn a_changed_bit_is_seen_wherever_it_is() {
    let (layer, contents) = layer();
    for (form, how) in [(Form::Directory, ZSTD), (Form::Directory, GZIP), (Form::Archive, ZSTD)] {
        let home = Home::new();
        let layout = home.path("image");
        write(&layout, form, &[layer.clone()], &contents, how, 1);
        let files = match form {
            Form::Archive => vec![layout.clone()],
            Form::Directory => {
                let blobs = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
                blobs.map(|entry| entry.unwrap().path()).collect()
            }
        };
        home.import(&layout).unwrap();
        for path in files {
            let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
            let whole = std::fs::read(&path).unwrap();
            let size = whole.len() as u64;
            // In an archive, what is between the blobs may change without harm.
            let places = if form == Form::Archive { vec![3 * 512 + 20] } else { vec![0, size / 2, size - 1] };
            for at in places {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 4], at).unwrap();
                let fresh = Home::new();
                let error = fresh.import(&layout).unwrap_err();
                if form == Form::Directory {
                    assert!(matches!(error, oci::Error::Blob { .. }), "{error:?}");
                }
                assert_eq!((fresh.layers(), fresh.work()), (0, 0));
                file.write_all_at(&byte, at).unwrap();
            }
            file.set_len(if form == Form::Archive { size / 2 } else { size - 1 }).unwrap();
            assert!(Home::new().import(&layout).is_err());
            file.write_all_at(&whole, 0).unwrap();
        }
    }
}

#[track_caller]
fn refused(change: impl Fn(&mut Memory, &mut Descriptor, &mut Vec<String>), says: &str) {
    let mut memory = Memory::default();
    let tar = tar();
    let mut diff_ids = vec![format!("sha256:{}", Sha256::of(&tar))];
    let mut layer = memory.add(LAYER, tar);
    change(&mut memory, &mut layer, &mut diff_ids);
    let home = Home::new();
    let error = memory
        .image_of(&[layer], &diff_ids)
        .and_then(|image| import(&image, &memory, &home.store, &Limits::default()).map(drop))
        .unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!((home.layers(), home.work()), (0, 0));
}

#[test]
fn blobs_are_held_to_their_descriptors() {
    refused(|memory, layer, _| drop(memory.0.remove(&layer.digest().to_string())), "not there");
    let sized = |change: fn(u64) -> u64, says| {
        refused(|_, layer, _| *layer = layer.clone().set_size(change(layer.size())).clone(), says);
    };
    sized(|size| size - 1, "longer");
    sized(|size| size + 1, "short");
    sized(|_| u64::MAX, "short");
    refused(|memory, layer, _| memory.0.get_mut(&layer.digest().to_string()).unwrap()[600] ^= 1, "its digest is");
    let typed = |media_type: MediaType, says| {
        refused(|_, layer, _| *layer = layer.clone().set_media_type(media_type.clone()).clone(), says);
    };
    typed(MediaType::from("application/x-tar"), "no layer");
    typed(MediaType::ImageLayerNonDistributable, "distributed");
    typed(MediaType::ImageLayerGzip, "unpack layer");
    typed(MediaType::ImageLayerZstd, "unpack layer");
    refused(|_, _, diff_ids| diff_ids[0] = format!("sha256:{}", Sha256::of(b"other")), "the digest of its tar");
    refused(|_, _, diff_ids| diff_ids[0] = "sha512:00".into(), "no SHA-256");
    refused(|_, _, diff_ids| diff_ids.push(diff_ids[0].clone()), "speaks of 2");
}

#[test]
fn documents_are_one_thing_and_the_one_that_was_announced() {
    let mut memory = Memory::default();
    let config = memory.add("application/vnd.oci.image.config.v1+json", "{}");
    let mut refused = |manifest: serde_json::Value, says: &str| {
        let error = memory.manifest(&manifest).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(json!({ "schemaVersion": 2, "config": config, "layers": [], "manifests": [] }), "both");
    refused(json!({ "schemaVersion": 1, "config": config, "layers": [] }), "schemaVersion");
    refused(json!({ "config": config, "layers": [] }), "schemaVersion");
    let index = "application/vnd.oci.image.index.v1+json";
    refused(json!({ "schemaVersion": 2, "mediaType": index, "config": config, "layers": [] }), "announced as");
    refused(json!({ "schemaVersion": 2, "config": config, "layers": [] }), "missing field");
    refused(json!([]), "schemaVersion");
    let mut artifact = config.clone();
    artifact.set_media_type(MediaType::EmptyJSON);
    refused(json!({ "schemaVersion": 2, "config": artifact, "layers": [] }), "artifact");
    let mut sha512 = serde_json::to_value(&config).unwrap();
    sha512["digest"] = format!("sha512:{}", "0".repeat(128)).into();
    refused(json!({ "schemaVersion": 2, "config": sha512, "layers": [] }), "sha256");
    let large = memory.add("application/vnd.oci.image.manifest.v1+json", vec![b' '; 5 << 20]);
    let error = oci::image::read(&memory, &large).unwrap_err();
    assert!(error.to_string().contains("the most that is read"), "{error}");
    // JSON that is deep must not use up the stack.
    let deep = memory.add("application/vnd.oci.image.manifest.v1+json", "[".repeat(1 << 20));
    assert!(oci::image::read(&memory, &deep).is_err());
}

#[test]
fn an_index_of_indexes_ends() {
    let mut memory = Memory::default();
    let mut inner = memory.add("application/vnd.oci.image.index.v1+json", r#"{"schemaVersion":2,"manifests":[]}"#);
    for _ in 0..5 {
        let index = json!({ "schemaVersion": 2, "manifests": [inner] });
        inner = memory.add("application/vnd.oci.image.index.v1+json", index.to_string());
    }
    let index: ImageIndex = serde_json::from_value(json!({ "schemaVersion": 2, "manifests": [inner] })).unwrap();
    assert!(matches!(oci::image::find(&memory, &index, &Wanted::default()), Err(oci::Error::NoImage { .. })));
}

#[test]
fn what_is_no_layout_is_told_apart() {
    let home = Home::new();
    let at = home.path("image");
    assert!(Layout::open(&at).is_err());
    std::fs::write(&at, "no tar").unwrap();
    assert!(Layout::open(&at).unwrap_err().to_string().contains("image layout"));
    std::fs::remove_file(&at).unwrap();
    std::fs::create_dir(&at).unwrap();
    assert!(Layout::open(&at).is_err());
    std::fs::write(at.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    for marker in ["{}", r#"{"imageLayoutVersion":"2.0.0"}"#] {
        std::fs::write(at.join("oci-layout"), marker).unwrap();
        assert!(Layout::open(&at).is_err(), "{marker}");
    }
    std::fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    Layout::open(&at).unwrap();
    // Opening a pipe would wait for ever.
    std::fs::remove_file(at.join("index.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at.join("index.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(Layout::open(&at).is_err());
}
