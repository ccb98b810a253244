//! Control text: stanzas of fields (deb822(5)) and what they say of a binary package.

use super::Error;

/// Largest stanza accepted, in bytes. The largest in Debian (a kernel's Provides) has some 100 kB.
const STANZA_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One stanza, borrowed, as it was written, without the empty line that ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stanza<'a>(&'a str);

/// One field of a stanza.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// The name, as it was written; names are compared without regard to case.
    pub name: &'a str,
    /// The value without the blanks around it. Continuation lines keep their leading blank.
    pub value: &'a str,
}

impl<'a> Stanza<'a> {
    /// Reads a text that holds exactly one stanza, such as a package's control file.
    ///
    /// # Errors
    /// Not UTF-8, no stanza or more than one, lines that are no fields, fields given twice.
    pub fn parse(text: &'a [u8], what: &str) -> Result<Self, Error> {
        let mut found = stanzas(text, what)?;
        let refuse = |reason: &str| Error::Control { what: what.into(), line: 1, reason: reason.into() };
        let stanza = found.next().ok_or_else(|| refuse("it is empty"))?;
        if found.next().is_some() {
            return Err(refuse("it holds more than one stanza"));
        }
        stanza.check(what)?;
        Ok(stanza)
    }

    /// A text that [`stanzas`] gave before.
    pub(super) fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// The stanza as it was written, ending without a newline.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The fields in their order. Lines that are no fields are passed over: see [`Stanza::check`].
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.0 }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Refuses what deb822(5) does not allow.
    ///
    /// # Errors
    /// A line that is neither a field nor a continuation; a field given twice; a huge stanza.
    pub fn check(&self, what: &str) -> Result<(), Error> {
        let refuse = |line: usize, reason: String| Err(Error::Control { what: what.into(), line, reason });
        if self.0.len() > STANZA_BYTES_MAX {
            return refuse(1, format!("a stanza has more than {STANZA_BYTES_MAX} bytes"));
        }
        let mut names: Vec<&str> = Vec::new();
        for (at, line) in self.0.lines().enumerate() {
            if line.starts_with([' ', '\t', '#']) && (at > 0 || line.starts_with('#')) {
                continue;
            }
            let Some((name, _)) = line.split_once(':').filter(|(name, _)| is_field_name(name)) else {
                return refuse(at + 1, format!("not a field: {:?}", line.chars().take(60).collect::<String>()));
            };
            if names.iter().any(|seen| seen.eq_ignore_ascii_case(name)) {
                return refuse(at + 1, format!("the field {name} is given twice"));
            }
            names.push(name);
        }
        Ok(())
    }
}

/// Whether a text can be a field's name (deb822(5): printable ASCII without colon, not starting
/// with a hyphen or a hash).
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['-', '#']) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The fields of a stanza.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let bytes = self.rest.as_bytes();
            let mut end = 0;
            loop {
                end += bytes[end..].iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len() - end);
                match bytes.get(end + 1) {
                    Some(b' ' | b'\t') => end += 1,
                    _ => break,
                }
            }
            let text = &self.rest[..end];
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if let Some((name, value)) = text.split_once(':')
                && is_field_name(name)
            {
                return Some(Field { name, value: value.trim_ascii() });
            }
        }
    }
}

/// The stanzas of a text, in their order.
///
/// # Errors
/// The text is not UTF-8.
pub fn stanzas<'a>(text: &'a [u8], what: &str) -> Result<Stanzas<'a>, Error> {
    match std::str::from_utf8(text) {
        Ok(rest) => Ok(Stanzas { rest }),
        Err(error) => {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            Err(Error::Control { what: what.into(), line, reason: "it is not UTF-8".into() })
        }
    }
}

