//! Blocks unpacked, into no more memory than a block may take.

use flate2::{Decompress, FlushDecompress};
use liblzma::stream::{Action, Stream};

use super::super::format::Compressor;

/// Memory that an xz block may ask for, in bytes: its dictionary is no larger than a block of data
/// (mksquashfs(1), `-Xdict-size`), and the decoder takes less than that besides.
const XZ_MEMORY_MAX: u64 = 4 << 20;

/// Unpacks a block that holds at most `most` bytes; the error says why it is none.
pub(super) fn unpack(compressor: Compressor, packed: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; most];
    let length = match compressor {
        Compressor::Gzip => {
            let mut state = Decompress::new(true);
            let status = state.decompress(packed, &mut bytes, FlushDecompress::Finish);
            match status.map_err(|error| error.to_string())? {
                flate2::Status::StreamEnd => usize::try_from(state.total_out()).unwrap_or(most),
                _ => return Err(too_long(most)),
            }
        }
        Compressor::Xz => {
            let mut state = Stream::new_stream_decoder(XZ_MEMORY_MAX, 0).map_err(|error| error.to_string())?;
            let status = state.process(packed, &mut bytes, Action::Finish);
            match status.map_err(|error| error.to_string())? {
                liblzma::stream::Status::StreamEnd => usize::try_from(state.total_out()).unwrap_or(most),
                _ => return Err(too_long(most)),
            }
        }
        Compressor::Zstd => zstd::bulk::decompress_to_buffer(packed, &mut bytes).map_err(|error| error.to_string())?,
    };
    bytes.truncate(length);
    Ok(bytes)
}

fn too_long(most: usize) -> String {
    format!("it is cut off, or holds more than {most} bytes")
}
