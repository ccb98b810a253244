//! stat and statx of files that are not what the kernel says.

use super::calls::Abi;
use super::ledger::Entry;
use super::operation::Where;
use super::{CONTINUE, Outcome, Supervisor, Waiting, done};
use crate::sys::{self, STATX_SIZE};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// `STATX_BASIC_STATS` of include/uapi/linux/stat.h.
const BASIC: u32 = 0x7ff;

// Offsets in `struct statx`, include/uapi/linux/stat.h.
const BLKSIZE: usize = 4;
const NLINK: usize = 16;
const UID: usize = 20;
const GID: usize = 24;
const MODE: usize = 28;
const INO: usize = 32;
const SIZE: usize = 40;
const BLOCKS: usize = 48;
const ATIME: usize = 64;
const CTIME: usize = 96;
const MTIME: usize = 112;
const RDEV: usize = 128;
const DEV: usize = 136;

/// The bytes of a `struct statx`.
struct Record([u8; STATX_SIZE]);

impl Record {
    fn word(&self, at: usize) -> u32 {
        let b = &self.0[at..at + 4];
        u32::from_le_bytes([b[0], b[1], b[2], b[3]])
    }
    fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }
    fn mode(&self) -> u16 {
        u16::from_le_bytes([self.0[MODE], self.0[MODE + 1]])
    }
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    /// A device number as stat has it: `new_encode_dev` of include/linux/kdev_t.h.
    fn device(&self, at: usize) -> u64 {
        let (major, minor) = (u64::from(self.word(at)), u64::from(self.word(at + 4)));
        (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
    }

    /// As `struct stat` of the interface: arch/x86/include/uapi/asm/stat.h (the 64-bit one,
    /// and `struct stat64` of the 32-bit one), include/uapi/asm-generic/stat.h for aarch64.
    fn layout(&self, abi: Abi) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(144));
        let times = [ATIME, MTIME, CTIME];
        match abi {
            Abi::X86_64 | Abi::Aarch64 => {
                out.long(self.device(DEV));
                out.long(self.long(INO));
                if abi == Abi::X86_64 {
                    out.long(self.word(NLINK).into());
                    out.word(self.mode().into());
                } else {
                    out.word(self.mode().into());
                    out.word(self.word(NLINK));
                }
                out.word(self.word(UID));
                out.word(self.word(GID));
                if abi == Abi::X86_64 {
                    out.word(0);
                }
                out.long(self.device(RDEV));
                if abi == Abi::Aarch64 {
                    out.long(0);
                }
                out.long(self.long(SIZE));
                if abi == Abi::X86_64 {
                    out.long(self.word(BLKSIZE).into());
                } else {
                    out.word(self.word(BLKSIZE));
                    out.word(0);
                }
                out.long(self.long(BLOCKS));
                for time in times {
                    out.long(self.long(time));
                    out.long(self.word(time + 8).into());
                }
                let rest = if abi == Abi::X86_64 { 24 } else { 8 };
                out.0.extend(std::iter::repeat_n(0, rest));
            }
            Abi::I386 => {
                out.long(self.device(DEV));
                out.word(0);
                out.word(self.word(INO));
                out.word(self.mode().into());
                out.word(self.word(NLINK));
                out.word(self.word(UID));
                out.word(self.word(GID));
                out.long(self.device(RDEV));
                out.word(0);
                out.long(self.long(SIZE));
                out.word(self.word(BLKSIZE));
                out.long(self.long(BLOCKS));
                for time in times {
                    out.word(self.word(time));
                    out.word(self.word(time + 8));
                }
                out.long(self.long(INO));
            }
        }
        out.0
    }
}

/// Bytes in the making.
struct Out(Vec<u8>);

