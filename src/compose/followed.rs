//! What an initial ramdisk follows: whether a change of the system can change it.
//!
//! A generator takes its own settings and hooks, modules and firmware (the provider's
//! `initramfs.inputs`), and programs with their libraries. So a change concerns it that touches
//! an input, or a program or library that was there, or that brings a program which one of the
//! generator's scripts names: such scripts look whether one is there.

use std::collections::BTreeSet;
use std::io::Read;

use layers::{Change, Contents, Kind, Layer, Stack, Tree, TreePath};
use providers::distro::{Initramfs, PathPattern};

use super::dracut;
use crate::error::{Error, ResultExt};

/// Largest script that is looked through, in bytes. Real ones have some kilobytes.
const SCRIPT_MAX: u64 = 1 << 20;
/// Where programs are.
const PROGRAMS: [&[u8]; 4] = [b"usr/bin/", b"usr/sbin/", b"usr/local/bin/", b"usr/local/sbin/"];
/// Where everything is that a generator copies because it is there.
const COPIED: [&[u8]; 3] = [b"usr/bin/", b"usr/sbin/", b"usr/lib/"];

/// A package that is still to come, as far as a ramdisk may depend on it.
pub struct Coming<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its files.
    pub layer: &'a Layer,
    /// Its scripts, by what people call them.
    pub scripts: Vec<(&'a str, &'a [u8])>,
}

/// What a ramdisk follows that is made of one tree.
pub struct Followed<'a> {
    inputs: &'a [PathPattern],
    deferred: &'a str,
    tree: &'a Tree,
    words: BTreeSet<Vec<u8>>,
}

impl<'a> Followed<'a> {
    /// Reads the generator's scripts.
    ///
    /// # Errors
    /// I/O errors.
    pub fn read(facts: &'a Initramfs, stack: &'a Stack) -> Result<Self, Error> {
        let settings = facts.modules.iter().flat_map(|modules| &modules.settings);
        let read: Vec<&PathPattern> = facts.scripts.iter().chain(settings).collect();
        let mut scripts: Vec<(&TreePath, Vec<u8>)> = Vec::new();
        for (path, entry) in stack.tree().iter() {
            let Kind::File(content) = &entry.kind else { continue };
            if read.iter().any(|pattern| pattern.covers(path.as_bytes())) {
                let mut text = Vec::new();
                let script = stack.open(content).to("read a script of the image")?;
                script.take(SCRIPT_MAX).read_to_end(&mut text).to("read a script of the image")?;
                scripts.push((path, text));
            }
        }
        if let Some(modules) = &facts.modules {
            dracut::drop_unasked(modules, &facts.command, &mut scripts);
        }
        let words = scripts.iter().flat_map(|(_, text)| words_of(text)).map(<[u8]>::to_vec).collect();
        Ok(Self { inputs: &facts.inputs, deferred: &facts.deferred, tree: stack.tree(), words })
    }

    /// Whether a change at a path may change the ramdisk.
    pub fn is_concerned(&self, path: &TreePath) -> bool {
        let bytes = path.as_bytes();
        let within = |places: &[&[u8]]| places.iter().any(|place| bytes.starts_with(place));
        let name = bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        self.inputs.iter().any(|pattern| pattern.covers(bytes))
            || (within(&PROGRAMS) && self.words.contains(name))
            || (within(&COPIED) && self.tree.get(path).is_some())
    }

    /// Why the ramdisk may depend on a package, if it may: a file, or a script that asks for a new one.
    pub fn concerned_by(&self, package: &Coming<'_>) -> Option<String> {
        let command = self.deferred.rsplit('/').next().unwrap_or_default().as_bytes();
        let asks = |bytes: &[u8]| bytes.windows(command.len().max(1)).any(|window| window == command);
        if let Some((script, _)) = package.scripts.iter().find(|(_, text)| asks(text)) {
            return Some(format!("its {script} names {}", self.deferred));
        }
        let files = package.layer.changes.iter().filter_map(|(path, change)| match change {
            Change::Set(entry) if !entry.is_directory() => Some(path),
            _ => None,
        });
        files.into_iter().find(|path| self.is_concerned(path)).map(|path| format!("it brings {path}"))
    }

