//! rpm's database of installed packages, `rpmdb.sqlite` (rpm 4.16 and later, the sqlite back end):
//! written so that no table differs from what rpm itself would have written, and read back.
//!
//! One thing is left out on purpose: `sqlite_stat1`, statistics that rpm has sqlite gather when it
//! closes a database, and which say how often it was opened rather than what is in it.

mod entry;
mod error;
mod index;
mod read;
mod rich;
mod schema;
mod write;

pub use error::Error;

use super::Header;

/// Where a file of an installed package stands (rpm, include/rpm/rpmfiles.h, `rpmfileState_e`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FileState {
    /// It is there; also of ghosts, which need not be.
    #[default]
    Normal,
    /// Another package's file is there instead.
    Replaced,
    /// It was left out on purpose (documentation, languages).
    NotInstalled,
    /// It lies on a file system that is shared.
    NetShared,
    /// It was left out since another package's file, for a better machine, is there.
    WrongColor,
}

impl FileState {
    fn number(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Replaced => 1,
            Self::NotInstalled => 2,
            Self::NetShared => 3,
            Self::WrongColor => 4,
        }
    }
}

/// A package to enter as installed.
#[derive(Clone, Copy, Debug)]
pub struct Installed<'a> {
    /// The main header of its file.
    pub header: &'a Header,
    /// The signature header of its file.
    pub signature: &'a Header,
    /// When it was installed, seconds since 1970-01-01 UTC. With `SOURCE_DATE_EPOCH` rpm writes the
    /// epoch for the first package of a transaction and one second more for each that follows.
    pub time: u32,
    /// The transaction that installed it: when that began, in seconds since 1970-01-01 UTC.
    pub transaction: u32,
    /// Which word sizes the system takes (`%_transaction_color`): 3 on x86_64, 0 where there is one
    /// only.
    pub color: u32,
    /// The state of each of its files; empty where all are normal.
    pub states: &'a [FileState],
}

/// The packages of a database, each under the number that it has there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Database {
    /// In the order of their numbers, which is the order of their installation.
    packages: Vec<(u32, Header)>,
    /// The highest number that was ever given.
    last: u32,
}

impl Database {
    /// A database without packages.
    pub fn new() -> Self {
        Self::default()
    }

    /// The packages with their numbers, in the order of their installation. A package's header has
    /// what its file's header has, and what installing added.
    pub fn packages(&self) -> impl ExactSizeIterator<Item = (u32, &Header)> {
        self.packages.iter().map(|(number, header)| (*number, header))
    }

    /// Enters a package as installed, after all others, and gives its number.
    ///
    /// # Errors
    /// [`Error::Package`] for one that rpm would refuse.
    pub fn install(&mut self, package: &Installed<'_>) -> Result<u32, Error> {
        let header = entry::header(package)?;
        let number = self.last.checked_add(1).ok_or_else(|| Error::Package {
            package: header.string(super::header::tag::NAME).unwrap_or_default().to_owned(),
            reason: "no number is left for it".into(),
        })?;
        self.packages.push((number, header));
        self.last = number;
        Ok(number)
    }

    /// Takes a package out, such as one that another replaces. Its number is not used again.
    pub fn remove(&mut self, number: u32) -> Option<Header> {
        let at = self.packages.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.packages.remove(at).1)
    }
}

#[cfg(test)]
mod tests;
