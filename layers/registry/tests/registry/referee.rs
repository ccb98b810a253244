//! skopeo as the referee: what we push it understands, what it pushes we understand.

use std::path::Path;
use std::process::Command;

use layers::Sha256;
use registry::{BlobPull, BlobPush, Descriptor, ImageManifest, Reason, Repository, Selector, Tag, media_type};

use crate::support::{RealRegistry, Setup, client, client_as, have, noise, quick, repository, run};

/// One file in a tar archive.
fn tar_of(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header;
    archive.extend_from_slice(contents);
    archive.resize(archive.len().div_ceil(512) * 512 + 1024, 0);
    archive
}

/// Pushes an image of one layer under a tag.
fn push_image(there: &Repository, tag: &str) -> (Descriptor, Vec<u8>) {
    let layer = tar_of("hello", &noise(5, 2 << 20));
    let diff = Sha256::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/hello"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{diff}"]}},"history":[{{"created_by":"test"}}]}}"#
    );
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: media_type::IMAGE_MANIFEST.into(),
        artifact_type: None,
        config: Descriptor::of(media_type::IMAGE_CONFIG, config.as_bytes()),
        layers: vec![Descriptor::of("application/vnd.oci.image.layer.v1.tar", &layer)],
        subject: None,
        annotations: Default::default(),
    };
    there.push_blobs(vec![BlobPush::of(config.into_bytes()), BlobPush::of(layer.clone())]).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    let tag: Tag = tag.parse().unwrap();
    (there.push_manifest(Some(&tag), media_type::IMAGE_MANIFEST, &text).unwrap(), layer)
}

fn skopeo(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments))
}

#[test]
fn what_we_push_skopeo_copies_and_what_it_pushes_we_pull() {
    if !have(&["docker-registry", "skopeo"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let host = server.host();
    let client = client(quick());
    let ours = repository(&client, &host, "ours");
    let (image, layer) = push_image(&ours, "v1");
    let layer_hex = Sha256::of(&layer).to_hex();

    let told = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{host}/ours:v1")]).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["Digest"], format!("sha256:{}", image.digest));
    assert_eq!(told["Layers"][0], format!("sha256:{layer_hex}"));
    assert_eq!(told["RepoTags"][0], "v1");

    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    let from = format!("docker://{host}/ours:v1");
    skopeo(&["copy", "-q", "--src-tls-verify=false", &from, &format!("dir:{}", copy.display())]).unwrap();
    assert!(std::fs::read(copy.join(&layer_hex)).unwrap() == layer);

    // Back by skopeo under another name, in docker's format, which compresses and says so.
    let to = format!("docker://{host}/theirs:v2");
    let from = format!("dir:{}", copy.display());
    skopeo(&["copy", "-q", "--dest-tls-verify=false", "--format", "v2s2", &from, &to]).unwrap();
    let theirs = repository(&client, &host, "theirs");
    let selector = Selector::Tag("v2".parse().unwrap());
    let manifest = theirs.manifest(&selector, media_type::ALL_IMAGES).unwrap().unwrap();
    assert_eq!(manifest.media_type, media_type::DOCKER_MANIFEST);
    let document: ImageManifest = manifest.read().unwrap();
    let config = theirs.read_blob(&document.config, 1 << 20).unwrap();
    assert!(String::from_utf8(config).unwrap().contains(&layer_hex));
    let blob = &document.layers[0];
    let target = directory.path().join("blob");
    theirs.pull_blobs(vec![BlobPull { digest: blob.digest, size: blob.size, target: target.clone() }]).unwrap();
    assert_eq!(Sha256::of(&std::fs::read(target).unwrap()), blob.digest);
    // Only what was asked for is taken.
    let error = theirs.manifest(&selector, &[media_type::IMAGE_MANIFEST]).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::MediaType { .. })), "{error}");

    // The negative control: a byte of the layer is changed at the registry.
    damage(&server.blob_path(&layer_hex));
    let again = directory.path().join("again");
    let from = format!("docker://{host}/ours:v1");
    skopeo(&["copy", "-q", "--src-tls-verify=false", &from, &format!("dir:{}", again.display())]).unwrap_err();
    let target = directory.path().join("damaged");
    let pull = BlobPull { digest: Sha256::of(&layer), size: layer.len() as u64, target: target.clone() };
    let error = ours.pull_blobs(vec![pull]).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Digest { .. })), "{error}");
    assert!(!target.exists());
}

fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn skopeo_agrees_behind_password_and_private_authority() {
    if !have(&["docker-registry", "skopeo", "htpasswd", "openssl"]) {
        return;
    }
    let server = RealRegistry::start(&Setup { login: Some(("me", "secret")), tls: true });
    let host = server.host();
    let authority = std::fs::read(server.directory.path().join("ca.pem")).unwrap();
    let options = registry::Options { certificates: vec![authority.clone()], ..quick() };
    let client = client_as(options, "me", "secret", &host);
    let (image, _) = push_image(&repository(&client, &host, "ours"), "v1");
    let certificates = tempfile::tempdir().unwrap();
    std::fs::write(certificates.path().join("ca.crt"), authority).unwrap();
    let directory = certificates.path().display().to_string();
    let from = format!("docker://{host}/ours:v1");
    let told = skopeo(&["inspect", "--cert-dir", &directory, "--creds", "me:secret", &from]).unwrap();
    assert!(told.contains(&image.digest.to_hex()), "{told}");
    skopeo(&["inspect", "--cert-dir", &directory, "--creds", "me:wrong", &from]).unwrap_err();
    skopeo(&["inspect", "--creds", "me:secret", &from]).unwrap_err();
}
