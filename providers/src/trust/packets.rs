//! A look at signatures before the `pgp` crate reads them. A signature may hold another one (RFC 9580,
//! section 5.2.3.34), that one a third, and `pgp` 0.20 follows them all: 19 KB of them overflow the
//! stack, which ends the process. Signatures of data have no use for it, and those of keys go one deep:
//! a subkey's agreement within its binding.

use std::io::{BufReader, Read as _};

use pgp::armor::{BlockType, Dearmor};

use super::Error;

/// The longest run of packets that is looked at, in bytes: with 32 signatures of any algorithm of
/// today it stays below.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The tag of signature packets (RFC 9580, section 5).
const SIGNATURE: u8 = 2;
/// The type of the subpacket that holds a signature (RFC 9580, section 5.2.3.7).
const EMBEDDED_SIGNATURE: u8 = 32;
/// Most armored blocks in one text: a keyring has one for each of 256 keys at most.
const MAX_BLOCKS: usize = 256;
/// What armor begins with (RFC 9580, section 6.2.1).
const ARMOR: &[u8] = b"-----BEGIN PGP ";

/// How deep signatures may lie in signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Not at all: signatures of data.
    Flat,
    /// One in another: signatures of keys.
    One,
}

/// Checks that no signature among binary packets holds others deeper than that.
///
/// # Errors
/// One does, or the packets are not in one piece each.
pub(super) fn check(mut bytes: &[u8], depth: Depth) -> Result<(), Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::Malformed(format!("it has more than {MAX_BYTES} bytes")));
    }
    while !bytes.is_empty() {
        let (tag, body) = packet(&mut bytes).ok_or_else(|| Error::Malformed("its packets are damaged".into()))?;
        if tag == SIGNATURE && !is_within(body, depth).unwrap_or(false) {
            return Err(Error::Malformed("a signature is damaged, or holds another signature".into()));
        }
    }
    Ok(())
}

/// Checks the same of every armored block of a kind in a text: signatures of data, or keys. What cannot
/// be read as one is passed over: `pgp` cannot read it either.
///
/// # Errors
/// As [`check`].
pub(super) fn check_armored(text: &[u8], depth: Depth) -> Result<(), Error> {
    let wanted = match depth {
        Depth::Flat => BlockType::Signature,
        Depth::One => BlockType::PublicKey,
    };
    let starts = text.windows(ARMOR.len()).enumerate().filter(|(_, window)| *window == ARMOR);
    for (number, (start, _)) in starts.enumerate() {
        if number >= MAX_BLOCKS {
            return Err(Error::Malformed(format!("it has more than {MAX_BLOCKS} armored blocks")));
        }
        let mut bytes = Vec::new();
        let mut dearmor = Dearmor::new(BufReader::new(text.get(start..).unwrap_or_default()));
        if dearmor.read_header().is_err() || dearmor.typ != Some(wanted) {
            continue;
        }
        // What was read before an error is what `pgp` would have read before it.
        let most = u64::try_from(MAX_BYTES.saturating_add(1)).unwrap_or(u64::MAX);
        let whole = dearmor.take(most).read_to_end(&mut bytes).is_ok();
        match check(&bytes, depth) {
            Err(_) if !whole => return Err(Error::Malformed("its armor is damaged".into())),
            result => result?,
        }
    }
    Ok(())
}

