//! Who vouches for an answer: Ed25519 signatures (RFC 8032) over [`Answer::statement`].

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use super::{Answer, AnswerError};

/// What comes before the 32 bytes of a public key in DER (RFC 8410, section 4).
const PUBLIC_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What comes before the 32 bytes of a private key in DER (RFC 8410, section 7; version 0, without
/// the public key, which is how openssl writes it).
const PRIVATE_DER: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The largest text that may hold a key, in bytes.
const TEXT_MAX: usize = 4096;
/// The algorithm's name in a signature.
const ALGORITHM: &str = "ed25519";

/// A text that is not a key. It says nothing of the text, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read an Ed25519 {kind} key: {why}")]
pub struct KeyError {
    kind: &'static str,
    why: &'static str,
}

impl KeyError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("make one with: openssl genpkey -algorithm ed25519 -out cache.key; openssl pkey -in cache.key -pubout -out cache.pub".into())
    }
}

/// A public key: PEM as openssl writes it, or its 32 bytes in hexadecimal or base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let fail = |why| KeyError { kind: "public", why };
        let bytes = key_bytes(text, "PUBLIC KEY", &PUBLIC_DER).map_err(fail)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| fail("the bytes are not a point of the curve"))?;
        // Signatures by such a key verify for messages that were never signed.
        if key.is_weak() {
            return Err(fail("it is one of the weak ones"));
        }
        Ok(Self(key))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A private key: PEM (PKCS #8) as openssl writes it, or its 32 bytes in hexadecimal or base64.
pub struct Signer(SigningKey);

impl Signer {
    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, statement: &[u8]) -> Signature {
        let bytes = self.0.sign(statement).to_bytes();
        Signature { by: hex::encode(self.0.verifying_key().as_bytes()), bytes }
    }
}

impl FromStr for Signer {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = key_bytes(text, "PRIVATE KEY", &PRIVATE_DER);
        let bytes = bytes.map_err(|why| KeyError { kind: "private", why })?;
        Ok(Self(SigningKey::from_bytes(&bytes)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer(for {})", self.public())
    }
}

fn key_bytes(text: &str, label: &str, prefix: &[u8]) -> Result<[u8; 32], &'static str> {
    if text.len() > TEXT_MAX {
        return Err("the text is too long");
    }
    let text = text.trim();
    let own = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| "a key has 32 bytes");
    if text.starts_with("-----BEGIN") {
        let body = text.strip_prefix(format!("-----BEGIN {label}-----").as_str());
        let body = body.and_then(|rest| rest.split_once(format!("-----END {label}-----").as_str()));
        let (body, _) = body.ok_or("the PEM is of another kind")?;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).map_err(|_| "the PEM is damaged")?;
        let bytes = der.strip_prefix(prefix).ok_or("the PEM holds another kind of key")?;
        return own(bytes.to_vec());
    }
    if text.len() == 64 {
        return own(hex::decode(text).map_err(|_| "it is not hexadecimal")?);
    }
    own(STANDARD.decode(text).map_err(|_| "it is neither PEM, nor hexadecimal, nor base64")?)
}

/// A signature on an answer: `ed25519:PUBLIC-KEY-IN-HEXADECIMAL:SIGNATURE-IN-BASE64`. The public key
/// says only which of the trusted keys to try.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// The public key of who signed, 64 hexadecimal digits.
    pub(super) by: String,
    pub(super) bytes: [u8; 64],
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}:{}", self.by, STANDARD.encode(self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let fail = |why| KeyError { kind: "public", why };
        let mut parts = text.splitn(3, ':');
        let (algorithm, by, encoded) = (parts.next(), parts.next(), parts.next());
        if algorithm != Some(ALGORITHM) {
            return Err(fail("the signature is of another algorithm"));
        }
        let by = by.filter(|by| by.len() == 64 && by.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
        match (by, bytes) {
            (Some(by), Some(bytes)) => Ok(Self { by: by.to_owned(), bytes }),
            _ => Err(fail("the signature is damaged")),
        }
    }
}

/// Whom to believe that a key has an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Everybody who can write to the repository.
    Everybody,
    /// Who signed with one of these keys; with none of them, nobody.
    Keys(Vec<PublicKey>),
}

impl Trust {
    /// Whether an answer may be used: one good signature of a trusted key is needed, and a bad one
    /// in the name of a trusted key says that somebody tampered.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), AnswerError> {
        let Self::Keys(keys) = self else { return Ok(()) };
        if answer.signatures.is_empty() {
            return Err(AnswerError::Unsigned(answer.key));
        }
        let statement = answer.statement();
        let mut bad = None;
        for signature in &answer.signatures {
            let Some(key) = keys.iter().find(|key| key.to_string() == signature.by) else { continue };
            let found = ed25519_dalek::Signature::from_bytes(&signature.bytes);
            if key.0.verify_strict(&statement, &found).is_ok() {
                return Ok(());
            }
            bad = Some(signature.by.clone());
        }
        Err(match bad {
            Some(by) => AnswerError::BadSignature { key: answer.key, by },
            None => AnswerError::UnknownSigner(answer.key),
        })
    }
}
