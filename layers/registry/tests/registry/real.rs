//! Everything there and back with Debian's docker-registry.

use std::path::Path;
use std::sync::atomic::Ordering;

use layers::Sha256;
use registry::{
    BlobPull, BlobPush, Content, Descriptor, ImageManifest, Options, Pushed, Reason, Repository, Selector, Tag,
    media_type,
};

use crate::support::{
    RealRegistry, Setup, client, client_as, counting_client, cutting_proxy, have, noise, quick, repository,
};

fn pull(repository: &Repository, digest: Sha256, size: u64, target: &Path) -> Result<Vec<u8>, registry::Error> {
    repository.pull_blobs(vec![BlobPull { digest, size, target: target.to_owned() }])?;
    Ok(std::fs::read(target).unwrap())
}

/// Pushes an artifact of one blob; its manifest's descriptor.
fn push_artifact(repository: &Repository, tag: Option<&Tag>, subject: Option<Descriptor>, bytes: &[u8]) -> Descriptor {
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: media_type::IMAGE_MANIFEST.into(),
        artifact_type: Some(format!("application/x-test-{}", bytes.len())),
        config: Descriptor::empty(),
        layers: vec![Descriptor::of("application/x-test", bytes)],
        subject,
        annotations: Default::default(),
    };
    repository.push_blobs(vec![BlobPush::of(registry::EMPTY_JSON), BlobPush::of(bytes.to_vec())]).unwrap();
    match &manifest.subject {
        Some(_) => repository.push_referrer(&manifest).unwrap(),
        None => {
            let text = serde_json::to_vec(&manifest).unwrap();
            repository.push_manifest(tag, media_type::IMAGE_MANIFEST, &text).unwrap()
        }
    }
}

#[test]
fn blobs_go_and_come_back() {
    if !have(&["docker-registry"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let client = client(quick());
    client.ping(&server.host().parse().unwrap()).unwrap();
    let one = repository(&client, &server.host(), "team/one");
    let directory = tempfile::tempdir().unwrap();
    // Nothing, less than a chunk, exactly two, and a bit more.
    let sizes = [0, 1, 1000, 2 << 20, (5 << 20) + 7];
    let blobs: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(seed, size)| noise(seed as u64, *size)).collect();
    let pushes: Vec<BlobPush> = blobs
        .iter()
        .enumerate()
        .map(|(number, bytes)| {
            let path = directory.path().join(format!("source-{number}"));
            std::fs::write(&path, bytes).unwrap();
            BlobPush { content: Content::File(path), ..BlobPush::of(bytes.clone()) }
        })
        .collect();
    assert_eq!(one.push_blobs(pushes.clone()).unwrap(), vec![Pushed::Sent; sizes.len()]);
    assert_eq!(one.push_blobs(pushes.clone()).unwrap(), vec![Pushed::Present; sizes.len()]);
    let pulls = pushes.iter().enumerate().map(|(number, push)| BlobPull {
        digest: push.digest,
        size: push.size,
        target: directory.path().join(format!("target-{number}")),
    });
    one.pull_blobs(pulls.collect()).unwrap();
    for (number, bytes) in blobs.iter().enumerate() {
        assert!(std::fs::read(directory.path().join(format!("target-{number}"))).unwrap() == *bytes, "{number}");
        assert!(one.has_blob(&Sha256::of(bytes)).unwrap());
    }
    let absent = Sha256::of(b"absent");
    assert!(!one.has_blob(&absent).unwrap());
    assert!(pull(&one, absent, 6, &directory.path().join("absent")).unwrap_err().is_missing());

    // Another repository takes them over without sending them again.
    let two = repository(&client, &server.host(), "team/two");
    let mounts: Vec<BlobPush> = pushes
        .into_iter()
        .map(|push| BlobPush { mount_from: vec!["no/such".parse().unwrap(), one.name().clone()], ..push })
        .collect();
    assert_eq!(two.push_blobs(mounts).unwrap(), vec![Pushed::Mounted; sizes.len()]);
}

#[test]
fn manifests_tags_and_referrers() {
    if !have(&["docker-registry"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let client = client(quick());
    let there = repository(&client, &server.host(), "app");
    assert_eq!(there.tags().unwrap(), None);
    let latest = Selector::Tag(Tag::latest());
    assert_eq!(there.manifest(&latest, media_type::ALL_IMAGES).unwrap(), None);

    let image = push_artifact(&there, Some(&Tag::latest()), None, b"image");
    let other = push_artifact(&there, Some(&"v1.0".parse().unwrap()), None, b"other image");
    let by_tag = there.manifest(&latest, media_type::ALL_IMAGES).unwrap().unwrap();
    assert_eq!(by_tag.descriptor(), image);
    let by_digest = there.manifest(&Selector::Digest(image.digest), media_type::ALL_IMAGES).unwrap();
    assert_eq!(by_digest.as_ref(), Some(&by_tag));
    assert_eq!(there.manifest_descriptor(&latest, media_type::ALL_IMAGES).unwrap(), Some(image.clone()));
    let tags: Vec<String> = there.tags().unwrap().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["latest", "v1.0"]);

    assert_eq!(there.referrers(&image.digest, None).unwrap(), []);
    let sbom = push_artifact(&there, None, Some(image.clone()), b"sbom");
    let disk = push_artifact(&there, None, Some(image.clone()), b"a disk");
    push_artifact(&there, None, Some(other), b"elsewhere");
    let digests = |wanted| -> Vec<Sha256> {
        there.referrers(&image.digest, wanted).unwrap().iter().map(|one| one.digest).collect()
    };
    assert_eq!(digests(None), [sbom.digest, disk.digest]);
    assert_eq!(digests(Some("application/x-test-6")), [disk.digest]);

    // A manifest that names what is not there.
    let manifest = ImageManifest {
        layers: vec![Descriptor::of("application/x-test", b"never pushed")],
        ..by_tag.read::<ImageManifest>().unwrap()
    };
    let text = serde_json::to_vec(&manifest).unwrap();
    let error = there.push_manifest(None, media_type::IMAGE_MANIFEST, &text).unwrap_err();
    assert!(error.to_string().contains("BLOB_UNKNOWN"), "{error}");
    let huge = vec![b' '; 5 << 20];
    let error = there.push_manifest(None, media_type::IMAGE_MANIFEST, &huge).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Long { .. })), "{error}");
}

