//! The layer cache in a real registry.

use std::process::Command;

use base64::Engine as _;
use layers::{Blake3, Key, KeyBuilder, Sha256};
use registry::cache::{Answer, AnswerError, PublicKey, Signer, Trust, has_answer, look_up, publish, tag_of};
use registry::{BlobPull, BlobPush, Descriptor, Reason, Repository, Selector, media_type};

use crate::support::{RealRegistry, Setup, client, have, noise, quick, repository, run};

fn key(name: &str) -> Key {
    KeyBuilder::new(name, 1).finish()
}

/// Pushes the blobs of an answer.
fn push_layer(there: &Repository, name: &str) -> (Answer, Vec<u8>) {
    let index = format!("index of {name}").into_bytes();
    let contents = noise(7, 3 << 20);
    let answer = Answer {
        key: key(name),
        layer: Blake3::of(&index),
        index: Answer::index_blob(Sha256::of(&index), index.len() as u64),
        contents: vec![Descriptor::of("application/vnd.oci.image.layer.v1.tar+zstd", &contents)],
        signatures: Vec::new(),
    };
    there.push_blobs(vec![BlobPush::of(index), BlobPush::of(contents.clone())]).unwrap();
    (answer, contents)
}

#[test]
fn two_machines_share_only_a_registry() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let openssl = |line: &str| run(Command::new("openssl").args(line.split(' ')).current_dir(directory.path()));
    openssl("genpkey -algorithm ed25519 -out private.pem").unwrap();
    openssl("pkey -in private.pem -pubout -out public.pem").unwrap();
    let signer: Signer = std::fs::read_to_string(at("private.pem")).unwrap().parse().unwrap();
    let public: PublicKey = std::fs::read_to_string(at("public.pem")).unwrap().parse().unwrap();
    assert_eq!(signer.public(), public);
    let keys = Trust::Keys(vec![public]);

    let first = client(quick());
    let there = repository(&first, &server.host(), "cache/layers");
    assert_eq!(look_up(&there, &key("compose"), &keys).unwrap(), None);
    assert!(!has_answer(&there, &key("compose")).unwrap());
    let (answer, contents) = push_layer(&there, "compose");
    publish(&there, &answer, None).unwrap();
    assert!(has_answer(&there, &key("compose")).unwrap());

    // Unsigned is enough for who trusts everybody, and for nobody else.
    let second = client(quick());
    let here = repository(&second, &server.host(), "cache/layers");
    assert_eq!(look_up(&here, &answer.key, &Trust::Everybody).unwrap().as_ref(), Some(&answer));
    let error = look_up(&here, &answer.key, &keys).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Untrusted(AnswerError::Unsigned(_)))), "{error}");
    publish(&there, &answer, Some(&signer)).unwrap();
    let found = look_up(&here, &answer.key, &keys).unwrap().unwrap();
    assert_eq!(found.statement(), answer.statement());

    // A second signer's signature joins the first one's.
    let other: Signer = "11".repeat(32).parse().unwrap();
    publish(&there, &answer, Some(&other)).unwrap();
    assert_eq!(look_up(&here, &answer.key, &keys).unwrap().unwrap().signatures.len(), 2);

    let index = here.read_blob(&found.index, 1 << 20).unwrap();
    found.check_index(&index).unwrap();
    let blob = &found.contents[0];
    let target = at("contents");
    here.pull_blobs(vec![BlobPull { digest: blob.digest, size: blob.size, target: target.clone() }]).unwrap();
    assert!(std::fs::read(target).unwrap() == contents);

    // openssl is the referee of the signature.
    let text = found.signatures[0].to_string();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.rsplit(':').next().unwrap()).unwrap();
    std::fs::write(at("signature"), bytes).unwrap();
    let verify = "pkeyutl -verify -pubin -inkey public.pem -rawin -in statement -sigfile signature";
    std::fs::write(at("statement"), found.statement()).unwrap();
    openssl(verify).unwrap();
    let mut changed = found.statement();
    changed[60] ^= 1;
    std::fs::write(at("statement"), changed).unwrap();
    openssl(verify).unwrap_err();
}

#[test]
fn a_key_whose_layer_is_anothers_is_refused() {
    if !have(&["docker-registry"]) {
        return;
    }
    let server = RealRegistry::start(&Setup::default());
    let client = client(quick());
    let there = repository(&client, &server.host(), "cache");
    let signer: Signer = "22".repeat(32).parse().unwrap();
    let keys = Trust::Keys(vec![signer.public()]);
    let (answer, _) = push_layer(&there, "good");
    publish(&there, &answer, Some(&signer)).unwrap();
    let good = Selector::Tag(tag_of(&answer.key));
    let manifest = there.manifest(&good, &[media_type::IMAGE_MANIFEST]).unwrap().unwrap();

    // Its manifest under another key's tag, as it is, and with the key in it changed.
    let asked = key("asked");
    there.push_manifest(Some(&tag_of(&asked)), media_type::IMAGE_MANIFEST, &manifest.bytes).unwrap();
    let error = look_up(&there, &asked, &Trust::Everybody).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Untrusted(AnswerError::OtherKey { .. }))), "{error}");
    let text = String::from_utf8(manifest.bytes).unwrap().replace(&answer.key.to_hex(), &asked.to_hex());
    there.push_manifest(Some(&tag_of(&asked)), media_type::IMAGE_MANIFEST, text.as_bytes()).unwrap();
    let error = look_up(&there, &asked, &keys).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Untrusted(AnswerError::BadSignature { .. }))), "{error}");
    assert!(error.hint().unwrap().contains("push there"));

    // Something that is no answer at all.
    let image = text.replace(registry::cache::ARTIFACT_TYPE, "application/x-other");
    there.push_manifest(Some(&tag_of(&asked)), media_type::IMAGE_MANIFEST, image.as_bytes()).unwrap();
    let error = look_up(&there, &asked, &Trust::Everybody).unwrap_err();
    assert!(matches!(error.reason(), Some(Reason::Untrusted(AnswerError::NotAnAnswer(_)))), "{error}");
}
