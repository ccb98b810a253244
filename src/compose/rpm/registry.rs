//! What the package manager knows: rpm's database of the image's packages.

use layers::{Meta, Stack};
use providers::distro::RpmFacts;
use providers::rpm::database::{Database, Installed};

use super::present::Present;
use super::unpack::Unpacked;
use crate::context::Context;
use crate::draft::lay;
use crate::error::{Error, Kind, ResultExt};

/// Lays the database of packages, transaction by transaction, in the order of their installation, after those that
/// an image to start from has.
///
/// # Errors
/// A package that rpm would refuse; I/O errors.
pub fn database(
    cx: &Context,
    present: Option<&Present>,
    transactions: &[&[Unpacked]],
    facts: &RpmFacts,
    stack: &mut Stack,
) -> Result<(), Error> {
    let what = "write rpm's database";
    let mut database = present.map_or_else(Database::new, |present| present.database.clone());
    let epoch = u32::try_from(cx.epoch()).to("write the time of installation into rpm's database")?;
    for packages in transactions {
        let mut time = epoch;
        for package in *packages {
            let (header, signature) = (&package.header, &package.signature);
            let entry = Installed { header, signature, time, transaction: epoch, color: facts.color, states: &[] };
            database.install(&entry).to(what)?;
            // As rpm does where SOURCE_DATE_EPOCH is set, in each transaction anew.
            time = time.saturating_add(1);
        }
    }
    let hold = cx.work.stage().to("make a work directory")?;
    let path = hold.path().join("rpmdb.sqlite");
    database.write(&path).to(what)?;
    let bytes = std::fs::read(&path).map_err(|source| Error::io(Kind::Build, "read", &path, source))?;
    let Some(present) = present else {
        let place = format!("{}/rpmdb.sqlite", facts.database);
        return lay(cx, stack, what, |_, draft| draft.file(&place, bytes, draft.root_owned(0o644)));
    };
    lay(cx, stack, what, |stack, draft| {
        // rpm writes into the file that is there.
        let meta = stack.tree().get(&present.place).map_or_else(|| draft.root_owned(0o644), |entry| entry.meta.clone());
        let mtime = draft.root_owned(0o644).mtime;
        draft.file_at(&present.place, bytes, Meta { mtime, ..meta })?;
        // What a database left that was not closed is in the new one.
        present.beside.iter().try_for_each(|path| draft.remove(path))
    })
}
