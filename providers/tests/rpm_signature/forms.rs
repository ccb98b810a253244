//! Old and new forms of signatures and packages, made here where no tool of today makes them.

use pgp::composed::{Deserializable as _, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketHeader, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password, SigningKey as _, Tag, Timestamp};
use providers::rpm::file::{Error, Grounds};
use providers::trust::{self, Keyring};

use crate::package_files::made_up::{self, Values, bin, longs, string, strings};
use crate::package_files::run;
use crate::supply::{Parts, Supply, encoded, now, supply};

/// A version 3 signature, as rpm made them for decades (RFC 4880, section 5.2.2).
fn version_3(supply: &Supply, key: &str, bytes: &[u8]) -> Vec<u8> {
    let secret = run(supply.gpg.command().args(["--export-secret-keys", key])).stdout;
    let secret = SignedSecretKey::from_bytes(&secret[..]).unwrap();
    let made = Timestamp::from_secs(u32::try_from(now().0).unwrap());
    let signed = [bytes, &[0], &made.as_secs().to_be_bytes()].concat();
    let digest = HashAlgorithm::Sha256.digest(&signed).unwrap();
    let arithmetic = secret.primary_key.sign(&Password::empty(), HashAlgorithm::Sha256, &digest).unwrap();
    let header = |length| PacketHeader::new_fixed(Tag::Signature, length);
    let packet = |header| {
        Signature::v3(
            header,
            SignatureType::Binary,
            secret.primary_key.algorithm(),
            HashAlgorithm::Sha256,
            made,
            secret.primary_key.legacy_key_id(),
            [digest[0], digest[1]],
            arithmetic.clone(),
        )
    };
    let length = packet(header(0)).to_bytes().unwrap().len();
    let mut written = Vec::new();
    Packet::from(packet(header(u32::try_from(length).unwrap()))).to_writer(&mut written).unwrap();
    written
}

#[test]
fn version_3_signatures_are_read() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa]);
    let mut parts = Parts::of(&supply.unsigned);
    let signature = version_3(supply, &supply.rsa, &parts.main);
    assert!(signature.contains(&3));
    parts.signature = parts.signature.set(268, bin(&signature));
    parts.judged(&keyring).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert!(supply.rpm_agrees(&parts.write(scratch.path()), &supply.rsa));
    parts.signature = parts.signature.set(268, bin(&version_3(supply, &supply.rsa, b"another text")));
    assert!(matches!(parts.judged(&keyring), Err(Error::Untrusted { source: trust::Error::Bad { .. }, .. })));
    assert!(!supply.rpm_agrees(&parts.write(scratch.path()), &supply.rsa));
}

/// Format 6: signatures in base64 under one tag, other digests, a size within the header.
#[test]
fn packages_of_format_6_are_read() {
    let Some(supply) = supply() else { return };
    let keyring = supply.keyring(&[&supply.rsa, &supply.ed25519]);
    let old = Parts::of(&supply.unsigned);
    let digest = |algorithm: HashAlgorithm, bytes: &[u8]| hex::encode(algorithm.digest(bytes).unwrap());
    let make = |payload_512: &[u8], header_3: Option<&str>, signed: &dyn Fn(&[u8]) -> Vec<String>| {
        let main = Values::of(&providers::rpm::Header::parse(&old.main).unwrap())
            .without(&[5093, 5097])
            .set(5112, longs(&[old.payload.len() as u64]))
            .set(5114, made_up::words(&[6]))
            .set(5121, string(&digest(HashAlgorithm::Sha512, payload_512)))
            .set(5123, string(&digest(HashAlgorithm::Sha3_256, &old.payload)))
            .bytes(63);
        let header_3 = header_3.map_or_else(|| digest(HashAlgorithm::Sha3_256, &main), Into::into);
        let signature = Values::default()
            .set(273, string(&made_up::sha256(&main)))
            .set(279, string(&header_3))
            .set(278, strings(&signed(&main)))
            .set(999, bin(&[0; 64]));
        Parts { signature, main, payload: old.payload.clone() }.judged(&keyring)
    };
    let sign = |key: &str, bytes: &[u8]| encoded(supply, &supply.gpg.sign(key, bytes, &[]));
    let by_rsa = |bytes: &[u8]| vec![sign(&supply.rsa, bytes)];
    make(&old.payload, None, &by_rsa).unwrap();
    let package =
        make(&old.payload, None, &|bytes| vec![sign(&supply.rsa, bytes), sign(&supply.ed25519, bytes)]).unwrap();
    assert!(matches!(package.grounds(), Grounds::Signed(keys) if keys.len() == 2));
    // One by somebody unknown does no harm, one that is wrong does.
    make(&old.payload, None, &|bytes| vec![sign(&supply.rsa, bytes), sign(&supply.other, bytes)]).unwrap();
    assert!(make(&old.payload, None, &|bytes| vec![sign(&supply.rsa, bytes), sign(&supply.ed25519, b"x")]).is_err());
    assert!(make(&old.payload, None, &|bytes| vec![sign(&supply.other, bytes)]).is_err());
    assert!(make(&old.payload, None, &|_| vec!["!".into()]).is_err());
    assert!(make(&old.payload, None, &|_| vec![String::new()]).is_err());
    assert!(make(b"other", None, &by_rsa).is_err());
    assert!(make(&old.payload, Some(&"0".repeat(64)), &by_rsa).is_err());
}

