//! The packages that an image has before any are put on it, by rpm's database in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use layers::{Contents, Entry, Kind, Stack, TreePath};
use providers::distro::RpmFacts;
use providers::rpm::database::Database;
use providers::rpm::installed::{KEY, check_size};
use providers::rpm::payload::PackagedFile;
use providers::rpm::transaction::Package;
use providers::rpm::{Header, Payload};
use providers::unpack::Aliases;

use crate::compose::landing::check_merged;
use crate::error::{Error, Kind as ErrorKind, ResultExt};

/// Where rpm's database may be besides where the distribution has it: rpm's own default, and that of Fedora
/// and its relatives (`%_dbpath`).
const DIRECTORIES: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// The database in the only format that is read (rpm, lib/backend/sqlite.c).
const DATABASE: &str = "rpmdb.sqlite";
/// Files of the other formats (lib/backend/dbi.c), and what these are called.
const FORMATS: [(&str, &str); 2] = [("Packages.db", "ndb"), ("Packages", "Berkeley DB")];
/// What lies beside a database of sqlite's that is open, or was not closed: its log, and that log's index
/// (sqlite.org/wal.html).
const LOG: &str = "-wal";
const INDEX: &str = "-shm";
/// What lies beside one that was left in the middle of a change (sqlite.org/atomiccommit.html).
const JOURNAL: &str = "-journal";
/// Largest file of a database that is read, in bytes: twice what a desktop has.
const DATABASE_MAX: u64 = 512 << 20;

/// rpm's database in an image.
pub struct Present {
    /// Its packages.
    pub database: Database,
    /// Where it is, through all links.
    pub place: TreePath,
    /// What lies beside it and belongs to it.
    pub beside: Vec<TreePath>,
    written: String,
}

/// A package that an image has.
pub struct Member {
    /// What rpm runs for it.
    pub package: Package,
    /// Its files, where they really lie.
    pub files: Vec<PackagedFile>,
}

impl Member {
    /// Its name.
    pub fn name(&self) -> &str {
        self.package.name()
    }
}

/// The database of an image; `written` is what the spec calls it.
///
/// # Errors
/// It has none, or one in another format; one that rpm would not read, or that was not closed; I/O errors.
pub fn database_in(written: &str, stack: &Stack, facts: &RpmFacts) -> Result<Present, Error> {
    let what = format!("failed to use the base image {written}");
    let directories = || [facts.database.as_str()].into_iter().chain(DIRECTORIES);
    let mut found = None;
    for directory in directories() {
        if found.is_none() {
            found = file(stack, &format!("{directory}/{DATABASE}"))?;
        }
    }
    let Some(place) = found else {
        for (directory, (name, format)) in directories().flat_map(|at| FORMATS.map(|format| (at, format))) {
            if file(stack, &format!("{directory}/{name}"))?.is_some() {
                return Err(Error::build(format!("{what}: its database of packages is in the format {format} (/{directory}/{name})"))
                    .hint("rpm 4.16 and later change it to sqlite: `rpmdb --rebuilddb` with %_db_backend sqlite, in the image"));
            }
        }
        return Err(Error::build(format!("{what}: it has no database of rpm's (/{}/{DATABASE})", facts.database))
            .hint("name an image whose packages rpm installed and knows"));
    };
    let named = |end: &str| TreePath::new([place.as_bytes(), end.as_bytes()].concat()).to("name rpm's database");
    let (log, index, journal) = (named(LOG)?, named(INDEX)?, named(JOURNAL)?);
    if entry(stack, &journal).is_some_and(|entry| size(entry) > 0) {
        return Err(Error::build(format!("{what}: its database of packages was left in the middle of a change"))
            .hint(format!("{journal} says so: `rpm -qa` as root in the image mends it")));
    }
    // sqlite reads files of the host.
    let hold = tempfile::tempdir().to("make a work directory")?;
    let copy = hold.path().join(DATABASE);
    copied(&what, stack, &place, &copy)?;
    if entry(stack, &log).is_some() {
        copied(&what, stack, &log, &hold.path().join(format!("{DATABASE}{LOG}")))?;
    }
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>, hint: Option<String>| {
        let failed =
            Error::build(format!("{what}: its database of packages ({place}) cannot be read")).caused_by(source);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    };
    let database = Database::read(&copy).map_err(|error| {
        let hint = error.hint();
        unreadable(error.into(), hint)
    })?;
    check_size(&database).map_err(|error| unreadable(error.into(), None))?;
    // Whether they are there is asked when they are removed: a scriptlet that reads the database makes them.
    let beside = vec![log, index, journal];
    Ok(Present { database, place, beside, written: written.to_owned() })
}

