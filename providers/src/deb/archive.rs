//! The outer shape of a package archive (deb(5)): an `ar` file with `debian-binary`, the control
//! archive and the data archive; and what the control archive holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::control::{Package, Stanza};
use super::payload::tarball::{Form, Tarball};
use super::{Error, payload::Failure};
use crate::unpack::Compression;

/// `ar` magic (ar(5)).
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";
/// Length of a member's header, in bytes (ar(5)).
const AR_HEADER_BYTES: usize = 60;
/// Most that a control archive may unpack to, in bytes. The largest in Debian have some 10 MB of
/// md5sums.
const CONTROL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most files in a control archive; real ones have about a dozen.
const CONTROL_FILES_MAX: usize = 256;

/// One file of the control archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// What the control archive of a package holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// The stanza of the file `control`, as it was written, checked to be exactly one.
    text: String,
    /// All other files by name: `preinst`, `postinst`, `prerm`, `postrm`, `config`, `templates`,
    /// `conffiles`, `md5sums`, `shlibs`, `symbols`, `triggers` and what else the package brings.
    pub files: BTreeMap<String, ControlFile>,
}

/// One line of a `conffiles` file (deb-conffiles(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConffileLine<'a> {
    /// The path as it was written, with its leading slash.
    pub path: &'a [u8],
    /// The file is not shipped any more and goes at the next upgrade.
    pub remove_on_upgrade: bool,
}

impl Control {
    /// Puts a control archive's contents together.
    ///
    /// # Errors
    /// The stanza is not one, or lacks what every package has.
    pub fn new(text: &[u8], files: BTreeMap<String, ControlFile>, what: &str) -> Result<Self, Error> {
        let stanza = Stanza::parse(text, what)?;
        Package::read(stanza, what)?;
        Ok(Self { text: stanza.as_str().to_owned(), files })
    }

    /// The control stanza.
    pub fn stanza(&self) -> Stanza<'_> {
        Stanza::known(&self.text)
    }

    /// What the stanza says.
    ///
    /// # Errors
    /// Never for a value made by [`Control::new`].
    pub fn package(&self) -> Result<Package<'_>, Error> {
        Package::read(self.stanza(), "control file")
    }

    /// The bytes of one of the other files.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|file| file.bytes.as_slice())
    }

    /// The conffiles, in the order of the package.
    pub fn conffiles(&self) -> Vec<ConffileLine<'_>> {
        let lines = self.file("conffiles").unwrap_or_default().split(|&byte| byte == b'\n');
        lines
            .filter_map(|line| {
                let line = line.trim_ascii();
                let (path, remove_on_upgrade) = match line.strip_prefix(b"remove-on-upgrade ") {
                    Some(path) => (path.trim_ascii(), true),
                    None => (line, false),
                };
                path.starts_with(b"/").then_some(ConffileLine { path, remove_on_upgrade })
            })
            .collect()
    }
}

/// The two archives inside a package, found but not read.
pub(super) struct Archive<'p> {
    path: &'p Path,
    file: File,
    control: Member,
    data: Member,
}

#[derive(Clone)]
struct Member {
    name: String,
    offset: u64,
    size: u64,
}

impl<'p> Archive<'p> {
    /// Opens a package and finds its members.
    pub(super) fn open(path: &'p Path) -> Result<Self, Error> {
        let failure = Failure { archive: path };
        let file = File::open(path).map_err(|source| Error::Io { action: "open", path: path.into(), source })?;
        let length = file.metadata().map_err(|error| failure.io("look at", error))?.len();
        let mut reader = BufReader::with_capacity(512, &file);
        let mut magic = [0u8; 8];
        if length < 8 {
            return Err(failure.refuse("it is not a Debian package: it has fewer than 8 bytes"));
        }
        reader.read_exact(&mut magic).map_err(|error| failure.io("read", error))?;
        if &magic != AR_MAGIC {
            return Err(failure.refuse("it is not a Debian package: the ar header is missing"));
        }
        let mut at = 8u64;
        let mut found: Vec<Member> = Vec::new();
        while at < length && found.len() < 3 {
            let mut header = [0u8; AR_HEADER_BYTES];
            reader.seek(SeekFrom::Start(at)).map_err(|error| failure.io("seek in", error))?;
            reader.read_exact(&mut header).map_err(|_| failure.refuse("it is cut short within an ar header"))?;
            let (name, size) = read_ar_header(&header).ok_or_else(|| failure.refuse("an ar header is damaged"))?;
            let offset = at + AR_HEADER_BYTES as u64;
            let end = offset.checked_add(size).filter(|&end| end <= length);
            let end = end.ok_or_else(|| failure.refuse(format!("it is cut short: {name} should have {size} bytes")))?;
            // Members start at even offsets (ar(5)).
            at = end + (end & 1);
            // deb(5): members whose name starts with an underscore may stand between the others.
            if !name.starts_with('_') || found.is_empty() {
                found.push(Member { name, offset, size });
            }
        }
        let [binary, control, data] = &found[..] else {
            return Err(failure.refuse("it lacks debian-binary, the control archive or the data archive"));
        };
        if binary.name != "debian-binary" || !is_tar(&control.name, "control.tar") || !is_tar(&data.name, "data.tar") {
            return Err(failure.refuse(format!(
                "its members are {}, {} and {}, not debian-binary, control.tar and data.tar",
                binary.name, control.name, data.name
            )));
        }
        let mut version = Vec::new();
        reader.seek(SeekFrom::Start(binary.offset)).map_err(|error| failure.io("seek in", error))?;
        reader.take(binary.size.min(64)).read_to_end(&mut version).map_err(|error| failure.io("read", error))?;
        if !version.starts_with(b"2.") {
            return Err(failure.refuse(format!("it has format {}, not 2.0", version.trim_ascii().escape_ascii())));
        }
        let (control, data) = (control.clone(), data.clone());
        Ok(Self { path, file, control, data })
    }

