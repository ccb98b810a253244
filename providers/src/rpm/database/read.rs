//! Reading a database that an image brought along, whoever wrote it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{Database, Error};
use crate::rpm::header::{Header, tag};

/// Most bytes of the file, and of its log. A desktop's database has 200 MB.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// Most bytes of all packages' headers together; they are kept in memory.
const HEADERS_BYTES_MAX: usize = 1 << 30;
/// Most bytes of one package's header, which is more than headers may have.
const HEADER_BYTES_MAX: usize = 256 << 20;
/// Most packages. All that a distribution has are some 60,000.
const PACKAGES_MAX: usize = 200_000;

/// Nothing that the file says of itself is run, and its pages are not trusted.
const SETTINGS: &str = "PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA query_only = ON;";

impl Database {
    /// Reads a database. The file is never written to; a write-ahead log beside it that an rpm
    /// left is taken into account.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Sqlite`] and [`Error::Damaged`] when it is
    /// not a database that rpm wrote, or is of a size that none has.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Sqlite { action: "read", path: path.into(), source };
        let source = Source::open(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(source.address(), flags).map_err(failed)?;
        connection.execute_batch(SETTINGS).map_err(failed)?;
        source.check_length(&connection, path)?;
        check_table(&connection, path)?;
        let mut database = Self::default();
        let mut bytes = 0usize;
        let damaged = |reason: String| Error::Damaged { path: path.into(), reason };
        {
            // sqlite knows a value's length without reading it.
            let query = format!(
                r#"SELECT hnum, CASE WHEN length(blob) <= {HEADER_BYTES_MAX} THEN blob END
                   FROM "Packages" NOT INDEXED ORDER BY hnum"#
            );
            let mut statement = connection.prepare(&query).map_err(failed)?;
            let mut rows = statement.query([]).map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let number: u32 = row.get(0).map_err(failed)?;
                // hnum 0 was, in older formats, where rpm kept a counter.
                if number <= database.last {
                    return Err(damaged(format!("its packages are out of order at {number}")));
                }
                let blob = row.get_ref(1).map_err(failed)?;
                let blob = blob.as_blob().map_err(|_| damaged(format!("package {number} is no header")))?;
                bytes = bytes.saturating_add(blob.len());
                if bytes > HEADERS_BYTES_MAX || database.packages.len() >= PACKAGES_MAX {
                    return Err(damaged("it has more packages than a system can have".into()));
                }
                let header = Header::parse_blob(blob)
                    .map_err(|malformed| damaged(format!("package {number}: {}", malformed.reason)))?;
                if header.string(tag::NAME).is_none_or(str::is_empty) {
                    return Err(damaged(format!("package {number} has no name")));
                }
                database.packages.push((number, header));
                database.last = number;
            }
        }
        database.last = sequence(&connection).map_err(failed)?.unwrap_or(0).max(database.last);
        Ok(database)
    }
}

/// Makes sure that the packages are in a plain table, whose reading runs nothing.
fn check_table(connection: &Connection, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Sqlite { action: "read", path: path.into(), source };
    let count = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let tables = count(
        "SELECT count(*) FROM sqlite_master WHERE name = 'Packages' AND type = 'table' AND sql NOT LIKE '%VIRTUAL%'",
    )?;
    let others = count("SELECT count(*) FROM pragma_table_xinfo('Packages') WHERE hidden <> 0")?;
    let keys = count(
        "SELECT count(*) FROM pragma_table_xinfo('Packages') WHERE name = 'hnum' AND pk = 1 AND type = 'INTEGER'",
    )?;
    match (tables, others, keys) {
        (1, 0, 1) => Ok(()),
        _ => Err(Error::Damaged { path: path.into(), reason: "it has no table of packages as rpm makes it".into() }),
    }
}

/// The highest number that was ever given to a package.
fn sequence(connection: &Connection) -> rusqlite::Result<Option<u32>> {
    let there = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence' AND type = 'table'";
    if connection.query_row(there, [], |row| row.get::<_, i64>(0))? != 1 {
        return Ok(None);
    }
    connection.query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = 'Packages'", [], |row| row.get(0))
}

/// The file to open: the database itself where it is complete, and a copy of it with its log where
/// it is not, since sqlite can only apply a log by writing.
enum Source {
    Itself(PathBuf),
    Copy(PathBuf, #[allow(dead_code, reason = "removed when dropped")] tempfile::TempDir),
}

impl Source {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { action, path, source }
        };
        let size = |path: &Path| match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(io::Error::other("it is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let bytes = size(path).and_then(|size| size.ok_or_else(missing)).map_err(failed("read", path))?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let log_bytes = size(&log).map_err(failed("read", &log))?.unwrap_or(0);
        if bytes.max(log_bytes) > FILE_BYTES_MAX {
            return Err(Error::Damaged { path: path.into(), reason: "it is larger than any".into() });
        }
        if log_bytes == 0 {
            let whole = std::path::absolute(path).map_err(failed("read", path))?;
            return Ok(Self::Itself(whole));
        }
        let directory = tempfile::tempdir().map_err(failed("copy", path))?;
        let copy = directory.path().join("rpmdb.sqlite");
        fs::copy(path, &copy).map_err(failed("copy", path))?;
        fs::copy(&log, directory.path().join("rpmdb.sqlite-wal")).map_err(failed("copy", &log))?;
        Ok(Self::Copy(copy, directory))
    }

    /// Makes sure that no page is missing at the end, which sqlite would notice only once it needs
    /// one.
    fn check_length(&self, connection: &Connection, path: &Path) -> Result<(), Error> {
        let Self::Itself(file) = self else { return Ok(()) };
        let failed = |source| Error::Sqlite { action: "read", path: path.into(), source };
        let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(failed);
        let (pages, bytes): (u32, u32) = (pragma("page_count")?, pragma("page_size")?);
        let length =
            fs::metadata(file).map_err(|source| Error::Io { action: "read", path: path.into(), source })?.len();
        match u64::from(pages) * u64::from(bytes) <= length {
            true => Ok(()),
            false => Err(Error::Damaged { path: path.into(), reason: "it is cut short".into() }),
        }
    }

    /// As sqlite takes it. A file that is complete is opened as one that nobody changes, which
    /// needs no lock and no file beside it.
    fn address(&self) -> String {
        let (path, parameters) = match self {
            Self::Itself(path) => (path, "?immutable=1"),
            Self::Copy(path, _) => (path, ""),
        };
        let mut address = String::from("file:");
        for byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
                byte => address.push_str(&format!("%{byte:02x}")),
            }
        }
        address + parameters
    }
}
