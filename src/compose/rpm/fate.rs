//! What becomes of a configuration file that is there when a transaction begins: nobody's, because a
//! scriptlet made it, or that of a package which is installed already (rpm, lib/rpmfi.c,
//! `rpmfilesConfigConflict` and `rpmfilesDecideFate`; lib/transaction.c says when).

use layers::{Entry, Kind};
use providers::rpm::payload::{FileType, PackagedFile};

/// What laying a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It takes its place.
    Laid,
    /// What is there stays, and the package's is not laid.
    Left,
    /// What is there stays, and the package's is beside it, with this behind its name.
    Beside(&'static str),
    /// It takes its place, and what is there gets this behind its name.
    Saving(&'static str),
}

/// The fate of a package's file. `shipped` is what its layer has of it, `there` what the image has
/// where it goes, `owner` the file of the installed package that has this path, all through hard links.
pub fn fate(file: &PackagedFile, shipped: &Entry, there: Option<&Entry>, owner: Option<&PackagedFile>) -> Fate {
    let is_config = file.flags.is_config() || owner.is_some_and(|owner| owner.flags.is_config());
    if !is_config || !matches!(shipped.kind, Kind::File(_) | Kind::Symlink(_)) {
        return Fate::Laid;
    }
    let Some(there) = there else {
        let is_left = owner.is_some() && file.flags.may_be_missing();
        return if is_left { Fate::Left } else { Fate::Laid };
    };
    // Nothing is laid over a directory, whatever it is.
    if there.kind == shipped.kind || there.is_directory() {
        return Fate::Laid;
    }
    match owner {
        // The package that is there has the same, so whoever changed it meant it.
        Some(owner) if is_one(file, owner) => Fate::Left,
        _ if file.flags.is_not_replaced() => Fate::Beside(".rpmnew"),
        Some(_) => Fate::Saving(".rpmsave"),
        None => Fate::Saving(".rpmorig"),
    }
}

/// Whether two packages have the same file or link.
fn is_one(one: &PackagedFile, other: &PackagedFile) -> bool {
    one.kind == other.kind
        && match one.kind {
            FileType::Regular => one.digest == other.digest,
            FileType::Symlink => one.target == other.target,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use layers::{Content, Meta, Time, TreePath};
    use providers::rpm::payload::FileFlags;

    use super::*;

    /// `%config`, `%config(missingok)`, `%config(noreplace)`, `%ghost %config` (rpmfiles.h).
    const PLAIN: u32 = 0;
    const CONFIG: u32 = 1;
    const MISSINGOK: u32 = 1 | 1 << 3;
    const NOREPLACE: u32 = 1 | 1 << 4;
    const GHOST: u32 = 1 | 1 << 6;

    fn file(flags: u32, text: &str) -> PackagedFile {
        PackagedFile {
            path: (*b"/etc/a").into(),
            place: TreePath::new("etc/a").unwrap(),
            kind: FileType::Regular,
            mode: 0o644,
            size: text.len() as u64,
            mtime: 1,
            digest: layers::Sha256::of(text.as_bytes()).0.into(),
            target: Box::default(),
            user: "root".into(),
            group: "root".into(),
            device: 0,
            identity: (0, 0),
            flags: FileFlags(flags),
            verify: 0,
            capabilities: "".into(),
        }
    }

    fn text(text: &str) -> Entry {
        Entry::file(Content::of(text.as_bytes()), Meta::default())
    }

    /// Each was tried with rpm 4.18: one package, whose scriptlet changes files, then another.
    #[test]
    fn configuration_meets_the_fate_that_rpm_gives_it() {
        let fate_of = |flags, there: Option<&Entry>, owner: Option<PackagedFile>| {
            fate(&file(flags, "new"), &text("new"), there, owner.as_ref())
        };
        let (new, made) = (text("new"), text("made"));
        let link = Entry::symlink(b"elsewhere", Time::seconds(1));
        for flags in [PLAIN, CONFIG, NOREPLACE] {
            assert_eq!(fate_of(flags, None, None), Fate::Laid);
            assert_eq!(fate_of(flags, Some(&new), None), Fate::Laid);
            assert_eq!(fate_of(flags, Some(&new), Some(file(flags, "new"))), Fate::Laid);
            // Removed by hand, it comes back.
            assert_eq!(fate_of(flags, None, Some(file(flags, "new"))), Fate::Laid);
        }
        assert_eq!(fate_of(MISSINGOK, None, Some(file(MISSINGOK, "new"))), Fate::Left);
        assert_eq!(fate_of(PLAIN, Some(&made), None), Fate::Laid);
        assert_eq!(fate_of(PLAIN, Some(&made), Some(file(PLAIN, "new"))), Fate::Laid);
        assert_eq!(fate_of(CONFIG, Some(&made), None), Fate::Saving(".rpmorig"));
        assert_eq!(fate_of(CONFIG, Some(&link), None), Fate::Saving(".rpmorig"));
        assert_eq!(fate_of(NOREPLACE, Some(&made), None), Fate::Beside(".rpmnew"));
        assert_eq!(fate_of(NOREPLACE, Some(&link), None), Fate::Beside(".rpmnew"));
        assert_eq!(fate_of(CONFIG, Some(&made), Some(file(CONFIG, "new"))), Fate::Left);
        assert_eq!(fate_of(NOREPLACE, Some(&made), Some(file(GHOST, "old"))), Fate::Beside(".rpmnew"));
        assert_eq!(fate_of(CONFIG, Some(&made), Some(file(GHOST, "old"))), Fate::Saving(".rpmsave"));
    }
}
