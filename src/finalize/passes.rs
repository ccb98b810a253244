//! Between configuration and writing: an ordered list of pure passes over the tree.

use std::collections::BTreeMap;

use layers::{Content, Contents, Entry, Kind, Stack, Time, Tree, TreePath};
use providers::distro::{Rule, VolatilePath};

use crate::error::{Error, ResultExt};

/// A pass over the tree.
type Pass<'a> = Box<dyn Fn(Tree) -> Result<Tree, Error> + 'a>;

/// The tree as it is written: volatile paths settled, times bounded, hard links whole.
///
/// # Errors
/// A tree that contradicts itself.
pub fn apply(stack: &Stack, volatile: &[VolatilePath], epoch: i64) -> Result<Tree, Error> {
    let passes: Vec<Pass<'_>> = vec![
        Box::new(|tree| settle_volatile(tree, volatile)),
        Box::new(|tree| Ok(drop_runtime(tree))),
        Box::new(move |tree| Ok(bound_times(tree, epoch))),
        Box::new(|tree| {
            tree.check().to("check the finished tree")?;
            Ok(tree)
        }),
    ];
    passes.iter().try_fold(stack.tree().clone(), |tree, pass| pass(tree))
}

/// What must not be in an image as it was left behind, by the provider's table; the first rule
/// that matches a path counts.
fn settle_volatile(mut tree: Tree, rules: &[VolatilePath]) -> Result<Tree, Error> {
    let matches: BTreeMap<TreePath, Rule> = tree
        .iter()
        .filter_map(|(path, _)| {
            let rule = rules.iter().find(|rule| rule.path.matches(path.as_bytes()))?;
            Some((path.clone(), rule.rule))
        })
        .collect();
    for (path, rule) in matches {
        match rule {
            Rule::Delete | Rule::FirstBoot => {
                tree.remove(&path);
            }
            Rule::Contents => tree.clear_below(&path),
            Rule::Empty => {
                if let Some(entry) = tree.get_mut(&path)
                    && matches!(entry.kind, Kind::File(_))
                {
                    entry.kind = Kind::File(Content::of(b""));
                }
            }
        }
    }
    Ok(tree)
}

/// Directories that are mounted over in a running system are empty in the image.
fn drop_runtime(mut tree: Tree) -> Tree {
    for name in ["proc", "sys", "dev", "run", "tmp"] {
        if let Ok(path) = TreePath::new(name) {
            tree.clear_below(&path);
        }
    }
    tree
}

/// Nothing in an image is younger than its lock.
fn bound_times(mut tree: Tree, epoch: i64) -> Tree {
    for (_, entry) in tree.iter_mut() {
        if entry.meta.mtime >= Time::seconds(epoch) {
            entry.meta.mtime = Time::seconds(epoch);
        }
    }
    tree
}

/// Refuses what must never reach an image: an account that an empty password opens.
///
/// # Errors
/// Names the accounts.
pub fn verify(tree: &Tree, contents: &dyn Contents) -> Result<(), Error> {
    let shadow = TreePath::new("etc/shadow").to("name the password file")?;
    let Some(Entry { kind: Kind::File(content), .. }) = tree.get(&shadow) else { return Ok(()) };
    let mut text = Vec::new();
    let reader = contents.open(content).to("read the password file of the image")?;
    std::io::Read::read_to_end(&mut std::io::Read::take(reader, 16 << 20), &mut text)
        .to("read the password file of the image")?;
    let text = String::from_utf8_lossy(&text);
    let open: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.next() == Some("")).then_some(name)
        })
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Error::build(format!("failed to verify the image: an empty password opens {}", open.join(", ")))
        .hint("lock the account (passwd -l) or give it a password hash in customizations.users"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::{MemoryContents, Meta};

    #[test]
    fn an_empty_password_is_refused() {
        let mut contents = MemoryContents::default();
        let mut tree = Tree::default();
        tree.create_directories(&TreePath::new("etc").unwrap(), &Meta::root_owned(0o755, Time::default())).unwrap();
        let shadow = TreePath::new("etc/shadow").unwrap();
        let mut write = |text: &str| {
            let file = Entry::file(contents.add(text), Meta::root_owned(0o640, Time::default()));
            tree.insert(shadow.clone(), file).unwrap();
            verify(&tree, &contents)
        };
        assert!(write("root:*:1:::::\nann:$y$x:1:::::\n").is_ok());
        let error = write("root:*:1:::::\nann::1:::::\n").unwrap_err();
        assert!(error.to_string().ends_with("an empty password opens ann"), "{error}");
    }
}
