//! The packages that are installed in an image, by the databases of dpkg and of rpm in it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use image::volume::FileKind;
use layers::TreePath;
use providers::rpm::database::Database;
use providers::rpm::file::Statement;
use providers::rpm::installed::KEY;
use serde::Serialize;

use super::list::CHUNK;
use super::tree::{Mounted, Place};
use crate::error::{Error, Kind, ResultExt};

/// Longest dpkg status that is read, in bytes: ten times what a desktop has.
const STATUS_MAX: usize = 256 << 20;

/// Largest file of rpm's database that is read, in bytes: as much.
const DATABASE_MAX: u64 = 2 << 30;

/// Where rpm's database is: its own default, and that of Fedora and its relatives (`%_dbpath`).
const DATABASES: [&str; 2] = ["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"];

/// A package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

/// The packages that dpkg(1) or rpm(8) has installed, sorted.
///
/// # Errors
/// Damage; a database that its own program would not read.
pub fn packages(tree: &Mounted<'_>) -> Result<Vec<Package>, Error> {
    let mut found = of_dpkg(tree)?;
    found.extend(of_rpm(tree)?);
    found.sort();
    Ok(found)
}

fn of_dpkg(tree: &Mounted<'_>) -> Result<Vec<Package>, Error> {
    let Some(text) = tree.text("var/lib/dpkg/status", STATUS_MAX)? else { return Ok(Vec::new()) };
    let sentence = || "failed to read /var/lib/dpkg/status".to_owned();
    let stanzas = providers::deb::control::stanzas(text.as_bytes(), "dpkg's status").or_fail(Kind::Other, sentence)?;
    let mut found = Vec::new();
    for stanza in stanzas {
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        if field("Status").ends_with(" installed") {
            let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
            found.push(Package { name, version, architecture });
        }
    }
    Ok(found)
}

fn of_rpm(tree: &Mounted<'_>) -> Result<Vec<Package>, Error> {
    for path in DATABASES {
        let Some(place) = file(tree, path)? else { continue };
        let failed = || format!("failed to read /{path} in the image");
        // sqlite reads files of the host.
        let hold = tempfile::tempdir().or_fail(Kind::Other, || "failed to make a temporary directory".into())?;
        let copy = hold.path().join("rpmdb.sqlite");
        copied(&place, &copy)?;
        // What an rpm that did not end well has written so far.
        if let Some(log) = file(tree, &format!("{path}-wal"))? {
            copied(&log, &hold.path().join("rpmdb.sqlite-wal"))?;
        }
        let database = Database::read(&copy).or_fail(Kind::Other, failed)?;
        let packages = database.packages().map(|(_, header)| Statement::read(header));
        return Ok(packages
            .filter(|said| &*said.name != KEY)
            .map(|Statement { name, evr, architecture, .. }| Package {
                name: name.into(),
                version: evr.to_string(),
                architecture: architecture.into(),
            })
            .collect());
    }
    Ok(Vec::new())
}

fn file<'a>(tree: &Mounted<'a>, path: &str) -> Result<Option<Place<'a>>, Error> {
    let path = TreePath::new(path).or_fail(Kind::Other, || format!("failed to look for /{path}"))?;
    Ok(tree.find(&path, true).ok().filter(|place| place.file.kind == FileKind::File))
}

