//! The rows that a package has in the index tables (rpm, lib/rpmdb.c, `tag2index`).

use std::collections::HashSet;

use super::rich;
use super::schema::Table;
use crate::rpm::header::tag;
use crate::rpm::header::{Header, Type};

/// Flags of a requirement (rpm, include/rpm/rpmds.h) that only installing needs: of `%pre`,
/// `%post`, `%pretrans` and `%posttrans`, `rpmlib(…)`, and signatures.
const INSTALLING: u32 = 1 << 9 | 1 << 10 | 1 << 24 | 1 << 26 | 1 << 7 | 1 << 5;
/// Flags of a requirement that erasing needs too: of `%preun` and `%postun`.
const ERASING: u32 = 1 << 11 | 1 << 12;
/// `RPMSENSE_META`: no requirement in time at all.
const META: u32 = 1 << 29;
/// What rpm writes for a package without a group.
const NO_GROUP: &[u8] = b"Unknown";

/// One row: the key, and which of the tag's values it stands for.
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) index: u32,
}

/// The rows of a package in one table, in the order in which rpm writes them.
///
/// # Errors
/// A clause about the package, when it has a trigger that belongs to no script.
pub(super) fn rows(header: &Header, table: &Table) -> Result<Vec<Row>, String> {
    let row = |key: &[u8], at: usize| Row { key: key.to_vec(), index: u32::try_from(at).unwrap_or(u32::MAX) };
    match table.tag {
        // Numbers are in the machine's own order, which on every machine that we make images for is
        // little-endian.
        tag::INSTALLTID => Ok(header.u32(tag::INSTALLTID).map(|id| row(&id.to_le_bytes(), 0)).into_iter().collect()),
        tag::SIGMD5 => Ok(header.bin(tag::SIGMD5).map(|md5| row(md5, 0)).into_iter().collect()),
        tag::GROUP => Ok(vec![row(header.string_bytes(tag::GROUP).unwrap_or(NO_GROUP), 0)]),
        tag::REQUIRENAME => Ok(requirements(header)),
        tag::TRIGGERNAME => {
            let mut seen = HashSet::new();
            let names = strings(header, table).enumerate();
            Ok(names.filter(|(_, name)| seen.insert(*name)).map(|(at, name)| row(name, at)).collect())
        }
        tag::FILETRIGGERNAME | tag::TRANSFILETRIGGERNAME => {
            let scripts = match table.tag {
                tag::FILETRIGGERNAME => tag::FILETRIGGERINDEX,
                _ => tag::TRANSFILETRIGGERINDEX,
            };
            let scripts = header.u32_list(scripts).into_iter().flatten();
            let rows: Vec<Row> = strings(header, table)
                .zip(scripts)
                .map(|(name, script)| Row { key: name.to_vec(), index: script })
                .collect();
            match rows.len() == header.count(table.tag) {
                true => Ok(rows),
                false => Err("one of its file triggers belongs to no script".into()),
            }
        }
        tag::CONFLICTNAME | tag::RECOMMENDNAME | tag::SUGGESTNAME | tag::SUPPLEMENTNAME | tag::ENHANCENAME => {
            let mut rows = Vec::new();
            for (at, name) in strings(header, table).enumerate() {
                rows.push(row(name, at));
                rows.extend(mentioned(header, table.tag, name).map(|name| row(&name, at)));
            }
            Ok(rows)
        }
        _ => Ok(strings(header, table).enumerate().map(|(at, name)| row(name, at)).collect()),
    }
}

fn strings<'h>(header: &'h Header, table: &Table) -> impl Iterator<Item = &'h [u8]> {
    header.string_list(table.tag).into_iter().flatten()
}

/// The names within a rich dependency.
fn mentioned(header: &Header, tag: tag::Tag, name: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
    let array = header.value(tag).is_some_and(|(kind, _)| kind == Type::StringArray);
    let names = match array && name.starts_with(b"(") {
        true => rich::names(name),
        false => Vec::new(),
    };
    names.into_iter()
}

/// Requirements that matter once the package is installed. What only its installation needed is
/// left out, so that it can be removed again.
fn requirements(header: &Header) -> Vec<Row> {
    let mut flags = header.u32_list(tag::REQUIREFLAGS).into_iter().flatten();
    let mut rows = Vec::new();
    for (at, name) in header.string_list(tag::REQUIRENAME).into_iter().flatten().enumerate() {
        let flags = flags.next().unwrap_or(0);
        if flags & INSTALLING != 0 && flags & ERASING == 0 && flags & META == 0 {
            continue;
        }
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        rows.push(Row { key: name.to_vec(), index });
        rows.extend(mentioned(header, tag::REQUIRENAME, name).map(|key| Row { key, index }));
    }
    rows
}
