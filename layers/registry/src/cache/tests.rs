use super::*;
use layers::{KeyBuilder, Sha256};

fn key(name: &str) -> Key {
    KeyBuilder::new(name, 1).finish()
}

fn answer() -> Answer {
    Answer {
        key: key("compose"),
        layer: Blake3::of(b"index"),
        index: Answer::index_blob(Sha256::of(b"index"), 5),
        contents: vec![Descriptor::new(CONTENT_TYPES[2], Sha256::of(b"contents"), 8)],
        signatures: Vec::new(),
    }
}

fn signer(byte: u8) -> Signer {
    hex::encode([byte; 32]).parse().unwrap()
}

fn trusting(byte: u8) -> Trust {
    Trust::Keys(vec![signer(99).public(), signer(byte).public()])
}

#[test]
fn an_answer_is_a_manifest_and_back_to_the_bit() {
    let answer = answer().signed(&signer(1)).signed(&signer(2));
    let manifest = answer.to_manifest();
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(text, serde_json::to_string(&answer.to_manifest()).unwrap());
    let again: ImageManifest = serde_json::from_str(&text).unwrap();
    assert_eq!(Answer::from_manifest(&again, &answer.key, &trusting(2)).unwrap(), answer);
    assert_eq!(tag_of(&answer.key).as_str(), format!("k-{}", answer.key));
    assert!(tag_of(&answer.key).as_str().parse::<Tag>().is_ok());
    assert!(answer.check_index(b"index").is_ok());
    assert!(matches!(answer.check_index(b"other"), Err(AnswerError::OtherLayer { .. })));
}

#[test]
fn with_keys_only_what_they_signed_is_used() {
    let plain = answer();
    let read = |answer: &Answer, trust: &Trust| Answer::from_manifest(&answer.to_manifest(), &plain.key, trust);
    assert!(read(&plain, &Trust::Everybody).is_ok());
    assert_eq!(read(&plain, &trusting(1)), Err(AnswerError::Unsigned(plain.key)));
    let signed = plain.clone().signed(&signer(1));
    assert!(read(&signed, &trusting(1)).is_ok());
    assert!(read(&signed.clone().signed(&signer(7)), &trusting(1)).is_ok());
    assert_eq!(read(&signed, &trusting(2)), Err(AnswerError::UnknownSigner(plain.key)));
    assert_eq!(read(&signed, &Trust::Keys(Vec::new())), Err(AnswerError::UnknownSigner(plain.key)));
}

#[test]
fn a_signature_holds_for_its_answer_only() {
    let signed = answer().signed(&signer(1));
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Answer));
    let changes: [Change; 6] = [
        ("layer", &|answer| answer.layer = Blake3::of(b"evil")),
        ("index", &|answer| answer.index.digest = Sha256::of(b"evil")),
        ("size", &|answer| answer.contents[0].size = 9),
        ("type", &|answer| answer.contents[0].media_type = CONTENT_TYPES[1].into()),
        ("fewer", &|answer| answer.contents.clear()),
        ("signature", &|answer| answer.signatures[0].bytes[40] ^= 1),
    ];
    for (name, change) in changes {
        let mut changed = signed.clone();
        change(&mut changed);
        let read = Answer::from_manifest(&changed.to_manifest(), &changed.key, &trusting(1));
        assert!(matches!(read, Err(AnswerError::BadSignature { .. })), "{name}: {read:?}");
    }
    // The signature under another key, whose annotation was changed to fit.
    let other = Answer { key: key("other"), ..signed.clone() };
    let read = Answer::from_manifest(&other.to_manifest(), &other.key, &trusting(1));
    assert!(matches!(read, Err(AnswerError::BadSignature { .. })));
    // And one in the name of a key that did not make it.
    let mut forged = answer().signed(&signer(7));
    forged.signatures[0].by = signer(1).public().to_string();
    let read = Answer::from_manifest(&forged.to_manifest(), &forged.key, &trusting(1));
    assert!(matches!(read, Err(AnswerError::BadSignature { .. })));
}

#[test]
fn another_manifest_is_no_answer() {
    let good = answer().to_manifest();
    let asked = answer().key;
    let read = |manifest: &ImageManifest| Answer::from_manifest(manifest, &asked, &Trust::Everybody).unwrap_err();
    let moved = Answer { key: key("other"), ..answer() }.to_manifest();
    assert!(matches!(read(&moved), AnswerError::OtherKey { .. }));
    let changes: [&dyn Fn(&mut ImageManifest); 7] = [
        &|manifest| manifest.artifact_type = None,
        &|manifest| manifest.artifact_type = Some("application/x".into()),
        &|manifest| manifest.layers.clear(),
        &|manifest| manifest.layers.reverse(),
        &|manifest| manifest.layers[1].media_type = "text/plain".into(),
        &|manifest| manifest.layers.extend(vec![manifest.layers[1].clone(); CONTENTS_MAX]),
        &|manifest| {
            manifest.annotations.insert(LAYER_ANNOTATION.into(), "x".into());
        },
    ];
    for change in changes {
        let mut changed = good.clone();
        change(&mut changed);
        assert!(matches!(read(&changed), AnswerError::NotAnAnswer(_)), "{changed:?}");
    }
}

#[test]
fn keys_are_read_as_people_have_them() {
    let signer = signer(3);
    let public = signer.public();
    assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
    assert!(!format!("{signer:?}").contains(&hex::encode([3; 32])));
    for text in
        ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", &"0".repeat(63), &"z".repeat(64)]
    {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
        assert!(text.parse::<Signer>().is_err(), "{text}");
    }
    // The neutral element, for which a signature of zeros verifies under the plain rule.
    let weak = format!("01{}", "0".repeat(62));
    assert!(weak.parse::<PublicKey>().unwrap_err().to_string().contains("weak"));
}
