//! Swap space: a header page, and nothing behind it (Linux, include/linux/swap.h, `union
//! swap_header`; mkswap(8), version 1).

use layers::Contents;

use crate::bytes::put;
use crate::{Error, Sink, Source};

/// Bytes of a page. The header's end is where a page of the machine that swaps ends: 4 KiB on
/// x86-64, and on the arm64 kernels of all distributions that we know.
const PAGE_BYTES: u64 = 4096;
/// Fewer pages are refused by mkswap(8) (`MIN_GOODPAGES`).
const PAGES_MIN: u64 = 10;
/// The signature at the end of the first page.
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
/// Where the header's fields begin: before them there is room for a boot sector.
const FIELDS_AT: usize = 1024;
/// Longest label, in bytes.
const LABEL_BYTES: usize = 16;

/// Swap space whose bytes are settled; a [`Source`].
pub struct Swap {
    size: u64,
    header: Vec<u8>,
}

impl Swap {
    /// Swap space of `size` bytes; what is less than a page at its end is not used.
    ///
    /// # Errors
    /// [`Error::TooSmall`] below ten pages; [`Error::Unsupported`] for a label above 16 bytes, and for
    /// a size whose pages 32 bits cannot count.
    pub fn new(size: u64, uuid: [u8; 16], label: &[u8]) -> Result<Self, Error> {
        let refuse =
            |what: String, reason: &str| Error::Unsupported { format: "swap space", what, reason: reason.into() };
        let pages = size / PAGE_BYTES;
        if pages < PAGES_MIN {
            return Err(Error::TooSmall { what: "swap space".into(), needed: PAGES_MIN * PAGE_BYTES, available: size });
        }
        let last_page = u32::try_from(pages - 1)
            .map_err(|_| refuse(format!("a size of {size} bytes"), "its pages are counted in 32 bits"))?;
        if label.len() > LABEL_BYTES {
            return Err(refuse("the label".into(), "it is longer than 16 bytes"));
        }
        let mut header = vec![0; PAGE_BYTES as usize];
        put(&mut header, FIELDS_AT, &1u32.to_le_bytes());
        put(&mut header, FIELDS_AT + 4, &last_page.to_le_bytes());
        // No bad pages: zero stays at 8.
        put(&mut header, FIELDS_AT + 12, &uuid);
        put(&mut header, FIELDS_AT + 28, label);
        put(&mut header, PAGE_BYTES as usize - SIGNATURE.len(), SIGNATURE);
        Ok(Self { size, header })
    }
}

impl Source for Swap {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_to(&self, _: &dyn Contents, sink: &mut dyn Sink) -> Result<(), Error> {
        sink.data(0, &self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_labels_have_bounds() {
        assert!(Swap::new(PAGES_MIN * PAGE_BYTES, [1; 16], b"sixteen bytes...").is_ok());
        assert!(matches!(
            Swap::new(PAGES_MIN * PAGE_BYTES - 1, [1; 16], b""),
            Err(Error::TooSmall { needed: 40_960, available: 40_959, .. })
        ));
        assert!(Swap::new(1 << 20, [1; 16], b"seventeen bytes..").is_err());
        assert!(Swap::new(u64::MAX, [1; 16], b"").is_err());
    }
}