    /// Reads the control archive.
    pub(super) fn control(&mut self) -> Result<Control, Error> {
        let member = self.control.clone();
        let failure = Failure { archive: self.path };
        let mut tarball = Tarball::new(self.decoder(&member)?, CONTROL_BYTES_MAX, failure);
        let mut text = None;
        let mut files = BTreeMap::new();
        while let Some(head) = tarball.next()? {
            let name = head.path.strip_prefix(b"./").unwrap_or(&head.path);
            match head.form {
                Form::Directory if matches!(name, b"" | b"." | b"./") => continue,
                Form::File => {}
                _ => {
                    return Err(
                        failure.refuse(format!("its control archive holds {}, which is no file", name.escape_ascii()))
                    );
                }
            }
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
            let name = match std::str::from_utf8(name) {
                Ok(name) if !name.is_empty() && !name.starts_with('.') && name.bytes().all(|byte| plain(&byte)) => {
                    name.to_owned()
                }
                _ => {
                    return Err(
                        failure.refuse(format!("its control archive holds the odd name {}", name.escape_ascii()))
                    );
                }
            };
            let mut bytes = Vec::new();
            let mode = head.mode & 0o777;
            tarball.body(|part| {
                bytes.extend_from_slice(part);
                Ok(())
            })?;
            let doubled = match name.as_str() {
                "control" => text.replace(bytes).is_some(),
                _ => files.insert(name.clone(), ControlFile { bytes, mode }).is_some(),
            };
            if doubled || files.len() > CONTROL_FILES_MAX {
                return Err(failure.refuse(format!("its control archive holds {name} twice, or too many files")));
            }
        }
        let text = text.ok_or_else(|| failure.refuse("its control archive has no control file"))?;
        Control::new(&text, files, &format!("control file of {}", self.path.display()))
    }

    /// Starts reading the data archive; `limit` is the most that it may unpack to, in bytes.
    pub(super) fn data(&mut self, limit: u64) -> Result<Tarball<'p>, Error> {
        let member = self.data.clone();
        Ok(Tarball::new(self.decoder(&member)?, limit, Failure { archive: self.path }))
    }

    fn decoder(&mut self, member: &Member) -> Result<Box<dyn Read + Send>, Error> {
        let failure = Failure { archive: self.path };
        let mut file = self.file.try_clone().map_err(|error| failure.io("open", error))?;
        file.seek(SeekFrom::Start(member.offset)).map_err(|error| failure.io("seek in", error))?;
        let raw = BufReader::with_capacity(64 * 1024, file.take(member.size));
        let compression = match member.name.rsplit('.').next().unwrap_or("") {
            "gz" => Compression::Gzip,
            "xz" => Compression::Xz,
            "lzma" => Compression::Lzma,
            "zst" => Compression::Zstd,
            "bz2" => Compression::Bzip2,
            _ => Compression::None,
        };
        compression.decode(raw).map_err(|error| failure.io("decompress", error))
    }
}

fn read_ar_header(header: &[u8; AR_HEADER_BYTES]) -> Option<(String, u64)> {
    if &header[58..60] != b"`\n" {
        return None;
    }
    let name = std::str::from_utf8(&header[..16]).ok()?.trim_ascii_end();
    let name = name.strip_suffix('/').unwrap_or(name);
    let size = std::str::from_utf8(&header[48..58]).ok()?.trim_ascii_end();
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    (digits && plain).then(|| Some((name.to_owned(), size.parse().ok()?)))?
}

fn is_tar(name: &str, stem: &str) -> bool {
    let kinds = ["", ".gz", ".xz", ".zst", ".bz2", ".lzma"];
    name.strip_prefix(stem).is_some_and(|suffix| kinds.contains(&suffix))
}

/// Reads the control archive of a package.
///
/// # Errors
/// I/O errors with the archive's path; [`Error::Archive`] for what is damaged or hostile.
pub fn read_control(path: &Path) -> Result<Control, Error> {
    Archive::open(path)?.control()
}