/// The stanzas of a text.
#[derive(Clone, Debug)]
pub struct Stanzas<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Stanza<'a>;

    fn next(&mut self) -> Option<Stanza<'a>> {
        // Empty lines, also ones that hold blanks only, separate stanzas.
        loop {
            let line_end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
            if self.rest.is_empty() {
                return None;
            }
            if !self.rest[..line_end].trim_ascii().is_empty() {
                break;
            }
            self.rest = &self.rest[line_end..];
        }
        let mut from = 0;
        let end = loop {
            match self.rest[from..].find('\n') {
                None => break self.rest.len(),
                Some(at) => {
                    let next = from + at + 1;
                    let line_end = self.rest[next..].find('\n').map_or(self.rest.len(), |at| next + at);
                    if self.rest[next..line_end].trim_ascii().is_empty() {
                        break from + at;
                    }
                    from = next;
                }
            }
        };
        let stanza = Stanza(self.rest[..end].trim_end_matches(['\n', '\r']));
        self.rest = self.rest.get(end..).unwrap_or("");
        Some(stanza)
    }
}

/// How a package stands to those of other architectures (deb-control(5), Multi-Arch).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum MultiArch {
    /// `no`: satisfies only dependencies of its own architecture.
    #[default]
    No,
    /// `same`: may be installed for several architectures at once.
    Same,
    /// `foreign`: satisfies dependencies of any architecture.
    Foreign,
    /// `allowed`: satisfies dependencies that say `:any`.
    Allowed,
}

/// What a control stanza says of a binary package. Relations are kept as text and read when they
/// are needed ([`super::relation::parse`]); a field that is not there is empty.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The name.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// The architecture, or `all`.
    pub architecture: &'a str,
    /// How it stands to other architectures.
    pub multi_arch: MultiArch,
    /// `Essential: yes`
    pub essential: bool,
    /// `Protected: yes` (or `Important: yes`, its earlier name)
    pub protected: bool,
    /// `required`, `important`, `standard`, `optional` or `extra`; empty when not said.
    pub priority: &'a str,
    /// The section, such as `libs` or `contrib/net`.
    pub section: &'a str,
    /// The source package and, in brackets, its version where it differs; empty: as the package.
    pub source: &'a str,
    /// Who maintains it.
    pub maintainer: &'a str,
    /// The description; the first line is the summary.
    pub description: &'a str,
    /// The homepage.
    pub homepage: &'a str,
    /// Relations, as written.
    pub depends: &'a str,
    /// Relations, as written.
    pub pre_depends: &'a str,
    /// Relations, as written.
    pub recommends: &'a str,
    /// Relations, as written.
    pub suggests: &'a str,
    /// Relations, as written.
    pub conflicts: &'a str,
    /// Relations, as written.
    pub breaks: &'a str,
    /// Relations, as written.
    pub replaces: &'a str,
    /// Relations, as written.
    pub provides: &'a str,
    /// Relations, as written.
    pub enhances: &'a str,
    /// Path of the archive below the repository's URL; empty outside indexes.
    pub filename: &'a str,
    /// Size of the archive in bytes; `None` outside indexes.
    pub size: Option<u64>,
    /// SHA-256 of the archive, in hexadecimal; empty outside indexes.
    pub sha256: &'a str,
    /// Space that it takes when installed, in KiB.
    pub installed_size: Option<u64>,
    /// The whole stanza.
    pub stanza: Stanza<'a>,
}

