//! What the commands of `layers` say, as text.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use layers::Store;

use crate::inventory::lineage::Lineage;
use crate::inventory::list::{Info, Row};
use crate::inventory::short;
use crate::inventory::usage::Usage;
use crate::inventory::verify::{Repair, Report};
use crate::progress::{human_bytes, printable};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Layers one a line.
pub(super) fn table(rows: &[Row]) -> String {
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

/// The layers of specs, the bottom first.
pub(super) fn trees(store: &Store, lineages: &[Lineage]) -> String {
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

/// What is known of one layer.
pub(super) fn told(info: &Info) -> String {
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

/// How much room layers take.
pub(super) fn sums(usage: &Usage) -> String {
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

/// What is wrong, and what was done about it.
pub(super) fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for damaged in &report.damaged {
        let made = damaged.made.as_deref().map_or(String::new(), |made| format!(" ({})", made.replace('\n', " ")));
        let _ = writeln!(text, "damaged: {}{made}", damaged.id);
        for flaw in &damaged.flaws {
            let _ = writeln!(text, "  {flaw}");
        }
        text.push_str(&done(damaged.repair.as_ref(), &damaged.specs));
    }
    for step in &report.steps {
        let _ = writeln!(text, "damaged: what is kept of the step {}", step.key);
        text.push_str(&done(step.repair.as_ref(), &[]));
    }
    let count = report.damaged.len().saturating_add(report.steps.len());
    let repairs =
        |is_removed: bool| report.repairs().filter(|one| matches!(one, Repair::Removed) == is_removed).count();
    let (fetched, removed) = (repairs(false), repairs(true));
    if count == 0 {
        let _ = writeln!(text, "{} layers are whole, {}", report.layers, human_bytes(report.bytes));
    } else if fetched == 0 && removed == 0 {
        let _ = writeln!(
            text,
            "{count} of {} layers are damaged: --repair fetches or removes them, and the next build makes what is \
             removed again",
            report.layers
        );
    }
    if fetched > 0 {
        let _ = writeln!(text, "fetched {fetched} damaged layers of {}", report.layers);
    }
    if removed > 0 {
        let _ =
            writeln!(text, "removed {removed} damaged layers of {}: the next build makes them again", report.layers);
    }
    if report.above > 0 {
        let _ = writeln!(text, "{} that were made on top of them are made again, too", report.above);
    }
    if report.images > 0 {
        let _ = writeln!(text, "removed {} images of the image cache: they may have been made of them", report.images);
    }
    text
}

/// What was done about one thing that is damaged, as a line; what was removed was last used by these specs.
fn done(repair: Option<&Repair>, specs: &[String]) -> String {
    match repair {
        None => String::new(),
        Some(Repair::Fetched(from)) => format!("  fetched from {from}\n"),
        Some(Repair::Removed) if specs.is_empty() => "  removed: the next build that wants it makes it again\n".into(),
        Some(Repair::Removed) => {
            format!("  removed: `image-composer build` with the spec of {} makes it again\n", specs.join(" or "))
        }
    }
}
