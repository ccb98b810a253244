//! Signatures made by gpg, good and bad, judged by our policy.

use providers::trust::{Error, Keyring, UnixTime, Unusable};

use crate::referee::{Gpg, have, now};

const TEXT: &str = "Origin: Test\nSuite: test\n- a line that begins with a dash\ntrailing space \n\nlast line\n";

fn keyring(gpg: &Gpg, names: &[&str]) -> Keyring {
    Keyring::parse(&gpg.export(names)).unwrap()
}

fn reason(error: Error) -> Unusable {
    match error {
        Error::Unusable { mut reasons } => reasons.pop().unwrap().1,
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn a_good_inline_signature_gives_the_text_and_nothing_else() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let key = gpg.key("alice", "ed25519", "2y", &[]);
    let signed = gpg.clearsign("alice", TEXT, &[]);
    let verified = keyring(&gpg, &["alice"]).verify_inline(&signed, now()).unwrap();
    // Spaces at the ends of lines are not signed (RFC 9580, section 7.2), so they do not come back.
    assert_eq!(verified.text, TEXT.replace("space \n", "space\n"));
    assert_eq!(verified.signers[0].as_str(), key);
}

#[test]
fn what_stands_around_the_signed_text_is_refused() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "ed25519", "2y", &[]);
    let signed = String::from_utf8(gpg.clearsign("alice", TEXT, &[])).unwrap();
    let keys = keyring(&gpg, &[]);
    let before = format!("Suite: evil\n\n{signed}");
    let after = format!("{signed}\nSuite: evil\n");
    let header = signed.replacen("Hash: ", "Suite: evil\nHash: ", 1);
    let twice = format!("{signed}{signed}");
    for text in [before, after, header, twice] {
        let error = keys.verify_inline(text.as_bytes(), now()).unwrap_err();
        assert!(matches!(error, Error::Malformed(_)), "{error}");
    }
}

#[test]
fn one_changed_byte_is_an_altered_text_for_us_and_for_gpgv() {
    if !have("gpg") || !have("gpgv") {
        return;
    }
    let gpg = Gpg::new();
    let key = gpg.key("alice", "ed25519", "2y", &[]);
    let signed = gpg.clearsign("alice", TEXT, &[]);
    let altered = String::from_utf8(signed.clone()).unwrap().replace("Suite: test", "Suite: tesT").into_bytes();
    let armored = gpg.export(&["alice"]);
    assert!(gpg.gpgv_accepts(&armored, &signed));
    assert!(!gpg.gpgv_accepts(&armored, &altered));
    match keyring(&gpg, &[]).verify_inline(&altered, now()).unwrap_err() {
        Error::Bad { key: named } => assert_eq!(named.as_str(), key),
        other => panic!("unexpected: {other}"),
    }
}

#[test]
fn detached_signatures_armored_and_binary() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "rsa3072", "2y", &[]);
    let keys = keyring(&gpg, &[]);
    for args in [&["--armor", "--detach-sign"][..], &["--detach-sign"], &["--textmode", "--detach-sign"]] {
        let signature = gpg.run(args, TEXT.as_bytes());
        assert_eq!(keys.verify_detached(TEXT.as_bytes(), &signature, now()).unwrap().text, TEXT);
        let altered = TEXT.replace("last", "lost");
        assert!(matches!(keys.verify_detached(altered.as_bytes(), &signature, now()), Err(Error::Bad { .. })));
        let cut = &signature[..signature.len() / 2];
        assert!(keys.verify_detached(TEXT.as_bytes(), cut, now()).is_err());
        assert!(keys.verify_detached(TEXT.as_bytes(), b"", now()).is_err());
    }
}

#[test]
fn an_unknown_signer_is_named() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "ed25519", "2y", &[]);
    let mallory = gpg.key("mallory", "ed25519", "2y", &[]);
    let signed = gpg.clearsign("mallory", TEXT, &[]);
    let error = keyring(&gpg, &["alice"]).verify_inline(&signed, now()).unwrap_err();
    assert!(matches!(&error, Error::UnknownSigner { .. }));
    assert!(error.to_string().contains(&mallory), "{error}");
}

