//! Writing a database: one transaction into a new file, so that equal packages give equal bytes.

use std::fs;
use std::path::Path;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, params};

use super::index::{self, Row};
use super::schema::{Key, PACKAGES, TABLES, Table};
use super::{Database, Error};
use crate::rpm::header::tag;

/// What makes a file of its own kind: pages as rpm has them, and nothing that a crash would need,
/// since a file that was not finished is removed. Content that sqlite moves within a page is
/// wiped where it was, so that no remains of it depend on chance.
const SETTINGS: &str = "PRAGMA page_size = 4096;
    PRAGMA encoding = 'UTF-8';
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA foreign_keys = OFF;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -65536;";

/// Bytes that are text to sqlite whether or not they are UTF-8: file names need not be.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

impl Database {
    /// Writes the database into a new file. The same packages give the same bytes, whatever was
    /// there before; no journal or write-ahead log is left beside it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file is there already or cannot be made, [`Error::Sqlite`] when it
    /// cannot be written to its end (the file is removed), [`Error::Package`] for a package with a
    /// trigger that belongs to no script.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        fs::File::create_new(path).map_err(|source| Error::Io { action: "create", path: path.into(), source })?;
        let written = self.fill(path);
        if written.is_err() {
            // What stopped the writing is the error to tell, not what stops the cleaning.
            let _ = fs::remove_file(path);
        }
        written
    }

    fn fill(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Sqlite { action: "write", path: path.into(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.execute_batch(SETTINGS).map_err(failed)?;
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(PACKAGES).map_err(failed)?;
        for table in &TABLES {
            transaction.execute_batch(&table.create()).map_err(failed)?;
        }
        self.put_packages(&transaction).map_err(failed)?;
        for table in &TABLES {
            let mut rows = Vec::new();
            for (number, header) in &self.packages {
                let found = index::rows(header, table).map_err(|reason| Error::Package {
                    package: header.string(tag::NAME).unwrap_or_default().to_owned(),
                    reason,
                })?;
                rows.extend(found.into_iter().map(|row| (*number, row)));
            }
            put(&transaction, table, &rows).map_err(failed)?;
            for statement in table.indexes() {
                transaction.execute_batch(&statement).map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)?;
        connection.close().map_err(|(_, source)| failed(source))
    }

    fn put_packages(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare(r#"INSERT INTO "Packages" VALUES (?, ?)"#)?;
        for (number, header) in &self.packages {
            insert.execute(params![number, header.raw()])?;
        }
        // Numbers of packages that are gone are not used again; sqlite notes the highest itself
        // only for packages that are there.
        if self.last > 0 {
            connection.execute("DELETE FROM sqlite_sequence", [])?;
            connection.execute("INSERT INTO sqlite_sequence VALUES ('Packages', ?)", [self.last])?;
        }
        Ok(())
    }
}

fn put(connection: &Connection, table: &Table, rows: &[(u32, Row)]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare(&format!(r#"INSERT INTO "{}" VALUES (?, ?, ?)"#, table.name))?;
    for (number, row) in rows {
        match table.key {
            Key::Text => insert.execute(params![Text(&row.key), number, row.index])?,
            Key::Blob => insert.execute(params![row.key, number, row.index])?,
        };
    }
    Ok(())
}
