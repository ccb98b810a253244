//! Whose signature counts: keys that are known, unknown, expired, revoked or weak.

use layers::Sha256;
use providers::rpm::file::{Error, Grounds};
use providers::rpm::{Unverified, extract, verify};
use providers::trust::{self, Keyring, UnixTime, Unusable};
use providers::unpack::Aliases;

use crate::package_files::made_up::bin;
use crate::package_files::{Gpg, run};
use crate::supply::{Parts, now, reason, supply};

#[test]
fn a_signed_package_is_verified_and_extracted() {
    let Some(supply) = supply() else { return };
    let package = verify(&supply.signed, &supply.keyring(&[&supply.rsa]), now()).unwrap();
    let Grounds::Signed(signers) = package.grounds() else { panic!() };
    assert_eq!(signers.iter().map(|key| key.as_str()).collect::<Vec<_>>(), [&supply.rsa]);
    let scratch = tempfile::tempdir().unwrap();
    let payload = extract(&package, scratch.path(), &Aliases::merged_usr()).unwrap();
    assert_eq!(payload.entries.len(), 3);
    assert!(supply.rpm_agrees(&supply.signed, &supply.rsa));
}

#[test]
fn an_unsigned_package_is_refused() {
    let Some(supply) = supply() else { return };
    let error = verify(&supply.unsigned, &supply.keyring(&[&supply.rsa]), now()).unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error}");
    assert!(!supply.rpm_agrees(&supply.unsigned, &supply.rsa));
    // Trusted metadata may vouch for it, byte for byte.
    let bytes = std::fs::read(&supply.unsigned).unwrap();
    assert!(Unverified::open(&supply.unsigned).unwrap().accept(Sha256::of(&bytes)).is_ok());
    let error = Unverified::open(&supply.unsigned).unwrap().accept(Sha256::of(b"other")).unwrap_err();
    assert!(matches!(error, Error::Altered { .. }), "{error}");
}

#[test]
fn an_unknown_key_is_refused() {
    let Some(supply) = supply() else { return };
    let error = verify(&supply.signed, &supply.keyring(&[&supply.other]), now()).unwrap_err();
    assert!(matches!(error, Error::Untrusted { source: trust::Error::UnknownSigner { .. }, .. }), "{}", reason(error));
    assert!(!supply.rpm_agrees(&supply.signed, &supply.other));
}

#[test]
fn an_expired_key_is_refused() {
    let Some(supply) = supply() else { return };
    let later = UnixTime(now().0 + 2 * 365 * 86_400);
    let error = verify(&supply.signed, &supply.keyring(&[&supply.rsa]), later).unwrap_err();
    let Error::Untrusted { source: trust::Error::Unusable { reasons }, .. } = &error else {
        panic!("{}", reason(error))
    };
    assert!(matches!(reasons[0].1, Unusable::KeyExpired(_)));
    let earlier = UnixTime(now().0 - 86_400);
    assert!(verify(&supply.signed, &supply.keyring(&[&supply.rsa]), earlier).is_err());
}

#[test]
fn a_revoked_key_is_refused() {
    let Some(supply) = supply() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let gpg = Gpg::new(&scratch.path().join("gpg"));
    let key = gpg.key("revoked@example.org", "ed25519", "sign", "never");
    let package = scratch.path().join("x.rpm");
    std::fs::copy(&supply.unsigned, &package).unwrap();
    gpg.sign_packages(&key, &[&package], &[]);
    let before = Keyring::parse(&gpg.public(&key)).unwrap();
    verify(&package, &before, now()).unwrap();
    // gpg leaves the certificate beside its keys, with a colon against mistakes.
    let ready = gpg.home.join(format!("openpgp-revocs.d/{key}.rev"));
    let certificate = std::fs::read_to_string(&ready).unwrap().replace(":-----BEGIN", "-----BEGIN");
    std::fs::write(&ready, certificate).unwrap();
    run(gpg.command().arg("--import").arg(&ready));
    let error = verify(&package, &Keyring::parse(&gpg.public(&key)).unwrap(), now()).unwrap_err();
    let Error::Untrusted { source: trust::Error::Unusable { reasons }, .. } = &error else {
        panic!("{}", reason(error))
    };
    assert_eq!(reasons[0].1, Unusable::KeyRevoked);
}

#[test]
fn a_subkey_of_another_kind_signs() {
    let Some(supply) = supply() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let package = scratch.path().join("x.rpm");
    std::fs::copy(&supply.unsigned, &package).unwrap();
    supply.gpg.sign_packages(&supply.ed25519, &[&package], &[]);
    let verified = verify(&package, &supply.keyring(&[&supply.ed25519]), now()).unwrap();
    let Grounds::Signed(signers) = verified.grounds() else { panic!() };
    assert_ne!(signers[0].as_str(), supply.ed25519, "the subkey signs, not the primary key");
    assert!(supply.rpm_agrees(&package, &supply.ed25519));
}

#[test]
fn weak_hashes_are_refused() {
    let Some(supply) = supply() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let package = scratch.path().join("x.rpm");
    std::fs::copy(&supply.unsigned, &package).unwrap();
    let parts = Parts::of(&package);
    let keyring = supply.keyring(&[&supply.rsa]);
    let with = |hash: &str| {
        let signature =
            supply.gpg.sign(&supply.rsa, &parts.main, &["--digest-algo", hash, "--allow-weak-digest-algos"]);
        let signature = parts.signature.clone().set(268, bin(&signature));
        Parts { signature, main: parts.main.clone(), payload: parts.payload.clone() }.judged(&keyring)
    };
    with("SHA256").unwrap();
    with("SHA512").unwrap();
    let error = with("SHA1").unwrap_err();
    let Error::Untrusted { source: trust::Error::Unusable { reasons }, .. } = &error else {
        panic!("{}", reason(error))
    };
    assert!(matches!(reasons[0].1, Unusable::Weak(_)));
}
