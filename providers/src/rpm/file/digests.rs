//! The digests in a package: of its header, of its payload, and of both.

use std::io::{self, Read};

use layers::Sha256;
use pgp::crypto::hash::HashAlgorithm;
use sha1::digest::DynDigest;
use sha2::Digest as _;

use super::{BUFFER_BYTES, Error, Unverified};
use crate::rpm::header::{Tag, tag};

/// A digest that is computed, and what it has to be.
struct Wanted {
    what: &'static str,
    is: Vec<u8>,
    hasher: Box<dyn DynDigest + Send>,
}

/// What became known of the payload of a file whose every digest is right. It follows from the
/// file's bytes alone, so it may be kept for as long as the file is known by its digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadDigests {
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Whether the header states a strong digest of it, so that whoever signs the header signs the
    /// payload.
    pub covered: bool,
}

/// What a note of [`PayloadDigests`] begins with; another number whenever more is checked.
const NOTE: &str = "payload 1";

impl PayloadDigests {
    /// One line of text.
    pub fn write(&self) -> String {
        format!("{NOTE} {} {}\n", self.sha256.to_hex(), if self.covered { "covered" } else { "bare" })
    }

    /// Reads what [`PayloadDigests::write`] wrote; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(NOTE)?.strip_prefix(' ')?.strip_suffix('\n')?;
        let (digest, covered) = rest.split_once(' ')?;
        let covered = match covered {
            "covered" => true,
            "bare" => false,
            _ => return None,
        };
        Some(Self { sha256: digest.parse().ok()?, covered })
    }
}

impl Wanted {
    fn new(what: &'static str, algorithm: HashAlgorithm, is: Vec<u8>) -> Result<Self, String> {
        let hasher = algorithm.new_hasher().map_err(|_| format!("{what} is of a kind that is not known"))?;
        match is.len() == hasher.output_size() {
            true => Ok(Self { what, is, hasher }),
            false => Err(format!("{what} has {} bytes, not {}", is.len(), hasher.output_size())),
        }
    }

    fn check(mut self) -> Result<(), String> {
        let digest = self.hasher.finalize_reset();
        self.compare(&digest)
    }

    fn compare(&self, digest: &[u8]) -> Result<(), String> {
        match *digest == *self.is {
            true => Ok(()),
            false => Err(format!("{} is not the one that it states; it was altered or damaged", self.what)),
        }
    }
}

/// The hash that a number stands for in headers: OpenPGP's numbers (RFC 9580, section 9.5). MD5 is
/// what `FILEDIGESTALGO` and its like mean where they are missing.
pub(in crate::rpm) fn algorithm(number: u32) -> Option<HashAlgorithm> {
    match number {
        1 => Some(HashAlgorithm::Md5),
        2 => Some(HashAlgorithm::Sha1),
        8 => Some(HashAlgorithm::Sha256),
        9 => Some(HashAlgorithm::Sha384),
        10 => Some(HashAlgorithm::Sha512),
        11 => Some(HashAlgorithm::Sha224),
        12 => Some(HashAlgorithm::Sha3_256),
        14 => Some(HashAlgorithm::Sha3_512),
        _ => None,
    }
}

impl Unverified {
    /// Checks every digest of the header that the signature header has.
    pub(in crate::rpm) fn check_header_digests(&self) -> Result<(), Error> {
        let stated = [
            (tag::SHA1HEADER, HashAlgorithm::Sha1, "the SHA-1 of its header"),
            (tag::SHA256HEADER, HashAlgorithm::Sha256, "the SHA-256 of its header"),
            (tag::SHA3_256HEADER, HashAlgorithm::Sha3_256, "the SHA3-256 of its header"),
        ];
        for (tag, algorithm, what) in stated {
            let Some(text) = self.signature.string(tag) else { continue };
            let mut wanted = self.wanted(what, algorithm, text)?;
            feed(self.header_bytes(), |part| wanted.hasher.update(part)).map_err(self.failure().io("read"))?;
            wanted.check().map_err(|reason| self.failure().altered(reason))?;
        }
        Ok(())
    }

