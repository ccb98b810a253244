//! Where entries of a package land in a tree that has links and directories already.

use std::collections::BTreeMap;

use layers::{Change, Entry, Kind, Layer, Meta, Tree, TreePath};
use providers::unpack::Aliases;

use crate::error::{Error, ResultExt};

/// Sees that an image to start from has the links of a merged /usr that the distribution has; `what` begins the
/// sentence.
///
/// # Errors
/// It has not; links that lead in a circle.
pub fn check_merged(what: &str, tree: &Tree, aliases: &Aliases) -> Result<(), Error> {
    for (alias, real) in aliases.iter() {
        let leads = tree.get(alias).is_none() || tree.resolve(alias).to("follow links in the image")? == *real;
        if !leads {
            return Err(Error::build(format!("{what}: {alias} does not lead to {real}"))
                .hint("its /usr is not merged as the distribution's is: name an image where it is"));
        }
    }
    Ok(())
}

/// The directory that is there already and will do, so that the entry is not laid at all.
///
/// # Errors
/// Links in the image that lead in a circle.
pub fn existing(
    tree: &Tree,
    place: &TreePath,
    entry: &Entry,
    there: Option<&Entry>,
) -> Result<Option<TreePath>, Error> {
    let what = "follow links in the image";
    let directory = |path: &TreePath| -> Result<Option<TreePath>, Error> {
        let real = tree.resolve(path).to(what)?;
        Ok(tree.get(&real).is_some_and(Entry::is_directory).then_some(real))
    };
    match (&entry.kind, there.map(|there| &there.kind)) {
        (Kind::Directory | Kind::Symlink(_), Some(Kind::Directory)) => Ok(Some(place.clone())),
        (Kind::Directory, Some(Kind::Symlink(_))) => directory(place),
        // Two links to one directory: the one that is there stays.
        (Kind::Symlink(target), Some(Kind::Symlink(_))) => {
            let Some(real) = directory(place)? else { return Ok(None) };
            let from = if target.starts_with(b"/") { TreePath::root() } else { place.parent().unwrap_or_default() };
            let mut other = from;
            for name in target.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
                other = match name {
                    b".." => other.parent().unwrap_or_default(),
                    name => tree.resolve(&other.join(name).to(what)?).to(what)?,
                };
            }
            Ok((other == real).then_some(real))
        }
        _ => Ok(None),
    }
}

/// Hard links of a package's layer lead to where their files went (`moved`, by their own paths), in
/// what the package means. Of several names the first by path is the file.
///
/// # Errors
/// A file that another package keeps has further names in this one, whose name is `own`.
pub fn follow_hard_links(
    own: &str,
    layer: &Layer,
    moved: &BTreeMap<&TreePath, TreePath>,
    meaning: &mut Layer,
) -> Result<(), Error> {
    let at = |path: &TreePath| moved.get(path).unwrap_or(path).clone();
    let mut groups: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    for (path, change) in &layer.changes {
        let Change::Set(Entry { kind: Kind::HardLink(target), .. }) = change else { continue };
        if meaning.changes.contains_key(&at(path)) {
            groups.entry(at(target)).or_default().push(at(path));
        }
    }
    for (target, mut names) in groups {
        names.sort();
        let Some(file) = meaning.changes.get(&target).cloned() else {
            return Err(Error::build(format!(
                "failed to unpack {own}: it has further names for {target}, which another package keeps"
            )));
        };
        names.push(target);
        names.sort();
        let home = names.remove(0);
        for name in names {
            meaning.changes.insert(name, Change::Set(link(home.clone())));
        }
        meaning.changes.insert(home, file);
    }
    Ok(())
}

fn link(home: TreePath) -> Entry {
    Entry { kind: Kind::HardLink(home), meta: Meta::default() }
}
