//! A keyring: the certificates that belong to one repository.

use std::collections::{BTreeMap, BTreeSet};

use layers::Sha256;
use pgp::armor::BlockType;
use pgp::composed::{Deserializable as _, SignedPublicKey};

use super::certificate::Certificate;
use super::packets::Depth;
use super::{Error, Fingerprint, packets};

/// The largest keyring read, in bytes: Debian's has 60 thousand.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The largest number of certificates in a keyring.
const MAX_CERTIFICATES: usize = 256;

/// What an armored block of keys begins with (RFC 9580, section 6.2.1).
const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Certificates by the fingerprint of their primary key.
#[derive(Debug, Clone)]
pub struct Keyring {
    pub(super) certificates: BTreeMap<Fingerprint, Certificate>,
}

impl Keyring {
    /// Reads certificates, binary or armored, also several armored blocks one after the other.
    /// Parts that are not understood (kinds of keys from the future) are passed over.
    ///
    /// # Errors
    /// Too large, not OpenPGP, a secret key, or no certificate at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::Keyring(format!("it has {} bytes, more than the {MAX_BYTES} allowed", bytes.len())));
        }
        let mut keyring = Self { certificates: BTreeMap::new() };
        // Binary packets begin with a byte that has its high bit set (RFC 9580, section 4.2).
        let unsound = |error| match error {
            Error::Malformed(reason) => Error::Keyring(reason),
            other => other,
        };
        if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            packets::check(bytes, Depth::One).map_err(unsound)?;
            keyring.add(SignedPublicKey::from_bytes_many(bytes).map_err(malformed)?)?;
        } else {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Error::Keyring("it is neither binary nor armored OpenPGP".into()))?;
            if text.contains(&format!("-----BEGIN {}-----", BlockType::PrivateKey)) {
                return Err(Error::Keyring("it holds a secret key, which belongs nowhere near a build".into()));
            }
            packets::check_armored(bytes, Depth::One).map_err(unsound)?;
            let starts: Vec<usize> = text.match_indices(ARMOR).map(|(start, _)| start).collect();
            for (number, start) in starts.iter().enumerate() {
                let end = starts.get(number.saturating_add(1)).copied().unwrap_or(text.len());
                let block = text.get(*start..end).unwrap_or_default();
                let (keys, _) = SignedPublicKey::from_string_many(block).map_err(malformed)?;
                keyring.add(keys)?;
            }
        }
        if keyring.certificates.is_empty() {
            return Err(Error::Keyring("it holds no public key".into()));
        }
        Ok(keyring)
    }

    fn add(&mut self, keys: impl Iterator<Item = pgp::errors::Result<SignedPublicKey>>) -> Result<(), Error> {
        for key in keys {
            let certificate = Certificate::new(key.map_err(malformed)?);
            if self.certificates.len() >= MAX_CERTIFICATES {
                return Err(Error::Keyring(format!("it holds more than {MAX_CERTIFICATES} keys")));
            }
            // Two different copies of one key may differ in a revocation, and either might win.
            let fingerprint = certificate.fingerprint();
            if self.certificates.get(&fingerprint).is_some_and(|known| *known != certificate) {
                return Err(Error::Keyring(format!("it holds two different copies of the key {fingerprint}")));
            }
            self.certificates.insert(fingerprint, certificate);
        }
        Ok(())
    }

    /// Only the certificates with these fingerprints.
    ///
    /// # Errors
    /// [`Error::MissingKey`] when one of them is not there.
    pub fn pinned(mut self, fingerprints: &BTreeSet<String>) -> Result<Self, Error> {
        let wanted: BTreeSet<String> = fingerprints
            .iter()
            .map(|text| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase())
            .collect();
        for fingerprint in &wanted {
            if !self.certificates.keys().any(|known| known.as_str() == fingerprint) {
                return Err(Error::MissingKey(fingerprint.clone()));
            }
        }
        self.certificates.retain(|fingerprint, _| wanted.contains(fingerprint.as_str()));
        Ok(self)
    }

    /// Digest of all that the keyring says: keys, owners, self-signatures, revocations. The same
    /// whatever order the certificates were read in.
    pub fn digest(&self) -> Sha256 {
        // Certificates were parsed from bytes: they can be written again.
        let written = |certificate: &Certificate| certificate.to_bytes().unwrap_or_default();
        let bytes: Vec<u8> = self.certificates.values().flat_map(written).collect();
        Sha256::of(&bytes)
    }

    /// Fingerprints of the primary keys, sorted.
    pub fn fingerprints(&self) -> impl Iterator<Item = &Fingerprint> {
        self.certificates.keys()
    }
}

fn malformed(error: pgp::errors::Error) -> Error {
    Error::Keyring(error.to_string())
}
