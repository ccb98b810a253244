//! Permissions as text, as rpmio/modemuncher.c reads and writes them.

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const LETTERS: &[u8; 9] = b"rwxrwxrwx";

/// Bit of the nth letter of `rwxrwxrwx`.
fn bit(at: usize) -> u32 {
    u32::try_from(at).ok().and_then(|at| 0o400u32.checked_shr(at)).unwrap_or(0)
}

/// Writes nine letters, with `s` or `S` for the set-id bits; the sticky bit is not shown.
pub(super) fn show(mode: u32) -> String {
    let mut text: Vec<u8> =
        LETTERS.iter().enumerate().map(|(at, letter)| if mode & bit(at) != 0 { *letter } else { b'-' }).collect();
    for (id, at) in [(SETUID, 2), (SETGID, 5)] {
        if mode & id != 0
            && let Some(letter) = text.get_mut(at)
        {
            *letter = if mode & bit(at) != 0 { b's' } else { b'S' };
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `rwxr-xr-x`: each letter sets or clears its bit. Letters that are missing or strange leave it.
fn letters(mode: u32, text: &[u8]) -> Option<u32> {
    let mut mode = mode & !(SETUID | SETGID);
    for (at, (letter, given)) in LETTERS.iter().zip(text).enumerate() {
        match given {
            _ if given == letter => mode |= bit(at),
            b'-' => mode &= !bit(at),
            b's' if at == 2 => mode |= SETUID | bit(at),
            b's' if at == 5 => mode |= SETGID | bit(at),
            b's' => return None,
            _ => {}
        }
    }
    Some(mode)
}

/// Reads `rwxr-xr-x`, an octal number, or changes such as `u+w,go-rx`; `None` for anything else.
pub(super) fn read(mut mode: u32, text: &[u8]) -> Option<u32> {
    let mut at = 0;
    let peek = |at: usize| text.get(at).copied().unwrap_or(0);
    loop {
        match peek(at) {
            b'r' | b'-' => return letters(mode, text.get(at..)?),
            b'0'..=b'7' => {
                let digits = std::str::from_utf8(text.get(at..)?).ok()?;
                return digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')).then(|| {
                    // Only the low bits count, however many digits there are.
                    digits.bytes().fold(0, |mode: u32, digit| (mode << 3 | u32::from(digit - b'0')) & 0o7777)
                });
            }
            _ => {}
        }
        let mut whose = 0;
        loop {
            match peek(at) {
                b'u' => whose |= 0o4700,
                b'g' => whose |= 0o2070,
                b'o' => whose |= 0o1007,
                b'a' => whose |= 0o7777,
                b' ' => {}
                _ => break,
            }
            at += 1;
        }
        if whose == 0 {
            whose = 0o7777;
        }
        let operation = peek(at);
        if !matches!(operation, b'+' | b'-' | b'=') {
            return None;
        }
        at += 1;
        let mut change = 0;
        loop {
            match peek(at) {
                b'r' => change |= 0o444,
                b'w' => change |= 0o222,
                b'x' => change |= 0o111,
                b's' => change |= 0o6000,
                b' ' => {}
                _ => break,
            }
            at += 1;
        }
        let end = peek(at);
        if end != 0 && end != b',' {
            return None;
        }
        at += 1;
        match operation {
            _ if change == 0 => {}
            b'+' => mode |= change & whose,
            b'-' => mode &= !(change & whose),
            _ => mode = change & whose,
        }
        if end != b',' {
            return Some(mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        let read = |mode, text: &str| read(mode, text.as_bytes());
        assert_eq!(read(0o644, "rwxr-xr-x"), Some(0o755));
        assert_eq!(read(0o644, "rwsr-sr-x"), Some(0o6755));
        assert_eq!(read(0o4755, "rwx"), Some(0o755));
        assert_eq!(read(0, "rwxr-xr-s"), None);
        assert_eq!(read(0o644, "0755"), Some(0o755));
        assert_eq!(read(0o644, "1777"), Some(0o1777));
        assert_eq!((read(0, "078"), read(0, "07 "), read(0, "8")), (None, None, None));
        assert_eq!(read(0o644, "u+x,g-r,o=w"), Some(0o002));
        assert_eq!(read(0o644, " u + x , g + w"), Some(0o764));
        assert_eq!(read(0o644, "+x"), Some(0o755));
        assert_eq!(read(0o644, "ug+s"), Some(0o6644));
        assert_eq!((read(0o644, "u"), read(0o644, ""), read(0o644, "u+q")), (None, None, None));
        assert_eq!(read(0o644, "u+x,"), None);
    }

    #[test]
    fn letters_are_shown() {
        assert_eq!(show(0o100_755), "rwxr-xr-x");
        assert_eq!(show(0o6755), "rwsr-sr-x");
        assert_eq!(show(0o6644), "rwSr-Sr--");
        assert_eq!(show(0o1777), "rwxrwxrwx");
    }
}
