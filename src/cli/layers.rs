//! `layers`: what the store holds.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::oci::archive::Rewind;
use layers::Store;

use crate::config::Config;
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::Target;
use crate::inventory::difference::difference;
use crate::inventory::lineage::{self, Lineage};
use crate::inventory::list::{self, Info, Row};
use crate::inventory::parcel;
use crate::inventory::usage::{Usage, usage};
use crate::inventory::verify::{Report, verify};
use crate::inventory::{self, short};
use crate::progress::{Reporter, human_bytes, printable};
use crate::slots;

use super::images::as_json;
use super::layers_arguments::LayersCommand;
use super::{interrupt, print};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Runs one of the commands of `layers`.
///
/// # Errors
/// Those of the command.
pub(super) fn run(
    config: &Config,
    directory: &Path,
    reporter: impl FnOnce() -> Arc<dyn Reporter>,
    command: LayersCommand,
) -> Result<ExitCode, Error> {
    // No store is opened for it: it waits for nobody, and takes all places.
    if let LayersCommand::Gc = command {
        let freed = crate::cleaning::collect(config)?;
        print(&format!("freed {}\n", human_bytes(freed)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = inventory::store(config)?;
    let lineages = || lineage::all(&config.cache_dir);
    match command {
        LayersCommand::Ls { json } => {
            let rows = list::rows(&store)?;
            print(&if json { as_json(&rows)? } else { table(&rows) })?;
        }
        LayersCommand::Tree { name, json } => {
            let mut found = lineages();
            if let Some(name) = &name {
                found.retain(|lineage| lineage.name == *name);
                if found.is_empty() {
                    return Err(Error::other(format!("no spec '{name}' was built with this cache directory")));
                }
            }
            print(&if json { as_json(&found)? } else { trees(&store, &found) })?;
        }
        LayersCommand::Info { id, json } => {
            let info = list::info(&store, &inventory::layer(&store, &id)?, &lineages())?;
            print(&if json { as_json(&info)? } else { told(&info) })?;
        }
        LayersCommand::Diff { a, b, json } => {
            let subject = |name: &str| inventory::find(&store, &config.cache_dir, name);
            let found = difference(&store, &subject(&a)?, &subject(&b)?)?;
            print(&if json { as_json(&found)? } else { printable(&found.text()) })?;
            return Ok(ExitCode::from(u8::from(!found.is_empty())));
        }
        LayersCommand::Du { json } => {
            let usage = usage(&store, &lineages())?;
            print(&if json { as_json(&usage)? } else { sums(&usage) })?;
        }
        LayersCommand::Verify { repair, json } => {
            // What is removed may be mounted by nobody.
            let _alone = repair.then(|| slots::alone(config)).transpose()?;
            let lineages = repair.then(lineages);
            let report = verify(&store, lineages.as_deref(), &reporter(), interrupt::watch()?.as_ref())?;
            print(&if json { as_json(&report)? } else { printable(&verdict(&report)) })?;
            return Ok(ExitCode::from(u8::from(!report.damaged.is_empty() && !repair)));
        }
        LayersCommand::Export { id, file, force } => export(&store, &id, &directory.join(file), force)?,
        LayersCommand::Import { file, trust_keys } => {
            // As a build does, so that nothing is cleaned away meanwhile.
            let _slot = slots::slot(config, interrupt::watch()?.as_ref(), &*reporter())?;
            import(&store, &directory.join(file), trust_keys)?;
        }
        LayersCommand::Gc => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no layer is kept\n".into();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut text = format!("{:<12}  {:>10}  {:>7}  {:<12}  MADE OF\n", "ID", "SIZE", "FILES", "USED");
    for row in rows {
        let (size, files) = match (row.bytes, row.files) {
            (Some(bytes), Some(files)) => (human_bytes(bytes), files.to_string()),
            _ => ("damaged".into(), "-".into()),
        };
        let used = row.used.map_or("never".into(), |used| ago(now.saturating_sub(used)));
        let made = printable(row.made.as_deref().unwrap_or("-")).replace('\n', " ");
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}  {size:>10}  {files:>7}  {used:<12}  {made}", short(&row.id));
    }
    text
}

/// How long ago, to the hour: nothing finer is kept.
fn ago(seconds: u64) -> String {
    match (seconds / DAY, seconds / 3600) {
        (0, 0) => "this hour".into(),
        (0, 1) => "1 hour ago".into(),
        (0, hours) => format!("{hours} hours ago"),
        (1, _) => "1 day ago".into(),
        (days, _) => format!("{days} days ago"),
    }
}

fn trees(store: &Store, lineages: &[Lineage]) -> String {
    if lineages.is_empty() {
        return "no spec was built with this cache directory\n".into();
    }
    let mut text = String::new();
    for lineage in lineages {
        let _ = writeln!(text, "{}", lineage.name);
        let last = lineage.layers.len().saturating_sub(1);
        for (at, member) in lineage.layers.iter().enumerate() {
            let branch = if at == last { "└─" } else { "├─" };
            let size = match store.peek(&member.id) {
                Ok(Some(layer)) => human_bytes(layer.bytes()),
                _ => "gone".into(),
            };
            let others = lineages
                .iter()
                .filter(|other| other.name != lineage.name && other.layers.iter().any(|own| own.id == member.id));
            let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
            let shared = if others.is_empty() { String::new() } else { format!("  (also {})", others.join(", ")) };
            let made = printable(&member.made.join(", ")).replace('\n', " ");
            let _ = writeln!(text, "{branch} {}  {size:>10}  {made}{shared}", short(&member.id));
        }
    }
    text
}

fn told(info: &Info) -> String {
    let mut text = format!("id: {}\n", info.id);
    if let Some(made) = &info.made {
        let _ = writeln!(text, "made of: {}", printable(made));
    }
    let _ = writeln!(text, "size: {} ({} bytes)", human_bytes(info.bytes), info.bytes);
    for (what, count) in [
        ("files", info.files),
        ("hard links", info.hard_links),
        ("directories", info.directories),
        ("symbolic links", info.symlinks),
        ("devices, pipes and sockets", info.special),
        ("removed", info.removed),
        ("opaque directories", info.opaque),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{what}: {count}");
        }
    }
    for spec in &info.specs {
        let _ = writeln!(text, "spec: {spec}");
    }
    for key in &info.keys {
        let _ = writeln!(text, "key: {key}");
    }
    text
}

fn sums(usage: &Usage) -> String {
    let mut text = format!(
        "{} layers, {} in {} files, of which {} are in several layers\n",
        usage.layers,
        human_bytes(usage.bytes),
        usage.files,
        human_bytes(usage.duplicate_bytes)
    );
    for share in &usage.specs {
        let (bytes, shared) = (human_bytes(share.bytes), human_bytes(share.shared_bytes));
        let _ =
            writeln!(text, "{}: {} layers, {bytes}, of which {shared} are other specs', too", share.name, share.layers);
    }
    let _ = writeln!(text, "of no spec: {}", human_bytes(usage.unused_bytes));
    text
}

fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for damaged in &report.damaged {
        let made = damaged.made.as_deref().map_or(String::new(), |made| format!(" ({})", made.replace('\n', " ")));
        let _ = writeln!(text, "damaged: {}{made}", damaged.id);
        for flaw in &damaged.flaws {
            let _ = writeln!(text, "  {flaw}");
        }
    }
    let _ = match (report.damaged.len(), report.repaired) {
        (0, _) => writeln!(text, "{} layers are whole, {}", report.layers, human_bytes(report.bytes)),
        (count, true) => {
            let above = match report.above {
                0 => String::new(),
                above => format!(", and {above} that were made on top of them"),
            };
            writeln!(
                text,
                "removed {count} damaged layers of {}: the next build makes them again{above}",
                report.layers
            )
        }
        (count, false) => {
            writeln!(
                text,
                "{count} of {} layers are damaged: --repair removes them, and the next build makes them again",
                report.layers
            )
        }
    };
    text
}

fn export(store: &Store, id: &str, file: &Path, force: bool) -> Result<(), Error> {
    let layer = inventory::layer(store, id)?;
    let answers = store.answers(&layer.id).or_fail(Kind::Other, || "failed to look up the keys of the layer".into())?;
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Error::usage(format!("{} is no name of a file", file.display())));
    };
    if !force && file.symlink_metadata().is_ok() {
        return Err(Error::other(format!("failed to write {}: it exists already", file.display()))
            .hint("--force overwrites it"));
    }
    let target = Target { directory: directory.to_path_buf(), force };
    let pending = target.begin_at(name).map_err(|error| error.of_kind(Kind::Other))?;
    let mut out = BufWriter::with_capacity(1 << 20, pending.handle().map_err(|error| error.of_kind(Kind::Other))?);
    let io = |source| Error::io(Kind::Other, "write", file, source);
    parcel::write(&layer, &answers, &mut out).map_err(|error| error.of_kind(Kind::Other))?;
    out.flush().map_err(io)?;
    pending.publish().map_err(|error| error.of_kind(Kind::Other))?;
    print(&format!("wrote {} ({})\n", file.display(), short(&layer.id)))
}

fn import(store: &Store, path: &Path, trust: bool) -> Result<(), Error> {
    let io = |source| Error::io(Kind::Other, "read", path, source);
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let staging = store.stage().or_fail(Kind::Other, || "failed to make a work directory".into())?;
    let notes = if trust { parcel::Notes::All } else { parcel::Notes::None };
    let unpacked =
        parcel::read(Rewind(file), size, &staging, None, notes).map_err(|error| error.of_kind(Kind::Other))?;
    let made = unpacked.made.clone();
    let stored = parcel::keep(store, staging, unpacked, trust)?;
    let made = made.map_or(String::new(), |made| format!(" ({})", printable(&made).replace('\n', " ")));
    print(&format!("{}{made}\n", stored.id))?;
    if !trust {
        eprintln!("builds do not use it: --trust-keys believes what the file says made it");
    }
    Ok(())
}
