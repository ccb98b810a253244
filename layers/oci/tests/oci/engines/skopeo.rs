//! skopeo, which copies images and judges their digests.

use oci::Form;

use super::{flip, says, written};
use crate::images::{GZIP, Home, ZSTD, assert_same, description, plant, whole, write};
use crate::referee::tool;
use std::path::Path;

#[test]
fn skopeo_copies_both_forms_and_sees_damage() {
    let Some(skopeo) = tool("skopeo") else { return };
    for how in [ZSTD, GZIP] {
        let home = Home::new();
        let plant = plant();
        let to = home.path("copy");
        let copy = |from: &str| {
            let _ = std::fs::remove_dir_all(&to);
            let to = format!("oci:{}:test", to.display());
            says(&skopeo, &["--insecure-policy", "copy", "--quiet", from, &to])
        };
        let directory = written(&home, "image", &[whole(&plant.tree)], &plant.contents, how);
        let archive = home.path("image.tar");
        write(&archive, Form::Archive, &[whole(&plant.tree)], &plant.contents, how, 2);
        for from in [format!("oci:{}:test", directory.display()), format!("oci-archive:{}:test", archive.display())] {
            assert!(copy(&from).success);
            let stack = home.import(&to).unwrap();
            assert_same(stack.tree(), &plant.tree);
        }
        let shown =
            says(&skopeo, &["--insecure-policy", "inspect", "--config", &format!("oci:{}:test", directory.display())]);
        let config: serde_json::Value = serde_json::from_str(&shown.text).unwrap();
        assert_eq!(config["created"], "2024-02-29T13:37:42Z");
        assert_eq!(config["history"][0]["created_by"], description().tool);
        flip(&directory);
        assert!(!copy(&format!("oci:{}:test", directory.display())).success);
        assert!(Home::new().import(&directory).is_err());
    }
}

#[test]
fn skopeo_takes_one_platform_of_several_and_artifacts_along() {
    let Some(skopeo) = tool("skopeo") else { return };
    let home = Home::new();
    let plant = plant();
    let at = home.path("image");
    let mut writer = oci::Writer::create(&at, Form::Directory).unwrap();
    let request = oci::Export {
        tree: &plant.tree,
        contents: &plant.contents,
        origins: &[],
        base: None,
        layers: 64,
        compression: ZSTD,
        threads: 2,
        memory: None,
        has: None,
    };
    let images = ["amd64", "arm64"].map(|architecture| {
        let mut description = description();
        description.platform = oci::image::Platform::linux(architecture);
        oci::export(&writer, &request, &description).unwrap().descriptor
    });
    let index = oci::image::write_index(&writer, images.to_vec(), &Default::default()).unwrap();
    let sbom = oci::artifact::Attachment {
        media_type: "application/spdx+json".into(),
        title: "sbom.json".into(),
        reader: &mut &b"{}"[..],
    };
    let kind = "application/spdx+json";
    let sbom = oci::artifact::write(&writer, kind, Some(&index), vec![sbom], &Default::default()).unwrap();
    writer.add(index, Some("test"));
    writer.add(sbom, Some("sbom"));
    writer.finish().unwrap();
    let copy = |name: &str, options: &[&str]| {
        let (from, to) =
            (format!("oci:{}:{name}", at.display()), format!("oci:{}:{name}", home.path("copy").display()));
        assert!(
            says(&skopeo, &[&["--insecure-policy"], options, &["copy", "--quiet", "--all", &from, &to]].concat())
                .success
        );
    };
    copy("test", &[]);
    let stack = home.import(&home.path("copy")).unwrap();
    assert_same(stack.tree(), &plant.tree);
    let image = written(&home, "alone", &[whole(&plant.tree)], &plant.contents, ZSTD);
    let raw = |at: &Path, name: &str| {
        says(&skopeo, &["--insecure-policy", "inspect", "--raw", &format!("oci:{}:{name}", at.display())]).text
    };
    assert!(raw(&at, "sbom").contains("\"subject\""));
    assert!(raw(&image, "test").contains("manifest.v1+json"));
}
