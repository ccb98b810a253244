//! The words of a line, with quotes and specifiers taken away.

/// White space between words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Words of a line, at most as many as `N`, an absent one empty; `None` if more follow.
///
/// Quotes of both kinds may begin anywhere in a word, and a backslash takes away the meaning of what
/// comes after it, in quotes too.
///
/// # Errors
/// A quote without an end, a backslash at the end.
pub(super) fn words<const N: usize>(line: &[u8]) -> Result<Option<[Vec<u8>; N]>, String> {
    let mut words = [const { Vec::new() }; N];
    let mut rest = trimmed(line);
    for word in &mut words {
        if rest.is_empty() {
            break;
        }
        (*word, rest) = first(rest)?;
    }
    Ok(rest.is_empty().then_some(words))
}

/// Without the white space at the beginning.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !is_space(*byte)).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

/// The first word, and what comes after it and the space behind it.
fn first(text: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (_, b'\\') => {
                let (_, escaped) = bytes.next().ok_or("it ends with a backslash")?;
                word.push(escaped);
            }
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => word.push(byte),
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, _) if is_space(byte) => return Ok((word, trimmed(text.get(at..).unwrap_or_default()))),
            (None, _) => word.push(byte),
        }
    }
    match quote {
        None => Ok((word, &[])),
        Some(_) => Err("a quote is not closed".into()),
    }
}

/// A word with `%%` for a percent sign; `None` where it stands for nothing (`-`, or no word).
///
/// # Errors
/// Another specifier.
pub(super) fn meaning(word: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if word.is_empty() || word == b"-" {
        return Ok(None);
    }
    let mut meaning = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'%', Some(b'%')) => {
                bytes.next();
            }
            (b'%', Some(letter)) if letter.is_ascii_alphanumeric() => {
                let letter = char::from(*letter);
                return Err(format!("the specifier '%{letter}' is not known, or not supported"));
            }
            // Before other characters it stands for itself.
            _ => {}
        }
        meaning.push(byte);
    }
    Ok(Some(meaning))
}
