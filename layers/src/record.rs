//! What the store remembers of a step, in a file that says whether it is whole: the note is input of later
//! steps, and the id says which layer they get.
//!
//! ```text
//! 32 bytes   BLAKE3 of the key and of all that follows
//! 32 bytes   the layer's id
//! the rest   the step's note
//! ```

use crate::{Blake3, Key};

/// Bytes before the note.
pub(crate) const HEAD_BYTES: u64 = 64;

/// The file of a key.
pub(crate) fn encode(key: &Key, layer: &Blake3, note: &[u8]) -> Vec<u8> {
    let mut bytes = sum(key, &layer.0, note).0.to_vec();
    bytes.extend_from_slice(&layer.0);
    bytes.extend_from_slice(note);
    bytes
}

/// The layer and the note in the file of a key, if it is the one that was written for this key.
pub(crate) fn decode<'a>(key: &Key, bytes: &'a [u8]) -> Option<(Blake3, &'a [u8])> {
    let (stated, rest) = bytes.split_first_chunk::<32>()?;
    let (layer, note) = rest.split_first_chunk::<32>()?;
    (sum(key, layer, note).0 == *stated).then_some((Blake3(*layer), note))
}

/// The layer in the file of a key, of which the beginning is enough; it may be damaged.
pub(crate) fn layer(bytes: &[u8]) -> Option<Blake3> {
    bytes.split_first_chunk::<32>()?.1.first_chunk().map(|id| Blake3(*id))
}

fn sum(key: &Key, layer: &[u8; 32], note: &[u8]) -> Blake3 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.0).update(layer).update(note);
    Blake3(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_it_can_change_unnoticed() {
        let (key, layer) = (Key([1; 32]), Blake3([2; 32]));
        let bytes = encode(&key, &layer, b"note");
        assert_eq!(decode(&key, &bytes), Some((layer, b"note".as_slice())));
        assert_eq!(super::layer(&bytes[..HEAD_BYTES as usize]), Some(layer));
        assert_eq!(decode(&Key([3; 32]), &bytes), None, "under another key's name");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&key, &changed), None, "{bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(&key, &bytes[..length]), None, "{length}");
        }
    }
}
