//! Base64 (RFC 4648, section 4) with rpm's line lengths (rpmio/base64.c).

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Letters a line has where nothing else is asked for.
const LINE: usize = 64;

/// Encodes; each line has so many letters, rounded down to whole groups of four, and ends with a
/// newline. `None` is the usual length, and less than four letters are one line without an end.
pub(super) fn encode(data: &[u8], line: Option<usize>) -> Vec<u8> {
    let groups = line.unwrap_or(LINE) / 4;
    let mut out = Vec::with_capacity(data.len().div_ceil(3).saturating_mul(4));
    for (at, group) in data.chunks(3).enumerate() {
        if groups > 0 && at > 0 && at % groups == 0 {
            out.push(b'\n');
        }
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            let letter = LETTERS.get(index).copied().unwrap_or(b'=');
            out.push(if place <= group.len() { letter } else { b'=' });
        }
    }
    if groups > 0 && !data.is_empty() {
        out.push(b'\n');
    }
    out
}

/// Decodes; white space counts for nothing. `None` if it is no base64.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0u32, 0u32);
    for letter in text.iter().filter(|letter| !letter.is_ascii_whitespace()) {
        let value = match LETTERS.iter().position(|known| known == letter) {
            Some(value) if padding == 0 => u32::try_from(value).ok()?,
            None if *letter == b'=' && count % 4 >= 2 => {
                padding += 1;
                0
            }
            _ => return None,
        };
        bits = bits << 6 | value;
        count += 1;
        if count % 4 == 0 {
            let kept = usize::try_from(3u32.checked_sub(padding)?).ok()?;
            out.extend_from_slice(bits.to_be_bytes().get(1..1 + kept)?);
            bits = 0;
        }
    }
    (count % 4 == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(encode(b"", None), b"");
        assert_eq!(encode(b"f", Some(0)), b"Zg==");
        assert_eq!(encode(b"foobar", Some(4)), b"Zm9v\nYmFy\n");
        assert_eq!(encode(&[0; 49], None).len(), 64 + 1 + 4 + 1);
        for length in 0..200 {
            let data: Vec<u8> = (0..length).collect();
            assert_eq!(decode(&encode(&data, None)).as_ref(), Some(&data));
        }
        for wrong in ["Z", "Zg=", "Zg==Zg==", "====", "Zm9v!", "Z===", "=Zg="] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
