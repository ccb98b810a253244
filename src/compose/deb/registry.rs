//! What the package manager knows: dpkg's database of a group of packages, apt's marks and
//! sources, the links of a merged /usr.

use std::collections::{BTreeMap, BTreeSet};

use layers::{Stack, TreePath};
use providers::deb::control::stanzas;
use providers::deb::dpkg::{Member, State, database, extended_states};
use providers::deb::{Aliases, MultiArch};

use super::ownership::Dropped;
use super::unpack::Unpacked;
use crate::configure::read_bytes;
use crate::context::Context;
use crate::draft::lay;
use crate::error::{Error, ResultExt};
use crate::stages::PackageSet;

/// Largest database file that is read back, in bytes.
pub(super) const DATABASE_MAX: u64 = 64 << 20;

/// Where the name begins on a line of sums: an MD5 in hexadecimal and two blanks.
const MD5_CHARACTERS: usize = 34;

/// apt's record of packages that are there only because others want them.
const MARKS: &str = "var/lib/apt/extended_states";

/// dpkg's own record of packages.
const STATUS: &str = "var/lib/dpkg/status";

/// The links of a merged /usr that packages need below them, where neither they ship them nor
/// others have.
///
/// # Errors
/// Errors of the store.
pub fn links(cx: &Context, packages: &[&Unpacked], aliases: &Aliases, stack: &mut Stack) -> Result<(), Error> {
    let shipped = |alias: &TreePath| packages.iter().any(|package| package.layer.layer.changes.contains_key(alias));
    let used = |alias: &TreePath| {
        let prefix = [b"/", alias.as_bytes(), b"/"].concat();
        packages.iter().any(|package| package.note.listed.iter().any(|path| path.starts_with(&prefix)))
    };
    let is_missing = |alias: &TreePath| stack.tree().get(alias).is_none() && used(alias) && !shipped(alias);
    let missing: Vec<_> = aliases.iter().filter(|(alias, _)| is_missing(alias)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    lay(cx, stack, "link into /usr", |_, draft| {
        for (alias, real) in missing {
            draft.ensure_directory(real, draft.root_owned(0o755))?;
            draft.symlink_owned(alias, real.as_bytes(), 0, 0)?;
        }
        Ok(())
    })
}

/// Tells dpkg of packages that are unpacked and not configured yet, and takes names out of lists:
/// those that a package lost to another one. `title` is what people call it.
///
/// # Errors
/// Control files that dpkg would not read; errors of the store.
pub fn register(
    cx: &Context,
    packages: &[&Unpacked],
    dropped: &Dropped<'_>,
    architecture: &str,
    title: &str,
    stack: &mut Stack,
) -> Result<(), Error> {
    let members: Vec<Member<'_>> = packages
        .iter()
        .map(|package| Member {
            control: &package.note.control,
            listed: &package.note.listed,
            conffiles: &package.note.conffiles,
            state: State::Unpacked,
        })
        .collect();
    let mut files = database(&members, architecture).to("write dpkg's database")?;
    let status = TreePath::new(STATUS).to("name dpkg's status")?;
    lay(cx, stack, title, |stack, draft| {
        for (info, names) in &dropped.names {
            let text = format!("var/lib/dpkg/info/{info}.list");
            let path = TreePath::new(&text).to("name a package's list")?;
            let whole = match files.remove(&path) {
                Some(file) => file.bytes,
                None => read_bytes(stack, &text, DATABASE_MAX)?.unwrap_or_default(),
            };
            let left: Vec<&[u8]> = whole.split(|&byte| byte == b'\n').filter(|name| !names.contains(name)).collect();
            draft.file(&text, left.join(&b'\n'), draft.root_owned(0o644))?;
        }
        for package in packages.iter().filter(|package| !package.has_script("md5sums")) {
            let info = info_name(package);
            let kept = |line: &&[u8]| {
                let name = line.get(MD5_CHARACTERS..).map(|name| [b"/", name].concat()).unwrap_or_default();
                !dropped.unlaid.get(&info).is_some_and(|names| names.contains(name.as_slice()))
            };
            let sums = &package.note.md5sums;
            let left: Vec<&[u8]> = sums.split(|&byte| byte == b'\n').filter(kept).collect();
            draft.file(&format!("var/lib/dpkg/info/{info}.md5sums"), left.join(&b'\n'), draft.root_owned(0o644))?;
        }
        for (path, file) in files {
            let text = String::from_utf8_lossy(path.as_bytes()).into_owned();
            let bytes = match read_bytes(stack, &text, DATABASE_MAX)? {
                Some(earlier) if is_appended(&text) => [earlier, file.bytes].concat(),
                // What the first group says for all stays.
                Some(_) => continue,
                None => file.bytes,
            };
            let bytes = if path == status { without(bytes, &dropped.names) } else { bytes };
            draft.file(&text, bytes, draft.root_owned(file.mode))?;
        }
        Ok(())
    })
}

/// dpkg's status, where the conffiles that another package has now are marked as obsolete
/// (dpkg(1), `--status`; dpkg, src/archive.c, `FNNF_OBS_CONFF`).
fn without(status: Vec<u8>, dropped: &BTreeMap<String, BTreeSet<&[u8]>>) -> Vec<u8> {
    let mut gone: Option<&BTreeSet<&[u8]>> = None;
    if dropped.is_empty() {
        return status;
    }
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in status.split(|&byte| byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"Package: ") {
            let of = |info: &&String| info.split(':').next().is_some_and(|package| package.as_bytes() == name);
            gone = dropped.iter().find(|(info, _)| of(info)).map(|(_, names)| names);
        }
        // " PATH MD5", and what is said of it already.
        let path = line.strip_prefix(b" ").and_then(|rest| rest.split(|&byte| byte == b' ').next());
        let is_gone = line.starts_with(b" /") && path.is_some_and(|path| gone.is_some_and(|gone| gone.contains(path)));
        lines.push(if is_gone { [line, b" obsolete"].concat() } else { line.to_vec() });
    }
    lines.join(&b'\n')
}

