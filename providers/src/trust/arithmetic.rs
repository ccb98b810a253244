//! The arithmetic of signatures, done once in a process: a keyring judges hundreds of packages, and
//! what its keys say about themselves is looked at each time. Whether numbers fit is no question of
//! time or trust, so only that is remembered; who may sign, and until when, is judged anew.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::errors::Result;
use pgp::ser::Serialize;
use pgp::types::{Fingerprint, KeyDetails, KeyId, KeyVersion, PublicParams, SignatureBytes, Timestamp, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Most results that are remembered; of 32 bytes each.
const MAX_REMEMBERED: usize = 1 << 16;

/// Digests of key, hash and signature, for signatures that are right.
static RIGHT: Mutex<Option<HashSet<[u8; 32]>>> = Mutex::new(None);

/// A key that remembers which signatures it has found to be its own.
#[derive(Debug)]
pub(super) struct Remembering<'k, K>(pub(super) &'k K);

impl<K: VerifyingKey + Serialize> VerifyingKey for Remembering<'_, K> {
    fn verify(&self, hash: HashAlgorithm, data: &[u8], signature: &SignatureBytes) -> Result<()> {
        let question = question(self.0, hash, data, signature)?;
        let mut right = RIGHT.lock().unwrap_or_else(PoisonError::into_inner);
        if right.as_ref().is_some_and(|right| right.contains(&question)) {
            return Ok(());
        }
        drop(right);
        self.0.verify(hash, data, signature)?;
        right = RIGHT.lock().unwrap_or_else(PoisonError::into_inner);
        let right = right.get_or_insert_default();
        if right.len() < MAX_REMEMBERED {
            right.insert(question);
        }
        Ok(())
    }
}

/// All that the answer depends on, each part with its length; the key with all of its numbers.
fn question(
    key: &(impl KeyDetails + Serialize),
    hash: HashAlgorithm,
    data: &[u8],
    signature: &SignatureBytes,
) -> Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let kind = [u8::from(key.version()), u8::from(key.algorithm()), u8::from(hash)];
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    [&kind[..], &key.to_bytes()?, data].into_iter().for_each(&mut add);
    match signature {
        SignatureBytes::Mpis(numbers) => numbers.iter().for_each(|number| add(number.as_ref())),
        SignatureBytes::Native(bytes) => {
            add(b"native");
            add(bytes);
        }
    }
    Ok(hasher.finalize().into())
}

impl<K: KeyDetails> KeyDetails for Remembering<'_, K> {
    fn version(&self) -> KeyVersion {
        self.0.version()
    }

    fn legacy_key_id(&self) -> KeyId {
        self.0.legacy_key_id()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    fn algorithm(&self) -> PublicKeyAlgorithm {
        self.0.algorithm()
    }

    fn created_at(&self) -> Timestamp {
        self.0.created_at()
    }

    fn legacy_v3_expiration_days(&self) -> Option<u16> {
        self.0.legacy_v3_expiration_days()
    }

    fn public_params(&self) -> &PublicParams {
        self.0.public_params()
    }
}

impl<K: Serialize> Serialize for Remembering<'_, K> {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> Result<()> {
        self.0.to_writer(writer)
    }

    fn write_len(&self) -> usize {
        self.0.write_len()
    }
}