impl Present {
    /// The packages' headers, without keys.
    pub fn headers(&self) -> impl Iterator<Item = &Header> {
        use providers::rpm::header::tag;
        self.database.packages().map(|(_, header)| header).filter(|header| header.string(tag::NAME) != Some(KEY))
    }

    /// The packages in the order of their installation.
    ///
    /// # Errors
    /// A header that is damaged; an image that is laid out in another way than the distribution's own.
    pub fn members(&self, stack: &Stack, aliases: &Aliases) -> Result<Vec<Member>, Error> {
        let what = format!("failed to use the base image {}", self.written);
        let tree = stack.tree();
        check_merged(&what, tree, aliases)?;
        let damaged = |name: &str, error: Box<dyn std::error::Error + Send + Sync>| {
            Error::build(format!("{what}: its database of packages ({}) has a damaged entry", self.place))
                .caused_by(error)
                .hint(format!("it is that of {name}: name an image where it is whole"))
        };
        let mut real: BTreeMap<TreePath, TreePath> = BTreeMap::new();
        let mut members = Vec::new();
        for header in self.headers() {
            let package = Package::read(header).map_err(|error| damaged("a package", error.into()))?;
            let mut files = Payload::stated(header, Path::new(package.label()), aliases)
                .map_err(|error| damaged(package.label(), error.into()))?;
            for file in &mut files {
                let Some(parent) = file.place.parent() else { continue };
                let parent = match real.get(&parent) {
                    Some(real) => real,
                    None => {
                        let found = tree.resolve(&parent).to("follow links in the image")?;
                        real.entry(parent).or_insert(found)
                    }
                };
                file.place = parent.join(file.place.name()).to("name a file of the image")?;
            }
            members.push(Member { package, files });
        }
        Ok(members)
    }
}

/// Where a file of the image really is; `None` where there is none.
fn file(stack: &Stack, path: &str) -> Result<Option<TreePath>, Error> {
    let path = TreePath::new(path).to("name rpm's database")?;
    let real = stack.tree().resolve(&path).to("follow links in the image")?;
    Ok(entry(stack, &real).is_some().then_some(real))
}

/// The file at a path.
fn entry<'s>(stack: &'s Stack, path: &TreePath) -> Option<&'s Entry> {
    let found = match stack.tree().get(path)? {
        Entry { kind: Kind::HardLink(home), .. } => stack.tree().get(home)?,
        found => found,
    };
    matches!(found.kind, Kind::File(_)).then_some(found)
}

fn size(entry: &Entry) -> u64 {
    if let Kind::File(content) = &entry.kind { content.size } else { 0 }
}

/// Copies a file of the image to one of the host.
fn copied(what: &str, stack: &Stack, path: &TreePath, to: &Path) -> Result<(), Error> {
    let Some(Entry { kind: Kind::File(content), .. }) = entry(stack, path) else { return Ok(()) };
    if content.size > DATABASE_MAX {
        return Err(Error::build(format!("{what}: {path} is too large for a database of packages")));
    }
    let mut file = File::create_new(to).map_err(|source| Error::io(ErrorKind::Build, "create", to, source))?;
    let mut reader = stack.open(content).to("read a file of the image")?;
    io::copy(&mut reader, &mut file).map_err(|source| Error::io(ErrorKind::Build, "write", to, source))?;
    Ok(())
}
