//! Signatures and digests of package files: real ones by rpmsign and gpg, old and new forms, and what
//! attackers make of them. Real rpm says the same of those that it knows how to judge.

mod package_files;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use layers::Sha256;
use package_files::made_up::{self, Values, bin, longs, string, strings};
use package_files::{Gpg, build, run, spec, tools};
use pgp::composed::{Deserializable as _, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketHeader, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password, SigningKey as _, Tag, Timestamp};
use providers::rpm::file::{Error, Grounds, PayloadDigests};
use providers::rpm::{Unverified, Verified, extract, verify};
use providers::trust::{self, Keyring, UnixTime, Unusable};
use providers::unpack::Aliases;

const NEEDED: &[&str] = &["rpmbuild", "rpmsign", "rpmkeys", "gpg"];

/// Keys and packages that all tests share, made once.
struct Supply {
    _scratch: tempfile::TempDir,
    gpg: Gpg,
    /// RSA, for a year.
    rsa: String,
    /// Ed25519, with a signing subkey.
    ed25519: String,
    /// RSA too, of somebody else.
    other: String,
    unsigned: PathBuf,
    /// Signed by `rsa`.
    signed: PathBuf,
}

fn supply() -> Option<&'static Supply> {
    static SUPPLY: OnceLock<Option<Supply>> = OnceLock::new();
    let made = || {
        if !tools(NEEDED) {
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let install = "mkdir -p %{buildroot}/usr/bin\nseq 1 9999 > %{buildroot}/usr/bin/numbers";
        let [package] = &build(scratch.path(), &spec("signed", "", install, "/usr/bin/numbers"), &[])[..] else {
            panic!()
        };
        let gpg = Gpg::new(&scratch.path().join("gpg"));
        let rsa = gpg.key("rsa@example.org", "rsa2048", "sign", "1y");
        let ed25519 = gpg.key("ed25519@example.org", "ed25519", "cert", "never");
        run(gpg.command().args(["--quick-add-key", &ed25519, "ed25519", "sign", "never"]));
        let other = gpg.key("other@example.org", "rsa2048", "sign", "never");
        let signed = scratch.path().join("signed.rpm");
        std::fs::copy(package, &signed).unwrap();
        gpg.sign_packages(&rsa, &[&signed], &[]);
        Some(Supply { gpg, rsa, ed25519, other, unsigned: package.clone(), signed, _scratch: scratch })
    };
    SUPPLY.get_or_init(made).as_ref()
}

fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(since.as_secs().try_into().unwrap())
}

impl Supply {
    fn keyring(&self, keys: &[&str]) -> Keyring {
        Keyring::parse(&keys.iter().flat_map(|key| self.gpg.public(key)).collect::<Vec<_>>()).unwrap()
    }

    /// What real rpm says of a package, with one key in its database.
    fn rpm_agrees(&self, package: &Path, key: &str) -> bool {
        let scratch = tempfile::tempdir().unwrap();
        let (file, database) = (scratch.path().join("key"), scratch.path().join("db"));
        let armored = run(self.gpg.command().args(["--armor", "--export", key])).stdout;
        std::fs::write(&file, armored).unwrap();
        let keys = |more: &[&str]| {
            let mut command = Command::new("rpmkeys");
            command.arg("--dbpath").arg(&database).args(["--define", "_pkgverify_level all"]).args(more);
            command
        };
        run(keys(&["--import"]).arg(&file));
        let output = keys(&["-v", "--checksig"]).arg(package).output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output.status.success()
    }
}

/// The parts of a package.
struct Parts {
    signature: Values,
    main: Vec<u8>,
    payload: Vec<u8>,
}

impl Parts {
    fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let package = Unverified::open(path).unwrap().accept(Sha256::of(&bytes)).unwrap();
        let main = [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0], package.header().raw()].concat();
        let start = bytes.windows(main.len()).position(|window| window == main).unwrap();
        let payload = bytes[start + main.len()..].to_vec();
        Self { signature: Values::of(package.signature_header()), main, payload }
    }

    fn write(&self, directory: &Path) -> PathBuf {
        made_up::write(directory, &made_up::package(&self.signature, &self.main, &self.payload))
    }

    /// Header digest and sizes as they have to be.
    fn mended(mut self) -> Self {
        let fresh = made_up::signature_header(&self.main, &self.payload);
        self.signature =
            fresh.0.iter().fold(self.signature.without(&[269, 1004]), |all, (tag, value)| all.set(*tag, value.clone()));
        self
    }

    fn judged(&self, keyring: &Keyring) -> Result<Verified, Error> {
        let scratch = tempfile::tempdir().unwrap();
        verify(&self.write(scratch.path()), keyring, now())
    }
}

fn reason(error: Error) -> String {
    use std::error::Error as _;
    format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
}

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

fn encoded(supply: &Supply, bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new_in(&supply.gpg.home).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    package_files::text(&run(Command::new("base64").arg("-w0").arg(file.path())))
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
