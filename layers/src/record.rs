//! What the store remembers of a step, in a file that says whether it is whole: the note is input of later
//! steps, and the id says which layer they get. What lay below the step is there for the day on which one of
//! these layers is found to be damaged: the step may have read the damage.
//!
//! ```text
//! 32 bytes   BLAKE3 of the key and of all that follows, in every format
//!  8 bytes   the format; what has another one was written by another version of the program, and answers nobody
//! 32 bytes   the layer's id
//!  4 bytes   the number of layers that the step could read, little endian
//! 32 bytes   of each of them, its id
//! the rest   the step's note
//! ```

use std::collections::BTreeSet;

use crate::{Blake3, Error, Key};

/// What is described above. The first format had none: a layer's id stood here.
const FORMAT: [u8; 8] = *b"step  v2";
/// Bytes before what lay below.
pub(crate) const HEAD_BYTES: u64 = 72;
/// Bytes that say what lay below, if that were not more than 4096 layers: such a step counts as one that could read
/// any.
pub(crate) const BELOW_BYTES: u64 = HEAD_BYTES + 4 + 32 * 4096;

/// The file of a key.
///
/// # Errors
/// More layers below than can be counted.
pub(crate) fn encode(key: &Key, layer: &Blake3, below: &[Blake3], note: &[u8]) -> Result<Vec<u8>, Error> {
    let count = u32::try_from(below.len()).map_err(|_| Error::damaged("a stack", "it has too many layers"))?;
    let mut rest = count.to_le_bytes().to_vec();
    below.iter().for_each(|id| rest.extend_from_slice(&id.0));
    rest.extend_from_slice(note);
    let rest = [&FORMAT, layer.0.as_slice(), &rest].concat();
    Ok([&sum(key, &rest).0, rest.as_slice()].concat())
}

/// What the file of a key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decoded<'a> {
    /// The layer and the note.
    Known(Blake3, &'a [u8]),
    /// It is whole, and of another version of the program.
    Foreign,
    /// It is not the one that was written for this key.
    Damaged,
}

/// Reads the file of a key.
pub(crate) fn decode<'a>(key: &Key, bytes: &'a [u8]) -> Decoded<'a> {
    let Some((stated, rest)) = bytes.split_first_chunk::<32>() else { return Decoded::Damaged };
    if sum(key, rest).0 != *stated {
        return Decoded::Damaged;
    }
    let Some(rest) = rest.strip_prefix(&FORMAT) else { return Decoded::Foreign };
    let known = rest.split_first_chunk::<32>().and_then(|(layer, rest)| Some((layer, below(rest)?.1)));
    known.map_or(Decoded::Damaged, |(layer, note)| Decoded::Known(Blake3(*layer), note))
}

/// The layer in the file of a key, of which the beginning is enough; it may be damaged. None in another format.
pub(crate) fn layer(bytes: &[u8]) -> Option<Blake3> {
    bytes.get(32..)?.strip_prefix(&FORMAT)?.first_chunk().map(|id| Blake3(*id))
}

/// Whether the step whose file begins so could read one of these layers; so it is if nobody can tell, as of one
/// in another format. A file that
/// is damaged answers nobody, so it matters to none.
pub(crate) fn could_read(bytes: &[u8], layers: &BTreeSet<Blake3>) -> bool {
    let rest = layer(bytes).and(bytes.get(HEAD_BYTES as usize..));
    let Some((ids, _)) = rest.and_then(below) else { return true };
    ids.iter().any(|id| layers.contains(&Blake3(*id)))
}

/// What lay below, and what follows it.
fn below(rest: &[u8]) -> Option<(&[[u8; 32]], &[u8])> {
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let bytes = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(32)?;
    let (ids, note) = rest.split_at_checked(bytes)?;
    Some((ids.as_chunks().0, note))
}

fn sum(key: &Key, rest: &[u8]) -> Blake3 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.0).update(rest);
    Blake3(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_it_can_change_unnoticed() {
        let (key, layer) = (Key([1; 32]), Blake3([2; 32]));
        let bytes = encode(&key, &layer, &[Blake3([4; 32]), Blake3([5; 32])], b"note").unwrap();
        assert_eq!(decode(&key, &bytes), Decoded::Known(layer, b"note".as_slice()));
        assert_eq!(super::layer(&bytes[..HEAD_BYTES as usize]), Some(layer));
        assert_eq!(decode(&Key([3; 32]), &bytes), Decoded::Damaged, "under another key's name");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&key, &changed), Decoded::Damaged, "{bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(&key, &bytes[..length]), Decoded::Damaged, "{length}");
        }
    }

    #[test]
    fn what_another_version_wrote_is_no_damage() {
        let (key, layer) = (Key([1; 32]), Blake3([2; 32]));
        for rest in [&[layer.0.as_slice(), b"note"].concat(), &[b"step  v3", layer.0.as_slice()].concat()] {
            let mut bytes = [&sum(&key, rest).0, rest.as_slice()].concat();
            assert_eq!((decode(&key, &bytes), super::layer(&bytes)), (Decoded::Foreign, None));
            assert!(could_read(&bytes, &BTreeSet::new()));
            bytes[40] ^= 1;
            assert_eq!(decode(&key, &bytes), Decoded::Damaged);
        }
    }

    #[test]
    fn what_lay_below_is_known_or_all_of_it() {
        let (key, layer, ids) = (Key([1; 32]), Blake3([2; 32]), [4, 5].map(|id| Blake3([id; 32])));
        let could = |bytes: &[u8], id: u8| could_read(bytes, &BTreeSet::from([Blake3([id; 32])]));
        // The note is none of it, whatever it says.
        let bytes = encode(&key, &layer, &ids, &[6; 64]).unwrap();
        assert_eq!([2, 3, 4, 5, 6].map(|id| could(&bytes, id)), [false, false, true, true, false]);
        assert!(could(&bytes[..HEAD_BYTES as usize + 4 + 63], 3), "cut");
        assert!(!could(&bytes[..HEAD_BYTES as usize + 4 + 64], 3));
        assert!(could(b"", 3));
        assert!(!could(&encode(&key, &layer, &[], &[4; 64]).unwrap(), 4));
    }
}
