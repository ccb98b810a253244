//! Signed texts: one with its signature around it, and one with its signature beside it.

use std::io::{self, Read};

use pgp::composed::{CleartextSignedMessage, Deserializable as _, DetachedSignature};
use pgp::packet::{Signature, SignatureType};

use super::certificate::Candidate;
use super::{Error, Fingerprint, Keyring, UnixTime};

/// The largest number of signatures looked at: each costs some arithmetic.
const MAX_SIGNATURES: usize = 32;

/// A text that a key of the keyring has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The signed text and nothing else, lines ending in a line feed, the last one too.
    pub text: String,
    /// The keys whose signatures count, sorted.
    pub signers: Vec<Fingerprint>,
}

impl Keyring {
    /// Verifies a text in the cleartext signature framework (RFC 9580, section 7), such as
    /// `InRelease`.
    ///
    /// # Errors
    /// Anything around the signed text, an altered text, or no signature that counts.
    pub fn verify_inline(&self, bytes: &[u8], now: UnixTime) -> Result<Verified, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed("it is not text".into()))?;
        let (message, _) =
            CleartextSignedMessage::from_string(text).map_err(|error| Error::Malformed(error.to_string()))?;
        let signed = message.signed_text();
        let signatures: Vec<&Signature> = message.signatures().iter().collect();
        let signers = self.judge(&signatures, &|| Ok(signed.as_bytes()), &[SignatureType::Text], now)?;
        // What is given back is made from the very bytes that were hashed. The framework leaves
        // the last line's end out of the signature.
        let mut text = signed.replace("\r\n", "\n");
        text.push('\n');
        Ok(Verified { text, signers })
    }

    /// Verifies a text against detached signatures, armored or binary, such as `Release` and
    /// `Release.gpg`.
    ///
    /// # Errors
    /// An altered text, or no signature that counts.
    pub fn verify_detached(&self, text: &[u8], signature: &[u8], now: UnixTime) -> Result<Verified, Error> {
        let fail = |error: pgp::errors::Error| Error::Malformed(error.to_string());
        let parsed: Vec<DetachedSignature> = if signature.first().is_some_and(|first| first & 0x80 != 0) {
            DetachedSignature::from_bytes_many(signature).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?
        } else {
            let armored =
                std::str::from_utf8(signature).map_err(|_| Error::Malformed("the signature is not text".into()))?;
            let (signatures, _) = DetachedSignature::from_string_many(armored).map_err(fail)?;
            signatures.collect::<Result<_, _>>().map_err(fail)?
        };
        let signatures: Vec<&Signature> = parsed.iter().map(|detached| &detached.signature).collect();
        let signers = self.judge(&signatures, &|| Ok(text), &[SignatureType::Binary, SignatureType::Text], now)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| Error::Malformed("it is not text".into()))?;
        Ok(Verified { text, signers })
    }

    /// Verifies bytes against binary signatures of them (RFC 9580, section 5.2.1.1), of which each
    /// is one packet, of version 3, 4 or 6; gives the keys whose signatures count, sorted. `data`
    /// gives the bytes anew for each signature.
    ///
    /// # Errors
    /// Altered bytes, one signature that is wrong, or none that counts.
    pub fn verify_bytes<R: Read>(
        &self,
        data: &dyn Fn() -> io::Result<R>,
        signatures: &[&[u8]],
        now: UnixTime,
    ) -> Result<Vec<Fingerprint>, Error> {
        let fail = |error: pgp::errors::Error| Error::Malformed(error.to_string());
        let mut parsed: Vec<Signature> = Vec::new();
        for packet in signatures.iter().take(MAX_SIGNATURES.saturating_add(1)) {
            if packet.first().is_none_or(|first| first & 0x80 == 0) {
                return Err(Error::Malformed("it is not an OpenPGP packet".into()));
            }
            let mut packets = DetachedSignature::from_bytes_many(*packet).map_err(fail)?;
            let (Some(signature), None) = (packets.next(), packets.next()) else {
                return Err(Error::Malformed("it is not one packet".into()));
            };
            parsed.push(signature.map_err(fail)?.signature);
        }
        let signatures: Vec<&Signature> = parsed.iter().collect();
        self.judge(&signatures, data, &[SignatureType::Binary], now)
    }

    /// One signature that counts is enough (a distribution signs with its old and its new key), but
    /// one that is wrong is too much.
    fn judge<R: Read>(
        &self,
        signatures: &[&Signature],
        data: &dyn Fn() -> io::Result<R>,
        kinds: &[SignatureType],
        now: UnixTime,
    ) -> Result<Vec<Fingerprint>, Error> {
        if signatures.len() > MAX_SIGNATURES {
            return Err(Error::Malformed(format!("it has more than {MAX_SIGNATURES} signatures")));
        }
        let mut good = Vec::new();
        let mut unusable = Vec::new();
        let mut unknown = Vec::new();
        for signature in signatures {
            if !signature.typ().is_some_and(|kind| kinds.contains(&kind)) {
                unknown.push("of another kind".to_owned());
                continue;
            }
            let named: Vec<_> = self
                .certificates
                .values()
                .flat_map(|certificate| certificate.candidates())
                .filter(|candidate| candidate.is_named_by(signature))
                .collect();
            let Some(first) = named.first() else {
                unknown.push(issuer(signature));
                continue;
            };
            // Short key ids may collide, so each key that is named gets its chance.
            let made = |candidate: &&Candidate<'_>| data().is_ok_and(|data| candidate.made(signature, data));
            let Some(signer) = named.iter().find(|candidate| made(candidate)) else {
                return Err(Error::Bad { key: first.fingerprint() });
            };
            match signer.counts(signature, now) {
                Ok(()) => good.push(signer.fingerprint()),
                Err(why) => unusable.push((signer.fingerprint(), why)),
            }
        }
        if !good.is_empty() {
            good.sort();
            good.dedup();
            Ok(good)
        } else if !unusable.is_empty() {
            Err(Error::Unusable { reasons: unusable })
        } else {
            Err(Error::UnknownSigner { signers: unknown })
        }
    }
}

/// The name that a signature gives for its maker.
fn issuer(signature: &Signature) -> String {
    let by_fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| fingerprint.to_string());
    let by_id = || signature.issuer_key_id().first().map(|id| id.to_string());
    by_fingerprint.or_else(by_id).map_or_else(|| "without a name".into(), |name| name.to_ascii_uppercase())
}