#[test]
fn passwords_by_htpasswd() {
    if !have(&["docker-registry", "htpasswd"]) {
        return;
    }
    let server = RealRegistry::start(&Setup { login: Some(("me", "geheim:1")), tls: false });
    let host = server.host();
    let push =
        |client: &registry::Client| repository(client, &host, "app").push_blobs(vec![BlobPush::of(noise(1, 3 << 20))]);
    let nobody = push(&client(quick())).unwrap_err();
    assert!(matches!(nobody.reason(), Some(Reason::Unauthorized { had: false, .. })), "{nobody}");
    assert!(nobody.hint().unwrap().contains("login"), "{nobody}");
    let nobody = client(quick()).ping(&host.parse().unwrap()).unwrap_err();
    assert!(nobody.to_string().contains("UNAUTHORIZED"), "{nobody}");
    let wrong = push(&client_as(quick(), "me", "falsch", &host)).unwrap_err();
    assert!(matches!(wrong.reason(), Some(Reason::Unauthorized { had: true, .. })), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("falsch"));
    let me = client_as(quick(), "me", "geheim:1", &host);
    me.ping(&host.parse().unwrap()).unwrap();
    assert_eq!(push(&me).unwrap(), [Pushed::Sent]);
    assert_eq!(push(&me).unwrap(), [Pushed::Present]);
}

#[test]
fn certificates_of_a_private_authority() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let server = RealRegistry::start(&Setup { login: None, tls: true });
    let host = server.host();
    let push =
        |client: &registry::Client| repository(client, &host, "app").push_blobs(vec![BlobPush::of(noise(1, 3 << 20))]);
    // The negative control: without the authority nothing goes, not even to this machine in http.
    let error = push(&client(quick())).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Certificate { .. })), "{error}");
    let authority = std::fs::read(server.directory.path().join("ca.pem")).unwrap();
    let trusting = client(Options { certificates: vec![authority], ..quick() });
    assert_eq!(push(&trusting).unwrap(), [Pushed::Sent]);
    // By a name that the certificate does not have.
    let other = format!("127.0.0.2:{}", server.port);
    let there = repository(&trusting, &other, "app");
    assert!(there.has_blob(&Sha256::of(b"x")).is_err());
    let none = Options { certificates: vec![b"no certificate".to_vec()], ..quick() };
    assert!(
        registry::Client::new(none, std::sync::Arc::new(registry::Anonymous), std::sync::Arc::new(registry::Silent))
            .is_err()
    );
}

#[test]
fn broken_connections_are_gone_on_with() {
    if !have(&["docker-registry"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let blob = noise(9, 6 << 20);
    let (digest, size) = (Sha256::of(&blob), blob.len() as u64);
    let up = format!("127.0.0.1:{}", cutting_proxy(server.port, 2, (2 << 20) + 5000, true));
    let options = || Options { insecure: [up.parse().unwrap()].into(), ..quick() };
    let (pushing, count) = counting_client(options());
    let pushed = repository(&pushing, &up, "app").push_blobs(vec![BlobPush::of(blob.clone())]).unwrap();
    assert_eq!(pushed, [Pushed::Sent]);
    assert!(count.retries.load(Ordering::SeqCst) > 0);
    assert_eq!(count.position(&digest), (size, size));

    let directory = tempfile::tempdir().unwrap();
    let down = format!("127.0.0.1:{}", cutting_proxy(server.port, 2, 1 << 20, false));
    let options = Options { insecure: [down.parse().unwrap()].into(), ..quick() };
    let target = directory.path().join("blob");
    let (pulling, count) = counting_client(options);
    assert!(pull(&repository(&pulling, &down, "app"), digest, size, &target).unwrap() == blob);
    assert!(count.retries.load(Ordering::SeqCst) > 0);
    assert_eq!((count.position(&digest), count.moved.load(Ordering::SeqCst)), ((size, size), size));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn after_a_change_only_what_changed_is_sent() {
    if !have(&["docker-registry"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let layers = |changed: u64| -> Vec<BlobPush> {
        (0..8).map(|seed| BlobPush::of(noise(if seed == 5 { changed } else { seed }, 3 << 20))).collect()
    };
    let (first, count) = counting_client(quick());
    repository(&first, &server.host(), "app").push_blobs(layers(5)).unwrap();
    assert_eq!(count.moved.load(Ordering::SeqCst), 8 * (3 << 20));
    let (second, count) = counting_client(quick());
    let pushed = repository(&second, &server.host(), "app").push_blobs(layers(99)).unwrap();
    assert_eq!(pushed.iter().filter(|one| **one == Pushed::Sent).count(), 1);
    assert_eq!(count.moved.load(Ordering::SeqCst), 3 << 20);
}
