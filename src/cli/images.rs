//! The commands that look into finished images.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use layers::TreePath;

use crate::error::{Error, Kind, ResultExt};
use crate::images::list::Style;
use crate::images::tree::{Mounted, tree};
use crate::images::{self, compare, extract, inspect, list, mount};
use crate::progress::{human_bytes, printable};

use super::arguments::{InsideArguments, LookArguments};
use super::print;

/// Exit code of `compare` when it could not compare, as cmp(1) and diff(1) have it.
const TROUBLE: u8 = 2;

/// Runs one of the commands.
///
/// # Errors
/// Those of the command.
pub(super) fn run(look: LookArguments) -> Result<ExitCode, Error> {
    match look {
        LookArguments::Inspect { image, json } => {
            let report = images::open(&image, inspect::inspect)?;
            print(&if json { as_json(&report)? } else { printable(&report.text()) })?;
        }
        LookArguments::Compare { a, b, json } => return Ok(compared(&a, &b, json)),
        LookArguments::Ls { inside, path, long, recursive } => {
            let path = named(path.as_deref().unwrap_or(Path::new("/")))?;
            within(&inside, |tree, out| list::list(tree, &path, Style { long, recursive }, out))?;
        }
        LookArguments::Cat { inside, paths } => {
            within(&inside, |tree, out| paths.iter().try_for_each(|path| list::cat(tree, &named(path)?, out)))?
        }
        LookArguments::Mount { inside, directory } => {
            let interrupted = super::interrupt::watch()?;
            let image = images::open_for_good(&inside.image)?;
            let place = directory.display();
            mount::mount(image, inside.partition, &directory, &interrupted, || {
                eprintln!("mounted {} at {place}; Ctrl-C or `fusermount3 -u {place}` ends it", inside.image.display());
            })?;
        }
        LookArguments::Extract { inside, paths, output_dir } => {
            let mut paths = paths.iter().map(|path| named(path)).collect::<Result<Vec<_>, _>>()?;
            if paths.is_empty() {
                paths.push(TreePath::root());
            }
            let done = images::open(&inside.image, |image| {
                extract::extract(&tree(image, inside.partition)?, &paths, &output_dir)
            })?;
            for path in &done.left_out {
                eprintln!("left out {path}: an ordinary user cannot make a device or a socket");
            }
            let (count, bytes) = (done.entries, human_bytes(done.bytes));
            eprintln!("extracted {count} files, {bytes}, into {}", output_dir.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A path in an image as people type it.
fn named(path: &Path) -> Result<TreePath, Error> {
    use std::os::unix::ffi::OsStrExt;
    TreePath::new(path.as_os_str().as_bytes())
        .or_fail(Kind::Usage, || format!("{} is no path in an image", path.display()))
}

/// Looks into the tree of an image; what is found goes to standard output.
fn within(
    inside: &InsideArguments,
    look: impl FnOnce(&Mounted<'_>, &mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(1 << 16, stdout().lock());
    let looked = images::open(&inside.image, |image| look(&tree(image, inside.partition)?, &mut out));
    let flushed = out.flush().or_fail(Kind::Other, || "failed to write to standard output".into());
    match looked.and(flushed) {
        Err(error) if is_closed(&error) => Ok(()),
        other => other,
    }
}

/// Whether whoever read the output has gone away (`| head`), which is no error.
fn is_closed(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        if current.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = current.source();
    }
    false
}

pub(super) fn as_json(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).or_fail(Kind::Other, || "failed to write JSON".into())?;
    Ok(text + "\n")
}

/// 0: the same; 1: they differ; 2: trouble.
fn compared(a: &PathBuf, b: &PathBuf, json: bool) -> ExitCode {
    let found = images::open(a, |a| images::open(b, |b| compare::compare(a, b)));
    let shown = found.and_then(|found| {
        print(&if json { as_json(&found)? } else { printable(&found.text()) })?;
        Ok(found.is_empty())
    });
    match shown {
        Ok(same) => ExitCode::from(u8::from(!same)),
        Err(error) => {
            // An error that cannot be shown still has its exit code.
            let _ = super::report::write_error(&mut std::io::stderr().lock(), &error);
            ExitCode::from(TROUBLE)
        }
    }
}