/// Takes one packet (RFC 9580, section 4.2): its tag and its body. Lengths that are not fixed are for
/// other packets than signatures.
fn packet<'b>(bytes: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let [first, rest @ ..] = *bytes else { return None };
    let (tag, length, rest) = match (first & 0x80 != 0, first & 0x40 != 0) {
        (false, _) => return None,
        (true, true) => {
            let (length, rest) = length(rest, 224)?;
            (first & 0x3f, length, rest)
        }
        (true, false) => {
            let width = [1, 2, 4].get(usize::from(first & 3)).copied()?;
            let (number, rest) = rest.split_at_checked(width)?;
            (first >> 2 & 0xf, number.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
    };
    let (body, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((tag, body))
}

/// A length of one, two or five bytes; from `two_end` on a first byte is none of two (RFC 9580,
/// sections 4.2.1 and 5.2.3.7).
fn length(bytes: &[u8], two_end: u8) -> Option<(usize, &[u8])> {
    match bytes {
        [255, a, b, c, d, rest @ ..] => Some((usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?, rest)),
        [255, ..] => None,
        [first, rest @ ..] if *first < 192 => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] if *first < two_end => {
            Some(((usize::from(*first) - 192) * 256 + usize::from(*second) + 192, rest))
        }
        _ => None,
    }
}

/// Whether a signature's two areas of subpackets are sound and hold no signatures deeper than that.
fn is_within(body: &[u8], depth: Depth) -> Option<bool> {
    let (width, mut rest) = match body {
        [4, _, _, _, rest @ ..] => (2, rest),
        [6, _, _, _, rest @ ..] => (4, rest),
        // Others have no subpackets (version 3), or are not read by `pgp`.
        _ => return Some(true),
    };
    for _ in 0..2 {
        let (number, after) = rest.split_at_checked(width)?;
        let size = number.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (mut area, after) = after.split_at_checked(size)?;
        rest = after;
        while !area.is_empty() {
            let (size, after) = length(area, 255)?;
            let (subpacket, after) = after.split_at_checked(size)?;
            let (kind, held) = subpacket.split_first()?;
            let allowed = match (kind & 0x7f, depth) {
                (EMBEDDED_SIGNATURE, Depth::Flat) => false,
                (EMBEDDED_SIGNATURE, Depth::One) => is_within(held, Depth::Flat)?,
                _ => true,
            };
            if !allowed {
                return Some(false);
            }
            area = after;
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Keyring, UnixTime};

    /// A signature in a signature in a signature.
    fn nested(depth: usize, version: u8) -> Vec<u8> {
        let mut body: Vec<u8> = Vec::new();
        for level in 0..depth {
            let mut area = Vec::new();
            if level > 0 {
                area.push(0xff);
                area.extend(u32::try_from(body.len() + 1).unwrap().to_be_bytes());
                area.push(EMBEDDED_SIGNATURE);
                area.extend(&body);
            }
            let size = u32::try_from(area.len()).unwrap().to_be_bytes();
            let width = if version == 6 { 0..4 } else { 2..4 };
            body = vec![version, 0, 1, 8];
            body.extend(&size[width.clone()]);
            body.extend(&area);
            body.extend(&[0; 4][width]);
            body.extend([1, 2]);
            if version == 6 {
                body.extend([16; 17]);
            }
            body.extend([0, 1, 1]);
        }
        let mut packet = vec![0xc2, 0xff];
        packet.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        packet.extend(&body);
        packet
    }

    fn armored(bytes: &[u8]) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::from("-----BEGIN PGP SIGNATURE-----\n\n");
        for (line, chunk) in bytes.chunks(3).enumerate() {
            let mut word = [0; 4];
            word[1..=chunk.len()].copy_from_slice(chunk);
            let word = u32::from_be_bytes(word);
            for place in 0..4 {
                let digit = char::from(digits[(word >> (18 - 6 * place) & 63) as usize]);
                text.push(if place > chunk.len() { '=' } else { digit });
            }
            if line % 16 == 15 {
                text.push('\n');
            }
        }
        text + "\n-----END PGP SIGNATURE-----\n"
    }

    #[test]
    fn signatures_within_signatures_are_refused() {
        let keyring = Keyring::parse(include_bytes!("../../data/keys/ubuntu.asc")).unwrap();
        let now = UnixTime(1_795_262_400);
        for (depth, version) in [(2, 4), (3000, 4), (2, 6), (3000, 6)] {
            let packets = nested(depth, version);
            assert!(check(&packets, Depth::Flat).is_err());
            assert!(keyring.verify_detached(b"text", &packets, now).is_err());
            assert!(keyring.verify_bytes(&|| Ok(&b"text"[..]), &[&packets], now).is_err());
            let armored = armored(&packets);
            assert!(keyring.verify_detached(b"text", armored.as_bytes(), now).is_err());
            let inline = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n{armored}");
            assert!(keyring.verify_inline(inline.as_bytes(), now).is_err());
        }
        let armored_check = |depth| check_armored(armored(&nested(depth, 4)).as_bytes(), Depth::Flat);
        assert!(armored_check(1).is_ok() && armored_check(2).is_err());
        for version in [4, 6] {
            assert!(check(&nested(1, version), Depth::Flat).is_ok());
            assert!(check(&nested(2, version), Depth::One).is_ok() && check(&nested(3, version), Depth::One).is_err());
        }
    }

    /// Keys may come from a mirror, so they are looked at too.
    #[test]
    fn keys_with_signatures_within_signatures_are_refused() {
        let text = include_bytes!("../../data/keys/ubuntu.asc");
        let mut binary = Vec::new();
        Dearmor::new(&text[..]).read_to_end(&mut binary).unwrap();
        Keyring::parse(&binary).unwrap();
        binary.extend(nested(3000, 4));
        assert!(Keyring::parse(&binary).is_err());
        let armored = armored(&binary).replace("SIGNATURE", "PUBLIC KEY BLOCK");
        assert!(Keyring::parse(armored.as_bytes()).is_err());
    }

    #[test]
    fn packets_that_lie_are_refused() {
        let sound = nested(1, 4);
        for length in 1..sound.len() {
            assert!(check(&sound[..length], Depth::Flat).is_err());
        }
        for wrong in [&[0xc2, 0xe0, 4][..], &[0x8b, 4], &[0x02, 1, 4], &[0xc2, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert!(check(wrong, Depth::Flat).is_err());
        }
    }
}
