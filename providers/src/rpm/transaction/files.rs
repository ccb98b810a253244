//! Which files a file trigger is told of.

use std::collections::HashMap;

use super::package::{File, Package};
use crate::rpm::scripts::FileTrigger;

/// For each package to install, whether rpm lays each of its files itself. A file that two packages
/// share is laid with the first of them; a third one lays it again, since rpm only looks at the
/// package before (lib/transaction.c, `handleOverlappedFiles`). Paths are taken as they are
/// written: rpm would see through symlinks of directories that are there before it lays anything.
pub(super) fn laid(packages: &[Package]) -> Vec<Vec<bool>> {
    let mut before: HashMap<&[u8], bool> = HashMap::new();
    let mut laid = Vec::with_capacity(packages.len());
    for package in packages {
        let mut own = Vec::with_capacity(package.files.len());
        for file in &package.files {
            let is_laid = file.is_installed && !before.get(file.path.as_slice()).copied().unwrap_or(false);
            own.push(is_laid);
            before.insert(&file.path, is_laid && !file.is_ghost);
        }
        laid.push(own);
    }
    laid
}

/// The paths of one package's files that lie below a trigger's prefixes, one on a line: prefix by
/// prefix, each in the order of the header, and so perhaps twice.
pub(super) fn of_package(trigger: &FileTrigger, files: &[File], is_laid: &[bool]) -> Vec<u8> {
    let mut lines = Vec::new();
    for prefix in &trigger.prefixes {
        for (file, is_laid) in files.iter().zip(is_laid) {
            if *is_laid && file.path.starts_with(prefix.as_bytes()) {
                line(&mut lines, file);
            }
        }
    }
    lines
}

/// The paths of all these packages' files that lie below a trigger's prefixes: prefix by prefix,
/// package by package. Only packages with a directory below the prefix are looked at.
pub(super) fn of_system<'a>(trigger: &FileTrigger, packages: impl Iterator<Item = &'a Package> + Clone) -> Vec<u8> {
    let mut lines = Vec::new();
    for prefix in &trigger.prefixes {
        for package in packages.clone().filter(|package| package.has_directory_below(prefix)) {
            for file in &package.files {
                if file.is_installed && file.path.starts_with(prefix.as_bytes()) {
                    line(&mut lines, file);
                }
            }
        }
    }
    lines
}

fn line(lines: &mut Vec<u8>, file: &File) {
    lines.extend_from_slice(&file.path);
    lines.push(b'\n');
}
