//! Fields of account files, as the C library reads them (glibc, nss/nss_files/files-parse.c).

/// What is left of a line.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What comes next, up to a colon; nothing at the end.
    pub(super) fn text(&mut self) -> Vec<u8> {
        let end = self.rest.iter().position(|byte| *byte == b':').unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        text.into()
    }

    /// All that is left.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A number, up to a colon or the end. `Err` if it is none or too large, `Ok(None)` if there are no
    /// digits.
    fn digits(&mut self) -> Result<Option<u32>, ()> {
        let text = skip_space(self.rest);
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let (digits, behind) = text.split_at(end);
        let behind = if digits.is_empty() { self.rest } else { behind };
        self.rest = match behind.split_first() {
            None => behind,
            Some((b':', rest)) => rest,
            Some(_) => return Err(()),
        };
        if digits.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or(())
    }

    /// A number that must be there.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.digits().ok().flatten()
    }

    /// A number that may be left out, but not its field.
    pub(super) fn number_or(&mut self, default: u32) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        self.digits().ok().map(|number| number.unwrap_or(default))
    }

    /// Without white space.
    pub(super) fn skip_space(&mut self) {
        self.rest = skip_space(self.rest);
    }
}

/// Without the white space at the beginning, as isspace(3) sees it.
pub(super) fn skip_space(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    text.get(text.iter().take_while(|byte| is_space(byte)).count()..).unwrap_or_default()
}

/// Names with commas between them.
pub(super) fn list(text: &[u8]) -> Vec<Vec<u8>> {
    let names = text.split(|byte| *byte == b',').map(skip_space);
    names.filter(|name| !name.is_empty()).map(Into::into).collect()
}
