//! Bases that cannot be started from, and packages that cannot be put on one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{json, make_base, own, repack, spec};
use crate::support::{have, must};
use crate::wrong::case::Case;

/// The only blob of a layout that is larger than a document, or the largest.
fn largest_blob(case: &Case, layout: &str) -> PathBuf {
    let blobs = fs::read_dir(case.directory.join(layout).join("blobs/sha256")).unwrap();
    blobs.map(|blob| blob.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn umoci(words: &[&str]) {
    must(Command::new("umoci").args(words));
}

#[test]
fn a_base_that_is_not_what_the_spec_says_is_refused() {
    if !have(&["umoci"]) {
        return;
    }
    let Some(case) = Case::new("base-wrong") else { return };
    make_base(&case, &["tiny-hello"]);
    let image = |name: &str| format!("{}:{name}", case.directory.join("base").display());
    let refused = |from: &str, code: i32, words: &[&str]| {
        spec(&case, "small.yml", &format!(", from: \"{from}\""), &["tiny-hallo"], "");
        case.build(&[]).with(code, words);
        case.nothing_is_there();
    };
    refused("podman:x", 3, &["small.yml:1:", "names no image", "docker://HOST/REPOSITORY:TAG"]);
    refused("oci:nowhere", 3, &["Missing required file 'nowhere'"]);
    refused("oci:small.yml", 4, &["failed to use the base image oci:small.yml"]);
    refused("oci:base:other", 4, &["other for linux/amd64", "there is base:1.0"]);

    // Another architecture, another system, no system at all.
    umoci(&["tag", "--image", &image("base:1.0"), "arm"]);
    umoci(&["config", "--image", &image("arm"), "--architecture", "arm64"]);
    let changed = |from: &str, name: &str, change: &str| {
        umoci(&["tag", "--image", &image(from), name]);
        repack(&case.directory.join("base"), name, change, &case.directory);
    };
    changed("base:1.0", "two", "sed -i s/VERSION_ID=1/VERSION_ID=2/ \"$1/etc/os-release\"");
    umoci(&["new", "--image", &image("nameless")]);
    changed("nameless", "empty", "mkdir \"$1/etc\"; printf 'ID=tiny\\nVERSION_ID=1\\n' >\"$1/etc/os-release\"");
    changed("base:1.0", "half", "sed -i '0,/ok installed/s//ok half-configured/' \"$1/var/lib/dpkg/status\"");
    changed("base:1.0", "bare", "rm \"$1/usr/bin/dpkg\"");
    changed("base:1.0", "apart", "rm \"$1/lib64\"; mkdir \"$1/lib64\"; cp -r \"$1/usr/lib64/.\" \"$1/lib64\"");
    own(&case, "base");
    refused("oci:base:arm", 4, &["the image is for linux/arm64", "image.base.architecture"]);
    refused("oci:base:two", 4, &["it is tiny 2, and the spec says", "image.base.version"]);
    refused("oci:base:nameless", 4, &["no os-release(5)"]);
    refused("oci:base:empty", 4, &["no database of dpkg's (/var/lib/dpkg/status)"]);
    refused("oci:base:half", 4, &["in the state \"install ok half-configured\"", "dpkg --audit"]);

    refused("oci:base:bare", 4, &["it has no dpkg (/usr/bin/dpkg)"]);
    refused("oci:base:apart", 4, &["/lib64 does not lead to /usr/lib64"]);

    // What cannot be put on it, and what cannot be taken away.
    let chosen = |packages: &[&str], more: &str, words: &[&str]| {
        spec(&case, "small.yml", ", from: \"oci:base:base:1.0\"", packages, "");
        let text = fs::read_to_string(case.directory.join("small.yml")).unwrap();
        case.write("small.yml", &text.replace("install: [", &format!("{more}install: [")));
        case.build(&[]).with(4, words);
        case.nothing_is_there();
    };
    let hint = "packages of the base image stay as they are";
    chosen(&[], "remove: [tiny-hello], ", &["'tiny-hello' cannot be removed: the base image has it", hint]);
    chosen(&["tiny-hello=2"], "", &["'tiny-hello' has no version 2; there is 1.0 of the base image", hint]);
    chosen(&["tiny-upgrading"], "", &["tiny-system (>= 2), but there is only tiny-system 1.0 of the base image", hint]);
    chosen(&["tiny-excluding"], "", &["cannot be beside tiny-hello 1.0 of the base image", hint]);

    // With nothing to put on it, it is the base; then a damaged one is noticed, in whatever is missing.
    spec(&case, "small.yml", ", from: \"oci:base:base:1.0\"", &[], "");
    case.build(&["--skip-stage", "configuration"]).with(0, &[]);
    let lock = json(&fs::read_to_string(case.directory.join("output/small.lock")).unwrap());
    assert_eq!(lock["packages"].as_array().unwrap().len(), 0);

    // A lock is of one image: another one under the same name is not taken for it.
    case.run(&["lock", "small.yml"]).with(0, &[]);
    umoci(&["config", "--image", &image("base:1.0"), "--config.label", "changed=yes"]);
    own(&case, "base");
    let words = ["it is not the one of the lock", "image-composer lock SPEC"];
    case.build(&["--locked", "--force", "--no-image-cache"]).with(4, &words);
    spec(&case, "small.yml", ", from: \"oci:base:two\"", &[], "");
    case.build(&["--locked", "--force"]).with(4, &["image.base.from: the lock has oci:base:base:1.0"]);
    spec(&case, "small.yml", ", from: \"oci:base:base:1.0\"", &[], "");
    let blob = largest_blob(&case, "base");
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    must(Command::new("rm").arg("-rf").arg(case.directory.join("output")).arg(case.directory.join("cache")));
    let name = blob.file_name().unwrap().to_string_lossy().into_owned();
    case.build(&[]).with(4, &["failed to use the base image", &name]);
    case.nothing_is_there();
}
