//! What arithmetic is strong enough, and what a signature may contain.

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SubpacketData};
use pgp::types::{KeyDetails, PublicParams};
use rsa_bits::modulus_bits;

use super::{UnixTime, Unusable};

/// The smallest RSA modulus, in bits (NIST SP 800-131A revision 2, section 3).
const MIN_RSA_BITS: usize = 2048;

/// How far a date may lie ahead of this machine's clock, in seconds: clocks are never quite equal.
pub(crate) const CLOCK_TOLERANCE: i64 = 10;

mod rsa_bits {
    use pgp::ser::Serialize as _;
    use pgp::types::RsaPublicParams;

    /// Bits of the modulus: the first two bytes of its multiprecision integer (RFC 9580, section
    /// 3.2), with which the serialised parameters begin.
    pub(super) fn modulus_bits(params: &RsaPublicParams) -> usize {
        match params.to_bytes() {
            Ok(bytes) => match bytes.as_slice() {
                [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                _ => 0,
            },
            Err(_) => 0,
        }
    }
}

/// Whether a key is of a strong kind and size.
pub(super) fn key_strength(key: &impl KeyDetails) -> Result<(), Unusable> {
    match key.public_params() {
        PublicParams::RSA(params) => match modulus_bits(params) {
            bits if bits < MIN_RSA_BITS => Err(Unusable::Weak(format!("RSA with {bits} bits"))),
            _ => Ok(()),
        },
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        PublicParams::DSA(_) => Err(Unusable::Weak("DSA".into())),
        _ => Err(Unusable::NotForSigning),
    }
}

/// Whether a signature's digest is strong.
pub(super) fn hash_strength(signature: &Signature) -> Result<(), Unusable> {
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => Ok(()),
        Some(other) => Err(Unusable::Weak(other.to_string())),
        None => Err(Unusable::Unknown),
    }
}

/// Whether every critical part of a signature is one that is understood (RFC 9580, 5.2.3.7).
pub(super) fn understood(signature: &Signature) -> Result<(), Unusable> {
    let Some(config) = signature.config() else { return Err(Unusable::Unknown) };
    let strange = config.hashed_subpackets().any(|subpacket| {
        subpacket.is_critical
            && matches!(
                subpacket.data,
                SubpacketData::Experimental(..)
                    | SubpacketData::Other(..)
                    | SubpacketData::Notation(_)
                    | SubpacketData::RegularExpression(_)
                    | SubpacketData::SignatureTarget(..)
            )
    });
    if strange { Err(Unusable::Unknown) } else { Ok(()) }
}

/// When a signature was made.
pub(super) fn created(signature: &Signature) -> Result<UnixTime, Unusable> {
    signature.created().map(|time| UnixTime(i64::from(time.as_secs()))).ok_or(Unusable::Unknown)
}

/// Whether a signature counts at a time: made, and not yet expired.
pub(super) fn in_force(signature: &Signature, now: UnixTime) -> Result<UnixTime, Unusable> {
    let made = created(signature)?;
    if made.0 > now.0.saturating_add(CLOCK_TOLERANCE) {
        return Err(Unusable::FromTheFuture(made));
    }
    if let Some(end) = end(made, signature.signature_expiration_time())
        && end <= now
    {
        return Err(Unusable::SignatureExpired(end));
    }
    Ok(made)
}

/// The end of a period that begins at `start`; zero and absent mean for ever (RFC 9580, 5.2.3.13).
pub(super) fn end(start: UnixTime, period: Option<pgp::types::Duration>) -> Option<UnixTime> {
    match period.map(|period| period.as_secs()) {
        None | Some(0) => None,
        Some(seconds) => Some(UnixTime(start.0.saturating_add(i64::from(seconds)))),
    }
}
