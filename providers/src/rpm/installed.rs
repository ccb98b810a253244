//! The packages of an image to start from, by rpm's database in it, for the choice of further ones.

use layers::Sha256;

use super::database::Database;
use super::file::Statement;
use super::header::{Header, tag};
use super::{Location, Package, Relation};

/// What rpm keeps of a key that it trusts: an entry of its own, which no file came of.
pub const KEY: &str = "gpg-pubkey";

/// Most files that all packages have together: twice those of a large desktop.
const FILES_MAX: usize = 1_000_000;
/// Most relations that they have together: several times as many.
const RELATIONS_MAX: usize = 2_000_000;
/// Most bytes of the paths of all their files.
const PATHS_BYTES_MAX: usize = 256 << 20;

/// More than any system has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("its packages have {what} together than any system's")]
pub struct TooLarge {
    what: &'static str,
}

/// Makes sure that what the packages of a database say can be kept in memory; to be asked before
/// anything is read from their headers.
///
/// # Errors
/// [`TooLarge`].
pub fn check_size(database: &Database) -> Result<(), TooLarge> {
    const RELATIONS: [tag::Tag; 8] = [
        tag::PROVIDENAME,
        tag::REQUIRENAME,
        tag::CONFLICTNAME,
        tag::OBSOLETENAME,
        tag::RECOMMENDNAME,
        tag::SUGGESTNAME,
        tag::SUPPLEMENTNAME,
        tag::ENHANCENAME,
    ];
    let (mut files, mut relations, mut bytes) = (0usize, 0usize, 0usize);
    for (_, header) in database.packages() {
        files = files.saturating_add(header.count(tag::BASENAMES));
        relations = RELATIONS.iter().fold(relations, |sum, tag| sum.saturating_add(header.count(*tag)));
        if files > FILES_MAX {
            return Err(TooLarge { what: "more files" });
        }
        if relations > RELATIONS_MAX {
            return Err(TooLarge { what: "more relations" });
        }
        each_path(header, |directory, name| bytes = bytes.saturating_add(directory.len()).saturating_add(name.len()));
        if bytes > PATHS_BYTES_MAX {
            return Err(TooLarge { what: "longer paths" });
        }
    }
    Ok(())
}

/// The packages of a database, without keys, as a repository would describe them; all their files are
/// known.
pub fn packages(database: &Database) -> Vec<Package> {
    database.packages().map(|(_, header)| package(header)).filter(|package| &*package.name != KEY).collect()
}

fn package(header: &Header) -> Package {
    let said = Statement::read(header);
    let mut files = Vec::with_capacity(header.count(tag::BASENAMES));
    each_path(header, |directory, name| {
        // A dependency on a path that is no text cannot be written.
        if let Ok(path) = String::from_utf8([directory, name].concat()) {
            files.push(path.into());
        }
    });
    let simple = |relation| match relation {
        Relation::Simple(dependency) => Some(dependency),
        Relation::Rich(_) => None,
    };
    Package {
        name: said.name,
        evr: said.evr,
        architecture: said.architecture,
        // Its file is nobody's concern any more.
        sha256: Sha256([0; 32]),
        size: 0,
        installed_size: said.installed_size,
        build_time: said.build_time,
        location: Location { path: "".into(), base: None },
        source: said.source,
        provides: said.provides,
        requires: said.requires,
        conflicts: said.conflicts,
        obsoletes: said.obsoletes.into_iter().filter_map(simple).collect(),
        recommends: said.recommends,
        suggests: said.suggests,
        supplements: said.supplements,
        enhances: said.enhances,
        files,
    }
}

/// The directory and the name of each file; what is in no directory is left out.
fn each_path(header: &Header, mut visit: impl FnMut(&[u8], &[u8])) {
    let directories: Vec<&[u8]> = header.string_list(tag::DIRNAMES).into_iter().flatten().collect();
    let indexes = header.u32_list(tag::DIRINDEXES).into_iter().flatten();
    for (name, index) in header.string_list(tag::BASENAMES).into_iter().flatten().zip(indexes) {
        if let Some(directory) = usize::try_from(index).ok().and_then(|index| directories.get(index)) {
            visit(directory, name);
        }
    }
}