/// Whether later groups add to a file of the database: the packages and their interests. The
/// others are a package's own, or the same for all.
fn is_appended(path: &str) -> bool {
    path == STATUS || path.starts_with("var/lib/dpkg/triggers/")
}

/// The name of a package's files in dpkg's `info` directory.
pub fn info_name(package: &Unpacked) -> String {
    let name = &package.package.name;
    match package.note.control.package().map(|control| control.multi_arch) {
        Ok(MultiArch::Same) => format!("{name}:{}", package.package.architecture),
        _ => name.clone(),
    }
}

/// apt's marks and sources: the canonical repositories, so that the image updates itself from
/// where its packages come from, whatever mirror this build used.
///
/// # Errors
/// Errors of the store.
pub fn sources(cx: &Context, set: &PackageSet, stack: &mut Stack) -> Result<(), Error> {
    let lock = &set.lock;
    let architecture = lock.architecture.to_string();
    let automatic = lock
        .packages
        .iter()
        .filter(|package| package.automatic)
        .map(|package| (package.name.as_str(), package.architecture.as_str()));
    let before = marked_before(set, stack)?;
    let before = before.iter().map(|(name, architecture)| (name.as_str(), architecture.as_str()));
    let marks = extended_states(automatic.chain(before), &architecture);
    let has_sources = set.base.is_some() && has_sources(stack)?;
    let apt = TreePath::new("etc/apt").to("name apt's directory")?;
    if stack.tree().get(&apt).is_none() {
        return Ok(());
    }
    lay(cx, stack, "write package sources", |stack, draft| {
        draft.file(MARKS, marks, draft.root_owned(0o644))?;
        let keyring = format!("usr/share/keyrings/{}-archive-keyring.gpg", lock.os);
        let keyring = ["pgp", "gpg"]
            .map(|suffix| keyring.replace(".gpg", &format!(".{suffix}")))
            .into_iter()
            .find(|path| TreePath::new(path).is_ok_and(|path| stack.tree().get(&path).is_some()));
        for (id, text) in source_files(set, keyring.as_deref()) {
            let path = format!("etc/apt/sources.list.d/{id}.sources");
            let is_there = TreePath::new(&path).is_ok_and(|path| stack.tree().get(&path).is_some());
            let is_providers = set.distro.repositories.iter().any(|facts| facts.id.as_str() == id);
            // An image that was there before has its distribution's sources as it wants them.
            if !has_sources || !(is_there || is_providers) {
                draft.file(&path, text, draft.root_owned(0o644))?;
            }
        }
        Ok(())
    })
}