/// Copies a file of the image to one of the host.
fn copied(place: &Place<'_>, target: &Path) -> Result<(), Error> {
    if place.file.size > DATABASE_MAX {
        return Err(Error::other(format!(
            "failed to read /{}: it is too large for a database of packages",
            place.path
        )));
    }
    let io = |source| Error::io(Kind::Other, "write", target, source);
    let mut file = File::create_new(target).map_err(io)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < place.file.size {
        let count = place.read(at, &mut buffer)?;
        if count == 0 {
            break;
        }
        file.write_all(buffer.get(..count).unwrap_or_default()).map_err(io)?;
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use image::{HostFile, squashfs};
    use layers::{Entry, MemoryContents, Meta, Time, Tree};
    use providers::rpm::Header;
    use providers::rpm::database::Installed;

    use super::*;
    use crate::images::tree::Mount;

    /// A header with these texts under these tags.
    fn header(texts: &BTreeMap<u32, &str>, region: u32) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        let number = |count: usize| u32::try_from(count).unwrap();
        for (tag, text) in texts {
            for word in [*tag, 6, number(data.len()), 1] {
                index.extend(word.to_be_bytes());
            }
            data.extend(text.bytes().chain([0]));
        }
        let (entries, trailer) = (number(texts.len()) + 1, number(data.len()));
        for word in [region, 7, 0u32.wrapping_sub(entries * 16), 16] {
            data.extend(word.to_be_bytes());
        }
        let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        for word in [entries, number(data.len()), region, 7, trailer, 16] {
            bytes.extend(word.to_be_bytes());
        }
        [bytes, index, data].concat()
    }

    fn database() -> Vec<u8> {
        let mut database = Database::new();
        let digest = "0".repeat(64);
        for (name, version, release, architecture) in [
            ("zlib", "1.3", "2.azl3", "x86_64"),
            ("bash", "5.2", "1.azl3", "x86_64"),
            (KEY, "3135ce90", "5e6fda74", ""),
        ] {
            let texts = BTreeMap::from([(1000, name), (1001, version), (1002, release), (1022, architecture)]);
            let texts = texts.into_iter().filter(|(_, text)| !text.is_empty()).collect();
            let main = Header::parse(&header(&texts, 63)).unwrap();
            let signature = Header::parse_signature(&header(&BTreeMap::from([(273, digest.as_str())]), 62)).unwrap();
            let installed =
                Installed { header: &main, signature: &signature, time: 1, transaction: 1, color: 3, states: &[] };
            database.install(&installed).unwrap();
        }
        let hold = tempfile::tempdir().unwrap();
        let path = hold.path().join("rpmdb.sqlite");
        database.write(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    /// What is found in a tree with these files.
    fn found(files: &[(&str, &[u8])]) -> Result<Vec<String>, Error> {
        let (mut tree, mut contents) = (Tree::default(), MemoryContents::default());
        let meta = Meta::root_owned(0o755, Time::default());
        for (path, bytes) in files {
            let path = TreePath::new(path).unwrap();
            tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
            tree.insert(path, Entry::file(contents.add(bytes.to_vec()), meta.clone())).unwrap();
        }
        let written = tempfile::NamedTempFile::new().unwrap();
        let options = squashfs::Options { level: 1, ..squashfs::Options::new(Time::default(), 1) };
        squashfs::write(&tree, &contents, &options, written.as_file(), written.path()).unwrap();
        let medium = HostFile::new(File::open(written.path()).unwrap(), written.path()).unwrap();
        let volume = image::volume::open(&medium).unwrap().unwrap();
        let mounted = Mounted::alone(Mount { path: TreePath::root(), number: 0, volume: volume.as_ref() });
        let packages = packages(&mounted)?.into_iter();
        Ok(packages.map(|package| format!("{} {} {}", package.name, package.version, package.architecture)).collect())
    }

    #[test]
    fn rpms_database_is_read_in_both_places() {
        let database = database();
        for path in DATABASES {
            let found = found(&[(path, &database)]).unwrap();
            assert_eq!(found, ["bash 5.2-1.azl3 x86_64", "zlib 1.3-2.azl3 x86_64"], "{path}");
        }
    }

    #[test]
    fn what_no_program_would_read_is_an_error() {
        assert!(found(&[("etc/fstab", b"")]).unwrap().is_empty());
        let error = found(&[(DATABASES[0], b"no database")]).unwrap_err().to_string();
        assert_eq!(error, "failed to read /var/lib/rpm/rpmdb.sqlite in the image");
        let database = database();
        let cut = database.get(..database.len() / 2).unwrap();
        assert!(found(&[(DATABASES[0], cut)]).is_err());
    }

    #[test]
    fn dpkgs_status_is_read() {
        let status = b"Package: a\nStatus: install ok installed\nVersion: 1-1\nArchitecture: amd64\n\n\
                       Package: b\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n";
        assert_eq!(found(&[("var/lib/dpkg/status", status)]).unwrap(), ["a 1-1 amd64"]);
    }
}
