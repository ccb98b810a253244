//! One certificate: a primary key, what it says about itself, and its subkeys. Which of its keys
//! may sign, and until when, follows from self-signatures, each of which is verified.

use std::io::Read;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Tag};

use super::arithmetic::Remembering;
use super::policy::{created, end, hash_strength, in_force, key_strength, understood};
use super::{Fingerprint, UnixTime, Unusable};

/// A certificate of a keyring.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Certificate {
    key: SignedPublicKey,
}

/// A key of a certificate that a signature may be by.
pub(super) enum Candidate<'a> {
    Primary(&'a Certificate),
    Subkey(&'a Certificate, &'a SignedPublicSubKey),
}

impl Certificate {
    pub(super) fn new(key: SignedPublicKey) -> Self {
        Self { key }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.key.primary_key)
    }

    pub(super) fn to_bytes(&self) -> pgp::errors::Result<Vec<u8>> {
        self.key.to_bytes()
    }

    /// The primary key and the subkeys.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        std::iter::once(Candidate::Primary(self))
            .chain(self.key.public_subkeys.iter().map(|subkey| Candidate::Subkey(self, subkey)))
    }

    /// The self-signature that is in force for the primary key, which must be neither revoked nor
    /// expired.
    fn valid_primary(&self, now: UnixTime) -> Result<&Signature, Unusable> {
        let primary = &Remembering(&self.key.primary_key);
        key_strength(&self.key.primary_key)?;
        let details = &self.key.details;
        // A revocation counts whatever its hash and date: in doubt, against the key.
        if details.revocation_signatures.iter().any(|revocation| revocation.verify_key(primary).is_ok()) {
            return Err(Unusable::KeyRevoked);
        }
        let direct = newest(&details.direct_signatures, now, |signature| {
            signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
        });
        let mut certified: Option<(UnixTime, &Signature)> = None;
        for user in &details.users {
            let proven = |signature: &Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
            let Some((made, signature)) =
                newest(&user.signatures, now, |signature| signature.is_certification() && proven(signature))
            else {
                continue;
            };
            let revoked = user.signatures.iter().any(|revocation| {
                revocation.typ() == Some(SignatureType::CertRevocation)
                    && created(revocation).is_ok_and(|when| when >= made)
                    && proven(revocation)
            });
            if !revoked && certified.is_none_or(|(other, _)| made > other) {
                certified = Some((made, signature));
            }
        }
        // Each kind may limit the key's life; the shorter limit counts.
        let born = UnixTime(i64::from(primary.created_at().as_secs()));
        let ends = [direct, certified].into_iter().flatten();
        let ends = ends.filter_map(|(_, signature)| end(born, signature.key_expiration_time())).min();
        if let Some(end) = ends
            && end <= now
        {
            return Err(Unusable::KeyExpired(end));
        }
        certified.or(direct).map(|(_, signature)| signature).ok_or_else(|| self.weakness())
    }

    /// Why no self-signature counts, as far as it can be told.
    fn weakness(&self) -> Unusable {
        let certifications = self.key.details.users.iter().flat_map(|user| &user.signatures);
        match certifications.filter_map(|signature| hash_strength(signature).err()).next() {
            Some(Unusable::Weak(hash)) => Unusable::Weak(format!("{hash} to bind itself to its owner")),
            _ => Unusable::NotForSigning,
        }
    }

    fn primary_may_sign(&self, now: UnixTime) -> Result<(), Unusable> {
        let binding = self.valid_primary(now)?;
        // Keys from before key flags existed may do whatever their arithmetic can.
        if has_flags(binding) && !binding.key_flags().sign() { Err(Unusable::NotForSigning) } else { Ok(()) }
    }

    fn subkey_may_sign(&self, subkey: &SignedPublicSubKey, now: UnixTime) -> Result<(), Unusable> {
        self.valid_primary(now)?;
        key_strength(&subkey.key)?;
        let primary = &Remembering(&self.key.primary_key);
        let proven = |signature: &Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
        let of_type = |signature: &Signature, wanted| signature.typ() == Some(wanted);
        if subkey.signatures.iter().any(|s| of_type(s, SignatureType::SubkeyRevocation) && proven(s)) {
            return Err(Unusable::KeyRevoked);
        }
        let (_, binding) = newest(&subkey.signatures, now, |s| of_type(s, SignatureType::SubkeyBinding) && proven(s))
            .ok_or(Unusable::NotForSigning)?;
        let born = UnixTime(i64::from(subkey.key.created_at().as_secs()));
        if let Some(end) = end(born, binding.key_expiration_time())
            && end <= now
        {
            return Err(Unusable::KeyExpired(end));
        }
        if !binding.key_flags().sign() {
            return Err(Unusable::NotForSigning);
        }
        // The subkey must agree, or anyone could adopt another's signing key (RFC 9580, 5.2.1.9).
        let back = binding.embedded_signature().ok_or(Unusable::NotForSigning)?;
        hash_strength(back)?;
        if back.verify_primary_key_binding(&Remembering(&subkey.key), primary).is_err() {
            return Err(Unusable::NotForSigning);
        }
        Ok(())
    }
}

impl Candidate<'_> {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Primary(certificate) => certificate.fingerprint(),
            Self::Subkey(_, subkey) => Fingerprint::of(&subkey.key),
        }
    }

    /// Whether a signature says that it is by this key. Only a hint: the arithmetic decides.
    pub(super) fn is_named_by(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match self {
            Self::Primary(certificate) => {
                let key = &certificate.key.primary_key;
                (key.fingerprint(), key.legacy_key_id())
            }
            Self::Subkey(_, subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
        };
        signature.issuer_fingerprint().contains(&&fingerprint) || signature.issuer_key_id().contains(&&id)
    }

    /// Whether the signature over `data` is by this key, as far as arithmetic goes.
    pub(super) fn made(&self, signature: &Signature, data: impl Read) -> bool {
        match self {
            Self::Primary(certificate) => signature.verify(&Remembering(&certificate.key.primary_key), data).is_ok(),
            Self::Subkey(_, subkey) => signature.verify(&Remembering(&subkey.key), data).is_ok(),
        }
    }

    /// Whether this key may sign at `now`, and what it signed counts.
    pub(super) fn counts(&self, signature: &Signature, now: UnixTime) -> Result<(), Unusable> {
        hash_strength(signature)?;
        understood(signature)?;
        let made = in_force(signature, now)?;
        let born = match self {
            Self::Primary(certificate) => {
                certificate.primary_may_sign(now)?;
                certificate.key.primary_key.created_at()
            }
            Self::Subkey(certificate, subkey) => {
                certificate.subkey_may_sign(subkey, now)?;
                subkey.key.created_at()
            }
        };
        if made.0 < i64::from(born.as_secs()) { Err(Unusable::NotForSigning) } else { Ok(()) }
    }
}

/// The newest of the signatures that are strong, understood, in force, and proven.
fn newest(
    signatures: &[Signature],
    now: UnixTime,
    proven: impl Fn(&Signature) -> bool,
) -> Option<(UnixTime, &Signature)> {
    let mut best: Option<(UnixTime, &Signature)> = None;
    for signature in signatures {
        let Ok(made) = in_force(signature, now) else { continue };
        if hash_strength(signature).is_err() || understood(signature).is_err() {
            continue;
        }
        if best.is_none_or(|(other, _)| made > other) && proven(signature) {
            best = Some((made, signature));
        }
    }
    best
}

fn has_flags(signature: &Signature) -> bool {
    signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    })
}
