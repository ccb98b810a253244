//! Users and groups that a package provides, which rpm 4.19 and later makes before the package's
//! files are laid (rpm, docs/manual/users_and_groups.md).

use crate::rpm::header::{Header, Tag, tag};
use crate::rpm::signature::decode_base64;

/// `RPMTAG_FILEDEPENDSX`, `RPMTAG_FILEDEPENDSN`, `RPMTAG_DEPENDSDICT`: for each file, where in the
/// dictionary the dependencies are that it brought, and how many.
const FILEDEPENDSX: Tag = Tag(1143);
const FILEDEPENDSN: Tag = Tag(1144);
const DEPENDSDICT: Tag = Tag(1145);
/// Flag of a capability of exactly one version (`RPMSENSE_EQUAL`).
const EQUAL: u32 = 1 << 3;

/// Lines of sysusers.d(5) that one file of a package holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Users {
    /// The file; none where the spec file states the lines itself. `systemd-sysusers --replace` gives
    /// these lines the file's place among others.
    pub file: Option<Box<[u8]>>,
    /// The lines, each with its end.
    pub lines: Vec<u8>,
}

/// The users and groups of a package, file by file, in the order of what it provides. A line is the
/// version of the capability `user(NAME)` or `group(NAME)`, in base64.
pub(super) fn read(header: &Header, path: impl Fn(usize) -> Option<Vec<u8>>) -> Vec<Users> {
    let mut users: Vec<Users> = Vec::new();
    let names = header.string_list(tag::PROVIDENAME).into_iter().flatten();
    let versions = header.string_list(tag::PROVIDEVERSION).into_iter().flatten();
    let flags = header.u32_list(tag::PROVIDEFLAGS).into_iter().flatten();
    for (at, ((name, version), flags)) in names.zip(versions).zip(flags).enumerate() {
        let is_account = name.starts_with(b"user(") || name.starts_with(b"group(");
        if !is_account || flags & EQUAL == 0 {
            continue;
        }
        let Some(decoded) = decode_base64(version) else { continue };
        // The line is padded with NULs, since `=` cannot be in a version.
        let line = decoded.split(|byte| *byte == 0).next().unwrap_or_default();
        let file: Option<Box<[u8]>> = providing_file(header, at).and_then(&path).map(Into::into);
        let place = users.iter().position(|known| known.file == file).unwrap_or(users.len());
        if place == users.len() {
            users.push(Users { file, lines: Vec::new() });
        }
        if let Some(known) = users.get_mut(place) {
            known.lines.extend_from_slice(line);
            known.lines.push(b'\n');
        }
    }
    users
}

/// The first file that brought a capability.
fn providing_file(header: &Header, capability: usize) -> Option<usize> {
    // An entry of the dictionary is a letter for the kind, `P`, and 24 bits of a number.
    let wanted = u32::try_from(capability).ok().filter(|number| *number < 1 << 24)? | u32::from(b'P') << 24;
    let dictionary: Vec<u32> = header.u32_list(DEPENDSDICT)?.collect();
    let starts = header.u32_list(FILEDEPENDSX)?;
    let counts = header.u32_list(FILEDEPENDSN)?;
    starts.zip(counts).position(|(start, count)| {
        let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(count)).ok());
        range.and_then(|(start, end)| dictionary.get(start..end)).is_some_and(|part| part.contains(&wanted))
    })
}