/// The version 6 key that RFC 9580 has as an example (appendix A.4); Ed25519.
const KEY_6: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----

xUsGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laMAGXKB
exK+cH6NX1hs5hNhIB00TrJmosgv3mg1ditlsLfCsQYfGwoAAABCBYJjh3/jAwsJ
BwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lwgyU2kCcUmKfvBXbAf6rh
RYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaEQsiPlR4zxP/TP7mhfVEe
7XWPxtnMUMtf15OyA51YBMdLBmOHf+MZAAAAIIaTJINn+eUBXbki+PSAld2nhJh/
LVmFsS+60WyvXkQ1AE1gCk95TUR3XFeibg/u/tVY6a//1q0NWC1X+yui3O24wpsG
GBsKAAAALAWCY4d/4wKbDCIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJAAAAAAQBIKbpGG2dWTX8j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUWtnNwDE
M0g12vYxoWM8Y81W+bHBw805I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUr
k0mXubZvyl4GBg==
-----END PGP PRIVATE KEY BLOCK-----";

/// A version 6 signature, which gpg of today does not make (RFC 9580, section 5.2.3).
fn version_6(secret: &SignedSecretKey, bytes: &[u8]) -> Vec<u8> {
    let made = Timestamp::from_secs(u32::try_from(now().0).unwrap());
    let algorithm = secret.primary_key.algorithm();
    let mut config =
        SignatureConfig::v6_with_salt(SignatureType::Binary, algorithm, HashAlgorithm::Sha512, vec![7; 32]);
    config.hashed_subpackets =
        [SubpacketData::SignatureCreationTime(made), SubpacketData::IssuerFingerprint(secret.fingerprint())]
            .map(|data| Subpacket::regular(data).unwrap())
            .into();
    let signature = config.sign(&secret.primary_key, &Password::empty(), bytes).unwrap();
    let mut written = Vec::new();
    Packet::from(signature).to_writer(&mut written).unwrap();
    written
}

#[test]
fn version_6_signatures_are_read() {
    let Some(supply) = supply() else { return };
    let (secret, _) = SignedSecretKey::from_string(KEY_6).unwrap();
    let keyring = Keyring::parse(&secret.to_public_key().to_bytes().unwrap()).unwrap();
    let mut parts = Parts::of(&supply.unsigned);
    let base64 = |bytes: &[u8]| encoded(supply, bytes);
    parts.signature = parts.signature.set(278, strings(&[base64(&version_6(&secret, &parts.main))]));
    let package = parts.judged(&keyring).unwrap();
    let Grounds::Signed(signers) = package.grounds() else { panic!() };
    assert_eq!(signers[0].as_str().len(), 64);
    parts.signature = parts.signature.set(278, strings(&[base64(&version_6(&secret, b"another text"))]));
    assert!(matches!(parts.judged(&keyring), Err(Error::Untrusted { source: trust::Error::Bad { .. }, .. })));
}