#[test]
fn one_good_signature_is_enough_beside_unknown_ones_but_not_beside_a_bad_one() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "ed25519", "2y", &[]);
    gpg.key("bob", "ed25519", "2y", &[]);
    let both = gpg.clearsign("alice", TEXT, &["--local-user", "bob"]);
    assert_eq!(keyring(&gpg, &["alice"]).verify_inline(&both, now()).unwrap().signers.len(), 1);
    assert_eq!(keyring(&gpg, &[]).verify_inline(&both, now()).unwrap().signers.len(), 2);
    // A genuine signature of bob's over another text, put beside alice's genuine one.
    let good = gpg.run(&["--local-user", "alice", "--detach-sign"], TEXT.as_bytes());
    let bad = gpg.run(&["--local-user", "bob", "--detach-sign"], b"another text");
    let mixed = [good, bad].concat();
    assert!(matches!(keyring(&gpg, &[]).verify_detached(TEXT.as_bytes(), &mixed, now()), Err(Error::Bad { .. })));
    assert!(keyring(&gpg, &["alice"]).verify_detached(TEXT.as_bytes(), &mixed, now()).is_ok());
}

#[test]
fn an_expired_key_signs_nothing() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let past = ["--faked-system-time", "20200101T000000"];
    gpg.key("alice", "ed25519", "1y", &past);
    let signed = gpg.clearsign("alice", TEXT, &past);
    let keys = keyring(&gpg, &[]);
    assert!(matches!(reason(keys.verify_inline(&signed, now()).unwrap_err()), Unusable::KeyExpired(_)));
    // The same bytes were good while the key was.
    assert!(keys.verify_inline(&signed, UnixTime(1_580_000_000)).is_ok());
    assert!(matches!(
        reason(keys.verify_inline(&signed, UnixTime(1_570_000_000)).unwrap_err()),
        Unusable::FromTheFuture(_)
    ));
}

#[test]
fn a_longer_life_given_later_counts() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let past = ["--faked-system-time", "20200101T000000"];
    let key = gpg.key("alice", "ed25519", "1y", &past);
    gpg.run(&["--faked-system-time", "20200601T000000", "--quick-set-expire", &key, "20y"], b"");
    let signed = gpg.clearsign("alice", TEXT, &[]);
    assert!(keyring(&gpg, &[]).verify_inline(&signed, now()).is_ok());
}

#[test]
fn a_revoked_key_signs_nothing() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let key = gpg.key("alice", "ed25519", "2y", &[]);
    let signed = gpg.clearsign("alice", TEXT, &[]);
    assert!(keyring(&gpg, &[]).verify_inline(&signed, now()).is_ok());
    let file = gpg.home().join(format!("openpgp-revocs.d/{key}.rev"));
    let certificate = std::fs::read_to_string(file).unwrap().replace(":-----BEGIN", "-----BEGIN");
    gpg.run(&["--import"], certificate.as_bytes());
    assert_eq!(reason(keyring(&gpg, &[]).verify_inline(&signed, now()).unwrap_err()), Unusable::KeyRevoked);
}

#[test]
fn a_signature_has_an_end_of_its_own() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "ed25519", "0", &["--faked-system-time", "20200101T000000"]);
    let signed =
        gpg.clearsign("alice", TEXT, &["--faked-system-time", "20200102T000000", "--default-sig-expire", "10d"]);
    let keys = keyring(&gpg, &[]);
    assert!(matches!(reason(keys.verify_inline(&signed, now()).unwrap_err()), Unusable::SignatureExpired(_)));
    assert!(keys.verify_inline(&signed, UnixTime(1_578_000_000)).is_ok());
}

#[test]
fn sha1_and_short_rsa_keys_are_too_weak() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "rsa3072", "2y", &[]);
    gpg.key("bob", "rsa1024", "2y", &[]);
    let keys = keyring(&gpg, &[]);
    let sha1 = gpg.clearsign("alice", TEXT, &["--digest-algo", "SHA1"]);
    assert_eq!(reason(keys.verify_inline(&sha1, now()).unwrap_err()), Unusable::Weak("SHA1".into()));
    let short = gpg.clearsign("bob", TEXT, &["--digest-algo", "SHA512"]);
    assert_eq!(reason(keys.verify_inline(&short, now()).unwrap_err()), Unusable::Weak("RSA with 1024 bits".into()));
    let good = gpg.clearsign("alice", TEXT, &["--digest-algo", "SHA512"]);
    assert!(keys.verify_inline(&good, now()).is_ok());
}

#[test]
fn a_key_bound_to_its_owner_by_sha1_is_too_weak() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    gpg.key("alice", "rsa3072", "2y", &["--cert-digest-algo", "SHA1"]);
    let signed = gpg.clearsign("alice", TEXT, &[]);
    let error = keyring(&gpg, &[]).verify_inline(&signed, now()).unwrap_err();
    assert_eq!(reason(error), Unusable::Weak("SHA1 to bind itself to its owner".into()));
}