impl Out {
    fn word(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

impl Supervisor {
    /// What statx would say, with our owner and device; `None` if we hold nothing about the
    /// file, so that the kernel's own answer is right, where it has one.
    fn record(&self, (fd, ours): &(OwnedFd, bool), flags: i32, mask: u32) -> Result<Option<Record>, Errno> {
        let entry = match self.files.ledger.read(fd.as_fd())? {
            Some(entry) => entry,
            None if *ours => Entry::default(),
            None => return Ok(None),
        };
        let bytes = sys::statx(fd.as_fd(), flags, mask).map_err(super::tasks::errno)?;
        let mut record = Record(bytes);
        if let Some((uid, gid)) = entry.owner {
            record.put(UID, &uid.to_le_bytes());
            record.put(GID, &gid.to_le_bytes());
        }
        if let Some(device) = entry.device {
            let kind = if device.char { libc::S_IFCHR } else { libc::S_IFBLK };
            let mode = (record.mode() & 0o7777) | kind as u16;
            record.put(MODE, &mode.to_le_bytes());
            record.put(RDEV, &device.major.to_le_bytes());
            record.put(RDEV + 4, &device.minor.to_le_bytes());
            record.put(SIZE, &[0; 8]);
            record.put(BLOCKS, &[0; 8]);
        }
        Ok(Some(record))
    }

    pub(super) fn stat(&mut self, call: &Waiting<'_>, place: Where, out: u8) -> Result<Outcome, Errno> {
        let Ok(fd) = self.locate_any(call, place) else { return CONTINUE };
        let Ok(Some(record)) = self.record(&fd, 0, BASIC) else { return CONTINUE };
        call.check()?;
        write(call, out, &record.layout(call.abi))
    }

    pub(super) fn statx(
        &mut self,
        call: &Waiting<'_>,
        place: Where,
        flags: u32,
        mask: u32,
        out: u8,
    ) -> Result<Outcome, Errno> {
        let Ok(fd) = self.locate_any(call, place) else { return CONTINUE };
        // AT_STATX_FORCE_SYNC and AT_STATX_DONT_SYNC; the rest was about finding the file.
        let sync = flags as i32 & (libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC);
        let Ok(Some(record)) = self.record(&fd, sync, mask) else { return CONTINUE };
        call.check()?;
        write(call, out, &record.0)
    }
}

fn write(call: &Waiting<'_>, out: u8, bytes: &[u8]) -> Result<Outcome, Errno> {
    sys::write_memory(call.tid, call.arg(out), bytes).map_err(super::tasks::errno)?;
    done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_have_the_kernels_sizes() {
        let record = Record([0; STATX_SIZE]);
        assert_eq!(record.layout(Abi::X86_64).len(), 144);
        assert_eq!(record.layout(Abi::I386).len(), 96);
        assert_eq!(record.layout(Abi::Aarch64).len(), 128);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn fields_lie_where_libc_has_them() {
        let mut record = Record([0; STATX_SIZE]);
        record.put(UID, &33u32.to_le_bytes());
        record.put(GID, &44u32.to_le_bytes());
        record.put(MODE, &0o2755u16.to_le_bytes());
        record.put(SIZE, &77u64.to_le_bytes());
        record.put(MTIME, &5u64.to_le_bytes());
        record.put(RDEV, &10u32.to_le_bytes());
        record.put(RDEV + 4, &0x1ffu32.to_le_bytes());
        let bytes = record.layout(Abi::X86_64);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(word(std::mem::offset_of!(libc::stat, st_uid)), 33);
        assert_eq!(word(std::mem::offset_of!(libc::stat, st_gid)), 44);
        assert_eq!(word(std::mem::offset_of!(libc::stat, st_mode)), 0o2755);
        assert_eq!(word(std::mem::offset_of!(libc::stat, st_size)), 77);
        assert_eq!(word(std::mem::offset_of!(libc::stat, st_mtime)), 5);
        let rdev = u64::from(word(std::mem::offset_of!(libc::stat, st_rdev)));
        assert_eq!(rdev, libc::makedev(10, 0x1ff));
    }
}
