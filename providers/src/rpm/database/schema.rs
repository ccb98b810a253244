//! The tables of rpm's sqlite back end (rpm 4.16 and later, `rpmdb.sqlite`), as data.

use crate::rpm::header::tag::{self, Tag};

/// What an index table holds as its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// A string; looked up through an index on the key.
    Text,
    /// Bytes, or a number in the machine's own order; never looked up fast.
    Blob,
}

/// One table that finds packages by a tag's values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Its name: the tag's, as rpm prints it.
    pub(super) name: &'static str,
    /// The tag.
    pub(super) tag: Tag,
    /// What its keys are.
    pub(super) key: Key,
    /// Whether a package can have several rows, which is when rpm also keeps an index on `hnum`.
    pub(super) several: bool,
}

const fn text(name: &'static str, tag: Tag, several: bool) -> Table {
    Table { name, tag, key: Key::Text, several }
}

const fn blob(name: &'static str, tag: Tag) -> Table {
    Table { name, tag, key: Key::Blob, several: false }
}

/// All index tables, in the order in which rpm makes them.
pub(super) const TABLES: [Table; 18] = [
    text("Name", tag::NAME, false),
    text("Basenames", tag::BASENAMES, true),
    text("Group", tag::GROUP, false),
    text("Requirename", tag::REQUIRENAME, true),
    text("Providename", tag::PROVIDENAME, true),
    text("Conflictname", tag::CONFLICTNAME, true),
    text("Obsoletename", tag::OBSOLETENAME, true),
    text("Triggername", tag::TRIGGERNAME, true),
    text("Dirnames", tag::DIRNAMES, true),
    blob("Installtid", tag::INSTALLTID),
    blob("Sigmd5", tag::SIGMD5),
    text("Sha1header", tag::SHA1HEADER, false),
    text("Filetriggername", tag::FILETRIGGERNAME, true),
    text("Transfiletriggername", tag::TRANSFILETRIGGERNAME, true),
    text("Recommendname", tag::RECOMMENDNAME, true),
    text("Suggestname", tag::SUGGESTNAME, true),
    text("Supplementname", tag::SUPPLEMENTNAME, true),
    text("Enhancename", tag::ENHANCENAME, true),
];

/// The table of the packages themselves. Numbers are never used twice (AUTOINCREMENT).
pub(super) const PACKAGES: &str =
    r#"CREATE TABLE "Packages" (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"#;

impl Table {
    /// The statement that makes the table.
    pub(super) fn create(&self) -> String {
        let key = match self.key {
            Key::Text => "TEXT",
            Key::Blob => "BLOB",
        };
        format!(
            r#"CREATE TABLE "{}" (key {key} NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES "Packages"(hnum))"#,
            self.name
        )
    }

    /// The statements that make its indexes.
    pub(super) fn indexes(&self) -> Vec<String> {
        let name = self.name;
        let on = |column| format!(r#"CREATE INDEX "{name}_{column}_idx" ON "{name}"({column} ASC)"#);
        let keyed = (self.key == Key::Text).then(|| on("key"));
        let numbered = self.several.then(|| on("hnum"));
        keyed.into_iter().chain(numbered).collect()
    }
}
