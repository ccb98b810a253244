//! The packages that an image has before any are put on it: who they are, and which names are theirs.

use std::collections::BTreeMap;

use layers::{Entry, Kind, Stack, TreePath};
use providers::deb::Aliases;
use providers::deb::dpkg::{Installed, InstalledPackage};

use super::registry::DATABASE_MAX;
use crate::compose::landing::check_merged;
use crate::configure::read_bytes;
use crate::error::{Error, ResultExt};

/// Where dpkg keeps what it knows of packages.
const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
/// What configures packages; where it is, is Debian's own affair.
const DPKG: &str = "usr/bin/dpkg";

/// Most bytes that all lists have together: ten times those of a desktop.
const LISTS_MAX: usize = 256 << 20;

/// A package that an image has, with its names.
pub struct Present {
    /// Who it is.
    pub package: InstalledPackage,
    /// What its files in `info` are called, without their endings.
    pub info: String,
    /// Its paths, as dpkg lists them.
    pub listed: Vec<Vec<u8>>,
}

/// The packages that dpkg knows in an image; `written` is what the spec calls it.
///
/// # Errors
/// It has no database of dpkg's, or one that dpkg would not read or would mend first; I/O errors.
pub fn installed_in(written: &str, stack: &Stack) -> Result<Installed, Error> {
    let what = format!("failed to use the base image {written}");
    let Some(status) = whole(stack, STATUS)? else {
        return Err(Error::build(format!("{what}: it has no database of dpkg's (/{STATUS})"))
            .hint("name an image whose packages dpkg installed and knows"));
    };
    Installed::read(&status).map_err(|error| {
        Error::build(what)
            .caused_by(error)
            .hint("every package of it has to be installed and configured: `dpkg --audit` in it says what is not")
    })
}

/// As [`installed_in`], with the names of each; sees that others can be put beside them.
///
/// # Errors
/// As [`installed_in`]; an image without dpkg, or that is laid out in another way than the
/// distribution's own.
pub fn present(written: &str, stack: &Stack, aliases: &Aliases) -> Result<Vec<Present>, Error> {
    let what = format!("failed to use the base image {written}");
    let tree = stack.tree();
    let dpkg = tree.resolve(&TreePath::new(DPKG).to("name dpkg")?).to("follow links in the image")?;
    if tree.get(&dpkg).is_none_or(Entry::is_directory) {
        return Err(Error::build(format!("{what}: it has no dpkg (/{DPKG}) to configure packages with"))
            .hint("name an image that has one"));
    }
    check_merged(&what, tree, aliases)?;
    let lists = lists(stack)?;
    let (mut found, mut bytes) = (Vec::new(), 0usize);
    for package in installed_in(written, stack)?.packages {
        let qualified = format!("{}:{}", package.name, package.architecture);
        let info = [qualified, package.name.clone()].into_iter().find(|info| lists.contains_key(info));
        let Some((info, path)) = info.and_then(|info| Some((info.clone(), lists.get(&info)?))) else {
            return Err(Error::build(format!("{what}: dpkg has no list of the files of {}", package.name))
                .hint("its database is damaged: name an image where it is whole"));
        };
        let text = whole(stack, path)?.unwrap_or_default();
        bytes = bytes.saturating_add(text.len());
        if bytes > LISTS_MAX {
            return Err(Error::build(format!("{what}: its packages have more files than any system has")));
        }
        let listed = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/")).map(<[u8]>::to_vec);
        found.push(Present { package, info, listed: listed.collect() });
    }
    Ok(found)
}

/// The lists of an image by the names of their packages.
fn lists(stack: &Stack) -> Result<BTreeMap<String, String>, Error> {
    let info = TreePath::new(INFO).to("name dpkg's lists")?;
    let files = stack.tree().below(&info).filter(|(_, entry)| matches!(entry.kind, Kind::File(_) | Kind::HardLink(_)));
    let named = files.filter_map(|(path, _)| {
        let name = std::str::from_utf8(path.name()).ok()?.strip_suffix(".list")?;
        Some((name.to_owned(), format!("{INFO}/{name}.list")))
    });
    Ok(named.collect())
}

/// A file of the database; `None` where it is not there.
fn whole(stack: &Stack, path: &str) -> Result<Option<Vec<u8>>, Error> {
    let bytes = read_bytes(stack, path, DATABASE_MAX)?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 >= DATABASE_MAX) {
        return Err(Error::build(format!("failed to read /{path} of the image: it is too large")));
    }
    Ok(bytes)
}
