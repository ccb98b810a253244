//! A registry whose storage is damaged on disk: who finds it out and makes the layer sends one that is used.

use std::path::{Path, PathBuf};

use super::*;
use crate::layers::damage::flip;

/// What the registry has under the tag of a key.
pub struct There {
    tag: PathBuf,
    manifest: PathBuf,
    index: PathBuf,
    pub contents: PathBuf,
}

pub fn there(registry: &Registry, key: &str) -> There {
    let blobs = registry.blob("0000");
    let top = blobs.ancestors().nth(5).unwrap();
    let tag = top.join("repositories/cache/_manifests/tags").join(format!("k-{key}"));
    let link = fs::read_to_string(tag.join("current/link")).unwrap();
    let blob = |digest: &str| registry.blob(digest.trim().strip_prefix("sha256:").unwrap());
    let manifest = blob(&link);
    let document: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let layer = |number: usize| blob(document["layers"][number]["digest"].as_str().unwrap());
    There { tag, manifest, index: layer(0), contents: layer(1) }
}

fn shorten(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn what_is_damaged_at_a_registry_is_sent_again() {
    if !have(&["docker-registry", "curl"]) {
        return;
    }
    let registry = Registry::start(Setup::default());
    let remote = format!("{{url: \"oci://{}/cache\", push: true}}", registry.host());
    let Some(case) = machine(User::WithoutRange, "remote-damaged", &remote) else { return };
    case.compose();
    let lineage = case.lineage();
    let key = case.layer_of(LAST).1.remove(0);
    // Whether the last step ran when it was to be made once more.
    let again = || {
        case.forget_last();
        let ended = case.compose();
        assert_eq!(case.lineage(), lineage);
        assert!(!ended.text.contains("did not take"), "{}", ended.text);
        let ran = ended.text.contains(&format!("{LAST}: rebuilt"));
        assert!(ran != ended.text.contains(&format!("{LAST}: fetched")), "{}", ended.text);
        ran
    };
    assert!(!again(), "nothing is damaged yet");

    // The registry thanks for a blob that it has, and keeps what it has.
    let whole = there(&registry, &key).contents;
    let bytes = fs::read(&whole).unwrap();
    flip(&whole, 1000);
    let copy = case.directory.join("blob");
    fs::write(&copy, &bytes).unwrap();
    let url = format!("http://{}/v2/cache/blobs/uploads/", registry.host());
    let head = must(Command::new("curl").args(["-sfi", "-X", "POST", &url]));
    let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim().to_owned();
    let digest = whole.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let put = ["-sfi", "-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary"];
    let to = format!("{location}&digest=sha256:{digest}");
    let answer = must(Command::new("curl").args(put).arg(format!("@{}", copy.display())).arg(to));
    assert!(answer.contains(" 201 "), "{answer}");
    assert_ne!(fs::read(&whole).unwrap(), bytes, "it would do to send the same again");
    assert!(again() && !again());

    // Again and again, whatever it is.
    let contents = there(&registry, &key).contents;
    assert_ne!(contents, whole);
    flip(&contents, 77);
    assert!(again() && !again());
    flip(&there(&registry, &key).index, 300);
    assert!(again() && !again());
    shorten(&there(&registry, &key).contents);
    assert!(again() && !again());
    shorten(&there(&registry, &key).index);
    assert!(again() && !again());
    // One character of a manifest, which stays one.
    let manifest = there(&registry, &key).manifest;
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("layer.key", "layer.kex", 1)).unwrap();
    assert!(again() && !again());

    // Nobody has read a blob that has another size now: the registry says so when the layer is sent.
    for damage in [|there: &There| shorten(&there.index), |there: &There| shorten(&there.contents)] {
        let registry = Registry::start(Setup::default());
        configure(&case, &format!("{{url: \"oci://{}/cache\", push: true}}", registry.host()));
        assert!(again() && !again());
        let found = there(&registry, &key);
        damage(&found);
        must(Command::new("rm").arg("-r").arg(&found.tag));
        assert!(again(), "nobody has the answer");
        assert_ne!(there(&registry, &key).contents, found.contents);
        assert!(!again());
    }
    case.nothing_is_left();
}
