//! Whether a package is genuine: OpenPGP signatures over its header, or over header and payload
//! (rpm, docs/manual/signatures_digests.md).
//!
//! Either a key of the repository's keyring signed the header, and the header states a strong digest
//! of the payload, or such a key signed both together, as before rpm 4.14. Whatever other digests and
//! signatures by known keys are there must be right as well.

use std::path::Path;

use layers::Sha256;

use super::file::{Error, Grounds, PayloadDigests, Unverified, Verified};
use super::header::tag;
use crate::trust::{self, Fingerprint, Keyring, UnixTime};

/// Most signatures looked at in one package.
const SIGNATURES_MAX: usize = 16;
/// Longest signature in base64 that is looked at, in bytes: RSA of 4096 bits takes some 800, and
/// those of the future some thousands.
const ENCODED_BYTES_MAX: usize = 256 * 1024;

/// Opens and verifies a package: the digests of its header and payload, and its signatures against a
/// keyring at a time.
///
/// # Errors
/// As [`Unverified::open`] and [`Unverified::verify`].
pub fn verify(path: &Path, keyring: &Keyring, now: UnixTime) -> Result<Verified, Error> {
    Unverified::open(path)?.verify(keyring, now)
}

impl Unverified {
    /// Verifies the package's digests, and its signatures against a keyring at a time. The payload is
    /// read once, twice where it was signed together with the header.
    ///
    /// # Errors
    /// [`Error::Altered`] for a digest that is wrong, [`Error::Unsigned`], and [`Error::Untrusted`]
    /// for signatures that are wrong, by others, expired, revoked or weak, or do not cover the
    /// payload.
    pub fn verify(self, keyring: &Keyring, now: UnixTime) -> Result<Verified, Error> {
        self.verify_known(keyring, now, None)
    }

    /// As [`Unverified::verify`], of a file whose payload's digests were checked before, and whose own
    /// digest is the same as then: the payload is not read again, unless a signature is over it.
    /// Signatures are judged as ever, and unpacking holds the payload to `known`.
    ///
    /// # Errors
    /// As [`Unverified::verify`].
    pub fn verify_known(
        self,
        keyring: &Keyring,
        now: UnixTime,
        known: Option<PayloadDigests>,
    ) -> Result<Verified, Error> {
        self.check_header_digests()?;
        let of_header = self.header_signatures()?;
        let of_both = self.whole_signatures();
        if of_header.is_empty() && of_both.is_empty() {
            return Err(Error::Unsigned { path: self.path().into() });
        }
        let signers = self.judge(&of_header, &of_both, keyring, now)?;
        let known = known.filter(|known| self.states(known));
        let payload = known.map_or_else(|| self.check_payload_digests(), Ok)?;
        let (Signers { header, whole }, covered) = (signers, payload.covered);
        let mut counted = whole;
        if covered {
            counted.extend(header);
        }
        if counted.is_empty() {
            return Err(self.failure().altered("its signature does not cover its payload, nor does a strong digest"));
        }
        counted.sort();
        counted.dedup();
        Ok(self.verified(Grounds::Signed(counted), payload))
    }

    /// Takes the package because it has the digest that trusted metadata gave: for repositories whose
    /// metadata is signed and whose packages are not. Its own digests must be right all the same.
    ///
    /// # Errors
    /// [`Error::Altered`] for a digest that is wrong.
    pub fn accept(self, expected: Sha256) -> Result<Verified, Error> {
        if self.file_digest()? != expected {
            return Err(self.failure().altered("its SHA-256 is not the one that the repository states"));
        }
        self.check_header_digests()?;
        let payload = self.check_payload_digests()?;
        Ok(self.verified(Grounds::Digest(expected), payload))
    }

    /// The signatures of the header alone.
    fn header_signatures(&self) -> Result<Vec<Vec<u8>>, Error> {
        let signature = self.signature_header();
        let mut found: Vec<Vec<u8>> = Vec::new();
        for tag in [tag::RSAHEADER, tag::DSAHEADER] {
            found.extend(signature.bin(tag).map(<[u8]>::to_vec));
        }
        if signature.count(tag::OPENPGP) > SIGNATURES_MAX {
            return Err(self.failure().damaged(format!("it has more than {SIGNATURES_MAX} signatures")));
        }
        for text in signature.string_list(tag::OPENPGP).into_iter().flatten() {
            let decoded = decode_base64(text).filter(|bytes| !bytes.is_empty());
            let decoded = decoded.ok_or_else(|| self.failure().damaged("a signature in it is not base64"))?;
            // The older tags repeat what the newer one has.
            if !found.contains(&decoded) {
                found.push(decoded);
            }
        }
        Ok(found)
    }

    /// The signatures of header and payload together.
    fn whole_signatures(&self) -> Vec<&[u8]> {
        let tags = [tag::signature::PGP, tag::signature::GPG];
        tags.into_iter().filter_map(|tag| self.signature_header().bin(tag)).collect()
    }

    fn judge(
        &self,
        of_header: &[Vec<u8>],
        of_both: &[&[u8]],
        keyring: &Keyring,
        now: UnixTime,
    ) -> Result<Signers, Error> {
        let untrusted = |source: trust::Error| Error::Untrusted { path: self.path().into(), source };
        let mut signers = Signers::default();
        let mut excuse = None;
        let of_header: Vec<&[u8]> = of_header.iter().map(Vec::as_slice).collect();
        let judged = [
            (!of_header.is_empty()).then(|| keyring.verify_bytes(&|| Ok(self.header_bytes()), &of_header, now)),
            (!of_both.is_empty()).then(|| keyring.verify_bytes(&|| Ok(self.whole()), of_both, now)),
        ];
        let [header, whole] = judged;
        for (judged, counted) in [(header, &mut signers.header), (whole, &mut signers.whole)] {
            match judged {
                None => {}
                Some(Ok(keys)) => *counted = keys,
                // One that is wrong is too much, whatever the others say.
                Some(Err(error @ (trust::Error::Bad { .. } | trust::Error::Malformed(_)))) => {
                    return Err(untrusted(error));
                }
                Some(Err(error)) => excuse = Some(error),
            }
        }
        match excuse {
            Some(error) if signers.header.is_empty() && signers.whole.is_empty() => Err(untrusted(error)),
            _ => Ok(signers),
        }
    }
}

/// Who signed what.
#[derive(Default)]
struct Signers {
    header: Vec<Fingerprint>,
    whole: Vec<Fingerprint>,
}

/// Base64 (RFC 4648, section 4), with or without line ends; `None` for anything else.
pub(super) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > ENCODED_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits, mut digits, mut padding) = (0u32, 0u32, 0usize, 0usize);
    for &byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding = padding.saturating_add(1);
                continue;
            }
            b'\n' | b'\r' | b' ' => continue,
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        digits = digits.saturating_add(1);
        held = (held << 6 | u32::from(digit)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    let whole = match digits % 4 {
        0 => padding == 0,
        2 | 3 => padding == 4 - digits % 4,
        _ => false,
    };
    (whole && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_or_refused() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmFy", "foobar")] {
            assert_eq!(decode_base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Z!==", "====", "Zm9v="] {
            assert!(decode_base64(text.as_bytes()).is_none(), "{text}");
        }
    }
}
