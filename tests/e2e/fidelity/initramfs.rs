//! What is in an initial ramdisk: archives in cpio's "newc" format, one after the other, some of
//! them compressed (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeMap;
use std::io::Read;

/// Every path with what it is; the last archive that has a path wins, as in the kernel.
pub fn unpack(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    loop {
        while let [0, rest @ ..] = bytes {
            bytes = rest;
        }
        let mut plain = Vec::new();
        match bytes {
            [] => return found,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                zstd::Decoder::new(bytes).unwrap().read_to_end(&mut plain).unwrap();
            }
            [0x1f, 0x8b, ..] => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
            }
            _ => {
                bytes = archive(bytes, &mut found);
                continue;
            }
        }
        // A compressed archive reaches to the end.
        found.extend(unpack(&plain));
        return found;
    }
}

/// Reads one archive and gives what follows.
fn archive<'a>(bytes: &'a [u8], found: &mut BTreeMap<String, String>) -> &'a [u8] {
    let mut at = 0;
    loop {
        assert_eq!(&bytes[at..at + 6], b"070701", "no cpio header at byte {at}");
        let field = |number: usize| {
            let start = at + 6 + number * 8;
            let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
            usize::from_str_radix(text, 16).unwrap()
        };
        let (mode, uid, gid, size, name_size) = (field(1), field(2), field(3), field(6), field(11));
        let device = (field(9), field(10));
        let name = String::from_utf8_lossy(&bytes[at + 110..at + 110 + name_size - 1]).into_owned();
        let data = (at + 110 + name_size).next_multiple_of(4);
        at = (data + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return &bytes[at.min(bytes.len())..];
        }
        let data = &bytes[data..data + size];
        let what = match mode & 0o170_000 {
            0o120_000 => format!("link to {}", String::from_utf8_lossy(data)),
            _ => format!("{mode:o} {uid}:{gid} {device:?} {}", layers::Blake3::of(data).to_hex()),
        };
        found.insert(name, what);
    }
}