impl<'a> Package<'a> {
    /// Reads a stanza in one pass.
    ///
    /// # Errors
    /// Package, Version or Architecture is missing, or a name holds characters that names may not
    /// have (policy 5.6.1), or a number is none.
    pub fn read(stanza: Stanza<'a>, what: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Control { what: what.into(), line: 1, reason };
        let mut package = Self {
            name: "",
            version: "",
            architecture: "",
            multi_arch: MultiArch::No,
            essential: false,
            protected: false,
            priority: "",
            section: "",
            source: "",
            maintainer: "",
            description: "",
            homepage: "",
            depends: "",
            pre_depends: "",
            recommends: "",
            suggests: "",
            conflicts: "",
            breaks: "",
            replaces: "",
            provides: "",
            enhances: "",
            filename: "",
            size: None,
            sha256: "",
            installed_size: None,
            stanza,
        };
        let number = |field: Field<'_>| {
            let digits = field.value.parse::<u64>();
            digits.map(Some).map_err(|_| refuse(format!("the field {} is not a number: {:?}", field.name, field.value)))
        };
        for field in stanza.fields() {
            let mut name = [0u8; 16];
            let Some(name) = lower_case(field.name, &mut name) else { continue };
            match name {
                b"package" => package.name = field.value,
                b"version" => package.version = field.value,
                b"architecture" => package.architecture = field.value,
                b"multi-arch" => {
                    package.multi_arch = multi_arch(field.value).ok_or_else(|| {
                        refuse(format!("the field Multi-Arch has the unknown value {:?}", field.value))
                    })?
                }
                b"essential" => package.essential = field.value.eq_ignore_ascii_case("yes"),
                b"protected" | b"important" => package.protected |= field.value.eq_ignore_ascii_case("yes"),
                b"priority" => package.priority = field.value,
                b"section" => package.section = field.value,
                b"source" => package.source = field.value,
                b"maintainer" => package.maintainer = field.value,
                b"description" => package.description = field.value,
                b"homepage" => package.homepage = field.value,
                b"depends" => package.depends = field.value,
                b"pre-depends" => package.pre_depends = field.value,
                b"recommends" => package.recommends = field.value,
                b"suggests" => package.suggests = field.value,
                b"conflicts" => package.conflicts = field.value,
                b"breaks" => package.breaks = field.value,
                b"replaces" => package.replaces = field.value,
                b"enhances" => package.enhances = field.value,
                b"provides" => package.provides = field.value,
                b"filename" => package.filename = field.value,
                b"size" => package.size = number(field)?,
                b"sha256" => package.sha256 = field.value,
                // Third parties write fractions and units here; it is only an estimate.
                b"installed-size" => package.installed_size = field.value.parse().ok(),
                _ => {}
            }
        }
        if !is_package_name(package.name) {
            return Err(refuse(format!("not a package name: {:?}", package.name.chars().take(80).collect::<String>())));
        }
        for (field, value) in [("Version", package.version), ("Architecture", package.architecture)] {
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
                return Err(refuse(format!("the package {} has no usable {field}", package.name)));
            }
        }
        Ok(package)
    }
}

fn lower_case<'b>(name: &str, buffer: &'b mut [u8; 16]) -> Option<&'b [u8]> {
    let target = buffer.get_mut(..name.len())?;
    target.copy_from_slice(name.as_bytes());
    target.make_ascii_lowercase();
    Some(target)
}

fn multi_arch(value: &str) -> Option<MultiArch> {
    match value {
        "no" | "" => Some(MultiArch::No),
        "same" => Some(MultiArch::Same),
        "foreign" => Some(MultiArch::Foreign),
        "allowed" => Some(MultiArch::Allowed),
        _ => None,
    }
}

/// Whether a text can be a package's name (policy 5.6.1, with the upper case that dpkg accepts).
pub fn is_package_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= 200
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_and_fields_are_found() {
        let text = b"\n\nPackage: a\nVersion: 1\nDescription: x\n more\n .\n end\nmulti-arch:same\n\n \nPackage: b\n";
        let all: Vec<_> = stanzas(text, "test").unwrap().collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("description"), Some("x\n more\n .\n end"));
        assert_eq!(all[0].get("Multi-Arch"), Some("same"));
        assert_eq!(all[1].as_str(), "Package: b");
        assert_eq!(stanzas(b"", "test").unwrap().count(), 0);
        assert_eq!(stanzas(b"\n \n", "test").unwrap().count(), 0);
    }

    #[test]
    fn a_bad_control_file_is_refused() {
        for bad in [&b"Package: a\nPackage: b\n"[..], b"hello\n", b"", b"A: 1\n\nB: 2\n", b" x\n", b"A: \xff\n"] {
            assert!(Stanza::parse(bad, "test").is_err(), "{:?}", bad.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_package_needs_a_name_a_version_and_an_architecture() {
        let read = |text: &'static str| Package::read(Stanza::parse(text.as_bytes(), "test").unwrap(), "test");
        assert!(read("Package: a\nVersion: 1\nArchitecture: all").is_ok());
        for bad in [
            "Package: a\nVersion: 1",
            "Package: ../a\nVersion: 1\nArchitecture: all",
            "Package: a\nVersion: 1/2\nArchitecture: all",
            "Package: a\nVersion: 1\nArchitecture: all\nSize: x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
