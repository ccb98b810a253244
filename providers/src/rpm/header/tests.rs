use super::*;

/// A value: tag, type, count, bytes.
type Value<'v> = (u32, u32, u32, &'v [u8]);

/// A header of these values.
fn header(values: &[Value<'_>]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut data = Vec::new();
    for (tag, kind, count, bytes) in values {
        let width = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        data.resize(data.len().next_multiple_of(width), 0);
        for word in [*tag, *kind, u32::try_from(data.len()).unwrap(), *count] {
            index.extend(word.to_be_bytes());
        }
        data.extend_from_slice(bytes);
    }
    let entries = u32::try_from(values.len()).unwrap() + 1;
    let trailer = u32::try_from(data.len()).unwrap();
    for word in [63, 7, 0u32.wrapping_sub(entries * 16), 16] {
        data.extend(word.to_be_bytes());
    }
    let mut bytes = MAGIC.to_vec();
    for word in [entries, u32::try_from(data.len()).unwrap(), 63, 7, trailer, 16] {
        bytes.extend(word.to_be_bytes());
    }
    [bytes, index, data].concat()
}

/// The bytes of a small header.
pub(in crate::rpm) fn sound() -> Vec<u8> {
    header(&[
        (1000, 6, 1, b"bash\0"),
        (1003, 4, 1, &7u32.to_be_bytes()),
        (1004, 9, 2, b"A shell\0Eine Schale\0"),
        (1030, 3, 2, &[0x81, 0xa4, 0x41, 0xed]),
        (1117, 8, 2, b"a\xff\0b\0"),
        (5008, 5, 1, &(1u64 << 40).to_be_bytes()),
        (4000, 7, 3, &[1, 0, 2]),
    ])
}

#[test]
fn values_are_read_by_type() {
    let bytes = sound();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.string(tag::NAME), Some("bash"));
    assert_eq!(header.u32(tag::EPOCH), Some(7));
    assert_eq!(header.string(tag::SUMMARY), Some("A shell"));
    assert_eq!(header.u16_list(tag::FILEMODES).unwrap().collect::<Vec<_>>(), [0o100644, 0o40755]);
    assert_eq!(header.string_list(tag::BASENAMES).unwrap().collect::<Vec<_>>(), [&b"a\xff"[..], b"b"]);
    assert_eq!(header.strings(tag::BASENAMES), None);
    assert_eq!(header.size(tag::FILESIZES, tag::LONGFILESIZES), Some(1 << 40));
    assert_eq!(header.bin(Tag(4000)), Some(&[1, 0, 2][..]));
    assert_eq!((header.string(tag::VERSION), header.u32(tag::NAME)), (None, None));
    assert_eq!([&MAGIC[..], header.raw()].concat(), bytes);
    assert_eq!(Header::parse_blob(header.raw()).unwrap(), header);
    assert_eq!(header.entry_count(), 8);
}

#[test]
fn headers_that_lie_are_refused() {
    let lies: &[(&str, &[Value<'_>])] = &[
        ("more strings than bytes", &[(1117, 8, 0xffff_ffff, b"a\0")]),
        ("more numbers than bytes", &[(1030, 3, 0x8000_0000, b"a\0")]),
        ("a count of nothing", &[(1000, 6, 0, b"a\0")]),
        ("two strings in one", &[(1000, 6, 2, b"a\0b\0")]),
        ("a type from nowhere", &[(1000, 10, 1, b"a\0")]),
        ("a name that is a number", &[(1000, 4, 1, b"abcd")]),
        ("a name that is no text", &[(1000, 6, 1, b"\xff\0")]),
        ("a tag twice", &[(1000, 6, 1, b"a\0"), (1000, 6, 1, b"b\0")]),
        ("a region in the region", &[(63, 7, 16, &[0; 16])]),
        ("a digest that is bytes", &[(5092, 7, 32, &[0; 32])]),
    ];
    for (what, values) in lies {
        assert!(Header::parse(&header(values)).is_err(), "{what}");
    }
    assert!(Header::parse(&header(&[(1000, 6, 1, b"a\0")])).is_ok());
}

#[test]
fn what_is_outside_the_region_is_refused() {
    let mut bytes = sound();
    let end = bytes.len();
    // The trailer says that the last entry is not of the region.
    bytes[end - 8..end - 4].copy_from_slice(&0u32.wrapping_sub(7 * 16).to_be_bytes());
    let error = Header::parse(&bytes).unwrap_err();
    assert!(error.reason.contains("outside"), "{error}");
    assert!(Header::parse_blob(&bytes[8..]).is_ok());
}

#[test]
fn every_byte_may_be_wrong() {
    let sound = sound();
    for at in 0..sound.len() {
        assert!(Header::parse(&sound[..at]).is_err());
        for value in [0, 1, 0x7f, 0x80, 0xff, sound[at] ^ 1] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            if let Ok(header) = Header::parse(&bytes) {
                for (tag, ..) in header.tags() {
                    let _ = (header.string(tag), header.strings(tag), header.u32(tag), header.bin(tag));
                }
            }
        }
    }
}