#[test]
fn signing_subkeys_count_until_they_are_revoked() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let key = gpg.key("alice", "ed25519", "2y", &[]);
    gpg.run(&["--quick-add-key", &key, "ed25519", "sign", "1y"], b"");
    let signed = gpg.clearsign("alice", TEXT, &[]);
    let verified = keyring(&gpg, &[]).verify_inline(&signed, now()).unwrap();
    assert_ne!(verified.signers[0].as_str(), key, "gpg prefers the newest subkey");
    let commands = b"key 1\nrevkey\ny\n0\n\ny\nsave\n";
    gpg.run(&["--command-fd", "0", "--no-batch", "--no-tty", "--edit-key", &key], commands);
    assert_eq!(reason(keyring(&gpg, &[]).verify_inline(&signed, now()).unwrap_err()), Unusable::KeyRevoked);
}

#[test]
fn a_signing_subkey_adopted_from_someone_else_is_not_believed() {
    if !have("gpg") {
        return;
    }
    // Mallory's certificate with alice's subkey packet and its binding put behind it.
    let gpg = Gpg::new();
    let alice = gpg.key("alice", "ed25519", "2y", &[]);
    gpg.run(&["--quick-add-key", &alice, "ed25519", "sign", "1y"], b"");
    gpg.key("mallory", "ed25519", "2y", &[]);
    let signed = gpg.clearsign("alice", TEXT, &[]);
    let full = gpg.run(&["--export", "alice@example.org"], b"");
    let subkey_at = last_subkey(&full);
    let mut forged = gpg.run(&["--export", "mallory@example.org"], b"");
    forged.extend_from_slice(&full[subkey_at..]);
    let keys = Keyring::parse(&forged).unwrap();
    assert_eq!(reason(keys.verify_inline(&signed, now()).unwrap_err()), Unusable::NotForSigning);
    // The control: alice's own certificate, cut and put together at the same place, is good.
    let mut genuine = full[..subkey_at].to_vec();
    genuine.extend_from_slice(&full[subkey_at..]);
    assert!(Keyring::parse(&genuine).unwrap().verify_inline(&signed, now()).is_ok());
}

/// Offset of the last public subkey packet (tag 14) in old-format packets, as gpg writes them.
fn last_subkey(bytes: &[u8]) -> usize {
    let (mut at, mut found) = (0, None);
    while at < bytes.len() {
        let head = bytes[at];
        assert_eq!(head & 0xc0, 0x80, "an old-format packet");
        let (length, header) = match head & 3 {
            0 => (usize::from(bytes[at + 1]), 2),
            1 => (usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]])), 3),
            _ => panic!("a packet too long for a test"),
        };
        if (head >> 2) & 0xf == 14 {
            found = Some(at);
        }
        at += header + length;
    }
    found.unwrap()
}

#[test]
fn keyrings_come_in_several_forms() {
    if !have("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let alice = gpg.key("alice", "ed25519", "2y", &[]);
    let bob = gpg.key("bob", "ed25519", "2y", &[]);
    let joined = [gpg.export(&["alice"]), b"\nsome words in between\n".to_vec(), gpg.export(&["bob"])].concat();
    let binary = gpg.run(&["--export"], b"");
    for bytes in [joined, binary, gpg.export(&[])] {
        let keyring = Keyring::parse(&bytes).unwrap();
        let mut found: Vec<_> = keyring.fingerprints().map(|fingerprint| fingerprint.as_str().to_owned()).collect();
        found.sort();
        let mut wanted = vec![alice.clone(), bob.clone()];
        wanted.sort();
        assert_eq!(found, wanted);
        let pinned = keyring.clone().pinned(&[alice.to_lowercase()].into()).unwrap();
        assert_eq!(pinned.fingerprints().count(), 1);
        assert!(matches!(keyring.pinned(&["00".repeat(20)].into()), Err(Error::MissingKey(_))));
    }
    let old = gpg.export(&["alice"]);
    gpg.run(&["--quick-set-expire", &alice, "5y"], b"");
    let copies = [old.clone(), gpg.export(&["alice"])].concat();
    assert!(Keyring::parse(&copies).unwrap_err().to_string().contains("two different copies"));
    assert!(Keyring::parse(&[old.clone(), old].concat()).is_ok());
    let secret = gpg.run(&["--armor", "--export-secret-keys"], b"");
    assert!(Keyring::parse(&secret).unwrap_err().to_string().contains("secret key"));
    for bytes in [&b""[..], b"<html>log in</html>", &[0x99; 100], &[0xff; 100]] {
        assert!(matches!(Keyring::parse(bytes), Err(Error::Keyring(_))));
    }
}
