//! Zstandard by libzstd's own threads.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

pub(super) type Encoder<W> = zstd::stream::write::Encoder<'static, W>;

/// Bytes that a thread works on. The same for every level, so that memory is too; large enough
/// that what is lost at the borders is less than one in a thousand.
const JOB_BYTES: u32 = 8 << 20;

/// An encoder whose output is that of one thread, however many there are: with at least one,
/// libzstd cuts its input at multiples of the job size (zstd.h, `ZSTD_c_nbWorkers`).
pub(super) fn encoder<W: Write>(writer: W, level: i32, size: u64, threads: usize) -> io::Result<Encoder<W>> {
    let mut encoder = zstd::stream::write::Encoder::new(writer, level)?;
    let threads = u32::try_from(threads.max(1)).unwrap_or(u32::MAX).min(64);
    encoder.set_parameter(CParameter::NbWorkers(threads))?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    Ok(encoder)
}
