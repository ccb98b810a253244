//! What attackers make of signed packages, and what is known of a payload already.

use std::path::Path;

use layers::Sha256;
use providers::rpm::file::{Error, PayloadDigests};
use providers::rpm::{Unverified, extract, verify};
use providers::trust::{self, Keyring};
use providers::unpack::Aliases;

use crate::package_files::made_up::{self, Values, bin, string};
use crate::supply::{Parts, now, reason, supply};

#[test]
fn altered_packages_are_refused() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let parts = || Parts::of(&supply.signed);
    parts().judged(&keyring).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert!(supply.rpm_agrees(&parts().write(scratch.path()), &supply.rsa), "unaltered, put together again");
    let altered = |what: &str, parts: Parts| {
        let scratch = tempfile::tempdir().unwrap();
        let path = parts.write(scratch.path());
        let error = verify(&path, &keyring, now()).map(drop).expect_err(what);
        assert!(!supply.rpm_agrees(&path, &supply.rsa), "{what}");
        assert!(matches!(error, Error::Altered { .. } | Error::Untrusted { .. }), "{what}: {error}");
    };
    let flip = |bytes: &mut Vec<u8>, text: &[u8]| {
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[at] ^= 1;
    };
    let mut header = parts();
    flip(&mut header.main, b"/usr/bin/\0");
    altered("a header", header);
    // Who alters the header mends its digests as well: the signature tells.
    let mut header = parts();
    flip(&mut header.main, b"A package\0");
    altered("a header, mended", header.mended());
    let mut payload = parts();
    let middle = payload.payload.len() / 2;
    payload.payload[middle] ^= 1;
    altered("a payload", payload);
    let mut payload = parts();
    payload.payload[middle] ^= 1;
    altered("a payload, mended", payload.mended());
    // Another package's payload, as long as this one's.
    let mut swapped = parts();
    swapped.payload.reverse();
    altered("another's payload", swapped.mended());
    let mut swapped = parts();
    swapped.main = Parts::of(&supply.unsigned).main;
    swapped.main.reverse();
    swapped.main = made_up::main_header(&[], &swapped.payload).bytes(63);
    altered("another's header", swapped.mended());
    // Digests that nothing signs count as well.
    for (tag, value) in [(269, string(&"0".repeat(40))), (273, string(&"0".repeat(64))), (1004, bin(&[0; 16]))] {
        let mut wrong = parts();
        wrong.signature = wrong.signature.set(tag, value);
        altered(&format!("digest {tag}"), wrong);
    }
    let mut wrong = parts();
    wrong.signature = wrong.signature.set(279, string(&"0".repeat(64)));
    assert!(wrong.judged(&keyring).is_err(), "the SHA3-256 of the header, which rpm 4.18 does not know");
}

#[test]
fn packages_cut_short_or_made_longer_are_refused() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let bytes = std::fs::read(&supply.signed).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for length in [0, 1, 95, 96, 100, 112, 500, bytes.len() / 2, bytes.len() - 1] {
        let path = made_up::write(scratch.path(), &bytes[..length]);
        let error = verify(&path, &keyring, now()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    let path = made_up::write(scratch.path(), &[&bytes[..], b"x"].concat());
    assert!(verify(&path, &keyring, now()).is_err());
    // Its size is not signed, so an attacker takes it out.
    let mut parts = Parts::of(&supply.signed);
    parts.payload.push(0);
    parts.signature = parts.signature.without(&[1000, 1004]);
    assert!(matches!(parts.judged(&keyring), Err(Error::Altered { .. })));
}

#[test]
fn a_signature_has_to_reach_the_payload() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let parts = Parts::of(&supply.unsigned);
    let header = Values::of(&providers::rpm::Header::parse(&parts.main).unwrap());
    let sign = |bytes: &[u8]| bin(&supply.gpg.sign(&supply.rsa, bytes, &[]));
    // As before rpm 4.14: no digest of the payload.
    let main = header.without(&[5092, 5093, 5097]).bytes(63);
    let old = Parts { signature: Values::default(), main, payload: parts.payload.clone() }.mended();
    let mut only_header =
        Parts { signature: old.signature.clone().set(268, sign(&old.main)), ..Parts::of(&supply.unsigned) };
    only_header.main = old.main.clone();
    let error = only_header.judged(&keyring).unwrap_err();
    assert!(reason(error).contains("does not cover its payload"));
    // One over both is enough, and finds out what happens to either.
    let both = [&old.main[..], &old.payload].concat();
    let mut whole = Parts { signature: old.signature.clone().set(1002, sign(&both)), ..only_header };
    whole.judged(&keyring).unwrap();
    let last = whole.payload.len() - 1;
    whole.payload[last] ^= 1;
    assert!(matches!(whole.mended().judged(&keyring), Err(Error::Untrusted { source: trust::Error::Bad { .. }, .. })));
}

#[test]
fn what_is_known_of_a_payload_spares_reading_it_and_nothing_else() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let known = verify(&supply.signed, &keyring, now()).unwrap().payload_digests();
    assert_eq!(PayloadDigests::read(&known.write()), Some(known));
    for broken in ["", "payload 1", "payload 2 00 covered\n", &known.write().replace("covered", "maybe")] {
        assert_eq!(PayloadDigests::read(broken), None, "{broken}");
    }
    let judged = |package: &Path, keyring: &Keyring| {
        let opened = Unverified::open(package).unwrap();
        opened.verify_known(keyring, now(), Some(known))
    };
    let scratch = tempfile::tempdir().unwrap();
    extract(&judged(&supply.signed, &keyring).unwrap(), scratch.path(), &Aliases::merged_usr()).unwrap();
    // Keys are judged as ever.
    let error = judged(&supply.signed, &supply.keyring(&[&supply.other])).unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    // What was not read is found out when it is unpacked.
    let mut altered = Parts::of(&supply.signed);
    let middle = altered.payload.len() / 2;
    altered.payload[middle] ^= 1;
    let altered = altered.write(scratch.path());
    let error = verify(&altered, &keyring, now()).unwrap_err();
    assert!(matches!(error, Error::Altered { .. }), "{error}");
    let tree = tempfile::tempdir().unwrap();
    extract(&judged(&altered, &keyring).unwrap(), tree.path(), &Aliases::merged_usr()).unwrap_err();
    // A note about another payload than the one that is signed says nothing.
    let other = PayloadDigests { sha256: Sha256::of(b"other"), ..known };
    let opened = Unverified::open(&altered).unwrap();
    let error = opened.verify_known(&keyring, now(), Some(other)).unwrap_err();
    assert!(matches!(error, Error::Altered { .. }), "{error}");
}

/// The file that was verified is the one that is extracted, whatever the path leads to by then.
#[test]
fn what_was_verified_is_what_is_extracted() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let scratch = tempfile::tempdir().unwrap();
    let (path, out) = (scratch.path().join("x.rpm"), scratch.path().join("out"));
    std::fs::copy(&supply.signed, &path).unwrap();
    let package = verify(&path, &keyring, now()).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "something else").unwrap();
    std::fs::create_dir(&out).unwrap();
    extract(&package, &out, &Aliases::default()).unwrap();
    // Written over in place, it is found out.
    let bytes = std::fs::read(&supply.signed).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let package = verify(&path, &keyring, now()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let at = bytes.len() as u64 - 1;
    std::os::unix::fs::FileExt::write_all_at(&file, &[bytes[bytes.len() - 1] ^ 1], at).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::create_dir(&out).unwrap();
    assert!(extract(&package, &out, &Aliases::default()).is_err());
}