    fn wanted(&self, what: &'static str, algorithm: HashAlgorithm, text: &str) -> Result<Wanted, Error> {
        let is = hex::decode(text).map_err(|_| self.failure().damaged(format!("{what} is no digest")))?;
        Wanted::new(what, algorithm, is).map_err(|reason| self.failure().damaged(reason))
    }

    /// Reads the payload and checks every digest of it: those in the header, and the MD5 over header
    /// and payload.
    pub(in crate::rpm) fn check_payload_digests(&self) -> Result<PayloadDigests, Error> {
        let mut wanted = Vec::new();
        let first = |tag: Tag| self.header.string(tag);
        let mut covered = false;
        // The usual digest is computed anyway.
        let mut usual = None;
        if let Some(text) = first(tag::PAYLOADSHA256) {
            // The name says SHA-256; the tag beside it may say otherwise.
            let number = self.header.u32(tag::PAYLOADSHA256ALGO).unwrap_or(8);
            let kind = algorithm(number).filter(|_| matches!(number, 8..=10 | 12 | 14));
            let kind =
                kind.ok_or_else(|| self.failure().damaged("the digest of its payload is of a weak or unknown kind"))?;
            let digest = self.wanted("the digest of its payload", kind, text)?;
            match kind {
                HashAlgorithm::Sha256 => usual = Some(digest),
                _ => wanted.push(digest),
            }
            covered = true;
        }
        for (tag, algorithm, what) in [
            (tag::PAYLOADSHA512, HashAlgorithm::Sha512, "the SHA-512 of its payload"),
            (tag::PAYLOADSHA3_256, HashAlgorithm::Sha3_256, "the SHA3-256 of its payload"),
        ] {
            if let Some(text) = first(tag) {
                wanted.push(self.wanted(what, algorithm, text)?);
                covered = true;
            }
        }
        if let Some(is) = self.signature.bin(tag::signature::MD5) {
            let mut md5 = Wanted::new("the MD5 of header and payload", HashAlgorithm::Md5, is.to_vec())
                .map_err(|reason| self.failure().damaged(reason))?;
            feed(self.header_bytes(), |part| md5.hasher.update(part)).map_err(self.failure().io("read"))?;
            wanted.push(md5);
        }
        let mut sha256 = sha2::Sha256::new();
        feed(self.part(self.payload_start), |part| {
            sha256.update(part);
            wanted.iter_mut().for_each(|wanted| wanted.hasher.update(part));
        })
        .map_err(self.failure().io("read"))?;
        let sha256 = Sha256(sha256.finalize().into());
        let usual = usual.map(|usual| usual.compare(&sha256.0));
        for result in usual.into_iter().chain(wanted.into_iter().map(Wanted::check)) {
            result.map_err(|reason| self.failure().altered(reason))?;
        }
        Ok(PayloadDigests { sha256, covered })
    }

    /// Whether what was noted agrees with the header: with the digest that it states, if it states one of
    /// that kind, and with whether it states any.
    pub(in crate::rpm) fn states(&self, payload: &PayloadDigests) -> bool {
        let usual = self.header.u32(tag::PAYLOADSHA256ALGO).is_none_or(|number| number == 8);
        let stated = self.header.string(tag::PAYLOADSHA256).filter(|_| usual);
        let kinds = [tag::PAYLOADSHA256, tag::PAYLOADSHA512, tag::PAYLOADSHA3_256];
        payload.covered == kinds.into_iter().any(|kind| self.header.string(kind).is_some())
            && stated.is_none_or(|stated| stated.eq_ignore_ascii_case(&payload.sha256.to_hex()))
    }

    /// SHA-256 of the whole file.
    pub(in crate::rpm) fn file_digest(&self) -> Result<Sha256, Error> {
        let mut sha256 = sha2::Sha256::new();
        feed(self.part(0), |part| sha256.update(part)).map_err(self.failure().io("read"))?;
        Ok(Sha256(sha256.finalize().into()))
    }
}

fn feed(mut source: impl Read, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => sink(buffer.get(..got).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
