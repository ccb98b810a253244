//! Numbers in the fields of fixed structures, and runs of zeros.

/// Zeros to write from.
pub(crate) static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Whether every byte is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // 32 bytes at a time: the compiler makes vector code of it.
    let mut chunks = bytes.chunks_exact(32);
    chunks.all(|chunk| chunk.iter().fold(0, |sum, byte| sum | byte) == 0)
        && chunks.remainder().iter().all(|&byte| byte == 0)
}

/// Reads numbers out of a structure whose length its reader has fixed.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The `N` bytes at `at`; the zeros past the end are never reached by a reader that fixed
    /// the length.
    pub(crate) fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    pub(crate) fn u8(self, at: usize) -> u8 {
        self.bytes::<1>(at)[0]
    }

    pub(crate) fn u16_le(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn u32_le(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn u64_le(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn u32_be(self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    pub(crate) fn u64_be(self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }
}

/// Writes a field of a structure that is being made; `at` and the length are constants of the
/// format and lie within it.
pub(crate) fn put(structure: &mut [u8], at: usize, field: &[u8]) {
    structure[at..at + field.len()].copy_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_seen() {
        assert!(is_zero(&[]) && is_zero(&[0; 100]));
        for at in 0..100 {
            let mut bytes = [0; 100];
            bytes[at] = 0x80;
            assert!(!is_zero(&bytes), "{at}");
        }
    }
}
