//! dpkg's status file: stanzas written field for field as dpkg writes them, and read back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::database::{Conffile, State};
use crate::deb::Error;
use crate::deb::control::{Stanza, stanzas};
use crate::deb::relation;

/// The fields that dpkg knows, in the order in which it writes them (dpkg's field table, in its
/// lib/dpkg/parse.c). All others follow in the order of the package.
const FIELDS: [&str; 26] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Config-Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

/// Fields of a control file that never reach the status file: they are of the archive.
const ARCHIVE_FIELDS: [&str; 5] = ["Filename", "Size", "MD5sum", "Triggers-Pending", "Triggers-Awaited"];

/// Writes the stanza of one package, without the empty line that ends it.
///
/// # Errors
/// [`Error::Relation`] for a relation field that cannot be read.
pub(super) fn stanza(
    control: Stanza<'_>,
    state: State,
    conffiles: &[Conffile],
    architecture: &str,
) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    for name in FIELDS {
        let value = control.get(name).unwrap_or("");
        match name {
            "Status" => line(&mut text, name, &format!("install ok {}", state.as_str())),
            "Conffiles" => write_conffiles(&mut text, conffiles),
            // dpkg remembers the version that was configured last until the package is installed.
            "Config-Version" => {}
            "Essential" | "Protected" => {
                if value.eq_ignore_ascii_case("yes") {
                    line(&mut text, name, "yes");
                }
            }
            "Multi-Arch" if value == "no" => {}
            "Priority" => line(&mut text, name, &value.to_ascii_lowercase()),
            "Version" => line(&mut text, name, plain_version(value)),
            "Replaces" | "Provides" | "Depends" | "Pre-Depends" | "Recommends" | "Suggests" | "Breaks"
            | "Conflicts" | "Enhances" => line(&mut text, name, &relations(value, architecture)?),
            _ => line(&mut text, name, value),
        }
    }
    for field in control.fields() {
        let same = |known: &&str| known.eq_ignore_ascii_case(field.name);
        if !FIELDS.iter().any(same) && !ARCHIVE_FIELDS.iter().any(same) {
            line(&mut text, field.name, field.value);
        }
    }
    Ok(text)
}

fn line(text: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
}

fn write_conffiles(text: &mut Vec<u8>, conffiles: &[Conffile]) {
    if conffiles.is_empty() {
        return;
    }
    text.extend_from_slice(b"Conffiles:\n");
    for conffile in conffiles {
        text.push(b' ');
        text.extend_from_slice(&conffile.path);
        text.push(b' ');
        match conffile.md5 {
            Some(md5) => text.extend_from_slice(hex::encode(md5).as_bytes()),
            None => text.extend_from_slice(b"newconffile"),
        }
        if conffile.remove_on_upgrade {
            text.extend_from_slice(b" remove-on-upgrade");
        }
        text.push(b'\n');
    }
}

/// A version without an epoch of zero, as dpkg writes it, unless the rest holds a colon.
fn plain_version(version: &str) -> &str {
    match version.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte == b'0') && !rest.contains(':') => rest,
        _ => version,
    }
}

/// A relation field as dpkg writes it.
fn relations(field: &str, architecture: &str) -> Result<String, Error> {
    let mut text = String::new();
    for (at, relation) in relation::parse(field, architecture)?.iter().enumerate() {
        for (place, alternative) in relation.alternatives.iter().enumerate() {
            let separator = match (at, place) {
                (0, 0) => "",
                (_, 0) => ", ",
                _ => " | ",
            };
            let mut alternative = *alternative;
            if let Some(bound) = &mut alternative.bound {
                bound.version = plain_version(bound.version);
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{alternative}");
        }
    }
    Ok(text)
}

/// One package of a status file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The name.
    pub name: String,
    /// The architecture.
    pub architecture: String,
    /// The version; empty for a package that is not there.
    pub version: String,
    /// The three words of Status, such as `install ok installed`.
    pub status: String,
    /// All fields by name, with their values as written.
    pub fields: BTreeMap<String, String>,
}

impl Record {
    /// Whether the package is installed and configured.
    pub fn is_installed(&self) -> bool {
        self.status.ends_with(" ok installed")
    }
}

/// Reads a status file.
///
/// # Errors
/// [`Error::Control`] for text that no dpkg writes.
pub fn parse_status(text: &[u8]) -> Result<Vec<Record>, Error> {
    let what = "dpkg status file";
    let mut records = Vec::new();
    for stanza in stanzas(text, what)? {
        stanza.check(what)?;
        let get = |name| stanza.get(name).unwrap_or("").to_owned();
        let record = Record {
            name: get("Package"),
            architecture: get("Architecture"),
            version: get("Version"),
            status: get("Status"),
            fields: stanza.fields().map(|field| (field.name.to_owned(), field.value.to_owned())).collect(),
        };
        if record.name.is_empty() || record.status.split(' ').count() != 3 {
            let reason = format!("a package lacks its name or its status: {:?}", record.name);
            return Err(Error::Control { what: what.into(), line: 1, reason });
        }
        records.push(record);
    }
    Ok(records)
}