/// The packages of the image to start from that apt has as automatic, but for those that the spec
/// names: `apt-get install` marks these as manual.
fn marked_before(set: &PackageSet, stack: &Stack) -> Result<Vec<(String, String)>, Error> {
    let Some(text) = read_bytes(stack, MARKS, DATABASE_MAX)?.filter(|_| set.base.is_some()) else {
        return Ok(Vec::new());
    };
    let names: BTreeSet<&str> =
        set.lock.request.install.iter().filter_map(|wish| wish.split([':', '=']).next()).collect();
    let mut marked = Vec::new();
    for stanza in stanzas(&text, "apt's marks").to("read apt's marks in the base image")? {
        let get = |field| stanza.get(field).unwrap_or_default();
        if get("Auto-Installed") == "1" && !names.contains(get("Package")) {
            marked.push((get("Package").to_owned(), get("Architecture").to_owned()));
        }
    }
    Ok(marked)
}

/// Whether apt has a source at all (sources.list(5)).
fn has_sources(stack: &Stack) -> Result<bool, Error> {
    let directory = TreePath::new("etc/apt/sources.list.d").to("name apt's directory")?;
    let is_source = |path: &&TreePath| [&b".list"[..], b".sources"].iter().any(|end| path.name().ends_with(end));
    let parts = stack.tree().below(&directory).map(|(path, _)| path).filter(is_source);
    let mut paths: Vec<String> = parts.map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned()).collect();
    paths.push("etc/apt/sources.list".into());
    for path in paths {
        let text = read_bytes(stack, &path, DATABASE_MAX)?.unwrap_or_default();
        let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_start);
        if lines.any(|line| !line.is_empty() && !line.starts_with(b"#")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One deb822 file per repository (sources.list(5)), from the lock.
fn source_files(set: &PackageSet, keyring: Option<&str>) -> Vec<(String, String)> {
    let mut ids: Vec<String> = set.lock.repositories.iter().map(|repository| repository.id.to_string()).collect();
    ids.dedup();
    ids.into_iter()
        .map(|id| {
            let mut of_id: Vec<_> =
                set.lock.repositories.iter().filter(|repository| repository.id.as_str() == id).collect();
            // The lock sorts by name; people expect the distribution's own order.
            let facts = set.distro.repositories.iter().find(|facts| facts.id.as_str() == id);
            of_id.sort_by_key(|repository| {
                let place = |names: &[String], name: &str| names.iter().position(|known| known == name);
                facts.map(|facts| {
                    (place(&facts.suites, &repository.suite), place(&facts.components, &repository.component))
                })
            });
            let unique = |values: Vec<&str>| {
                let mut seen: Vec<&str> = Vec::new();
                for value in values {
                    if !value.is_empty() && !seen.contains(&value) {
                        seen.push(value);
                    }
                }
                seen.join(" ")
            };
            let url = of_id.first().map_or("", |repository| repository.url.as_str());
            let suites = unique(of_id.iter().map(|repository| repository.suite.as_str()).collect());
            let components = unique(of_id.iter().map(|repository| repository.component.as_str()).collect());
            let mut text = format!("Types: deb\nURIs: {url}\nSuites: {suites}\n");
            if !components.is_empty() {
                text.push_str(&format!("Components: {components}\n"));
            }
            if let (Some(_), Some(keyring)) = (facts, keyring) {
                text.push_str(&format!("Signed-By: /{keyring}\n"));
            }
            (id, text)
        })
        .collect()
}