    /// The first file on which the ramdisk may depend and which is not as it was.
    pub fn changed_in<'t>(&'t self, now: &'t Tree) -> Option<&'t TreePath> {
        let files = |tree: &'t Tree| tree.iter().filter(|(_, entry)| !entry.is_directory());
        let other = files(now).filter(|(path, entry)| self.tree.get(path) != Some(*entry));
        let gone = files(self.tree).filter(|(path, _)| now.get(path).is_none());
        other.chain(gone).map(|(path, _)| path).find(|path| self.is_concerned(path))
    }
}

/// The words of a shell script that could be names of programs: outside comments, and not those
/// that are its variables.
fn words_of(script: &[u8]) -> BTreeSet<&[u8]> {
    let lines = || script.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-[".contains(byte);
    let mut words: BTreeSet<&[u8]> = lines().flat_map(|line| line.split(move |byte| !is_part(byte))).collect();
    words.remove(b"".as_slice());
    for line in lines() {
        for after in line.split(|&byte| byte == b'$').skip(1) {
            let name = after.strip_prefix(b"{").unwrap_or(after);
            let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(name.len());
            words.remove(name.get(..end).unwrap_or_default());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use layers::{Blake3, Content, Entry, Meta};

    use super::*;

    fn tree(files: &[(&str, u64)]) -> Tree {
        let mut tree = Tree::default();
        for (path, size) in files {
            let path = TreePath::new(path).unwrap();
            tree.create_directories(&path.parent().unwrap(), &Meta::default()).unwrap();
            let content = Content { digest: Blake3([0; 32]), size: *size };
            tree.insert(path, Entry { kind: Kind::File(content), meta: Meta::default() }).unwrap();
        }
        tree
    }

    const BEFORE: [(&str, u64); 3] = [("usr/lib/libc.so.6", 1), ("usr/bin/udevadm", 1), ("etc/hooks/a", 1)];

    /// The file for which a ramdisk of [`BEFORE`] is made again when these are added or changed.
    fn concerned(changed: &[(&str, u64)]) -> Option<String> {
        let inputs = [PathPattern::try_from("/etc/hooks".to_owned()).unwrap()];
        let before = tree(&BEFORE);
        let followed = Followed {
            inputs: &inputs,
            deferred: "update-initramfs",
            tree: &before,
            words: words_of(b"zstd").into_iter().map(<[u8]>::to_vec).collect(),
        };
        let mut files = BEFORE.to_vec();
        files.retain(|(path, _)| changed.iter().all(|(other, _)| other != path));
        files.extend(changed.iter().filter(|(_, size)| *size > 0));
        followed.changed_in(&tree(&files)).map(|path| path.to_string().trim_start_matches('/').to_owned())
    }

    #[test]
    fn what_it_takes_is_followed() {
        for path in ["etc/hooks/a", "etc/hooks/b", "etc/hooks/below/c", "usr/lib/libc.so.6", "usr/bin/udevadm"] {
            assert_eq!(concerned(&[(path, 2)]).as_deref(), Some(path));
        }
        assert_eq!(concerned(&[("usr/sbin/zstd", 1)]).as_deref(), Some("usr/sbin/zstd"), "a script names it");
        assert_eq!(concerned(&[("usr/lib/libc.so.6", 0)]).as_deref(), Some("usr/lib/libc.so.6"), "it is gone");
    }

    #[test]
    fn what_it_does_not_take_is_not_followed() {
        for path in ["usr/bin/vim", "usr/lib/libvim.so", "etc/ssh/sshd_config", "etc/hooksen", "usr/share/zstd"] {
            assert_eq!(concerned(&[(path, 1)]), None, "{path}");
        }
    }

    #[test]
    fn words_are_names_outside_comments_and_no_variables() {
        let script = b"#!/bin/sh\n # sudo is not used\nif [ -x /usr/sbin/fsck.ext4 ]; then\n\
                       for devlink in *; do copy_exec \"$(command -v zstd)\" \"${devlink}\"; done; fi\n";
        let words = words_of(script);
        for word in ["fsck.ext4", "zstd", "copy_exec"] {
            assert!(words.contains(word.as_bytes()), "{word}");
        }
        for word in ["sudo", "devlink", ""] {
            assert!(!words.contains(word.as_bytes()), "{word}");
        }
    }
}
