//! Looks all layers through, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layers::{Blake3, Content, Flaw, Listed, Store, StoredLayer, TreePath};
use rayon::prelude::*;
use serde::Serialize;

use super::lineage::{self, Lineage};
use crate::error::{Error, Kind, ResultExt};
use crate::progress::{Reporter, Task, Unit};

/// Bytes of a file that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Layers that were looked through.
    pub layers: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, by layer.
    pub damaged: Vec<Damaged>,
    /// Whether what is damaged was removed.
    pub repaired: bool,
    /// Layers on top of what was removed whose steps will run again.
    pub above: usize,
}

/// A layer with something wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Damaged {
    /// Its id.
    pub id: Blake3,
    /// What made it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// Each flaw, as a phrase: `/usr/bin/env has other bytes`.
    pub flaws: Vec<String>,
}

/// Reads every index and every file of every layer. With `repair`, the layers of specs as they were last built,
/// those that are damaged are removed, so that the next build that wants them makes them again; so are the
/// steps above them forgotten, which may have seen the damage. No build may be running then.
///
/// # Errors
/// I/O errors of the store itself; an interruption.
pub fn verify(
    store: &Store,
    repair: Option<&[Lineage]>,
    reporter: &Arc<dyn Reporter>,
    interrupted: &AtomicBool,
) -> Result<Report, Error> {
    let listed = store.list().or_fail(Kind::Other, || "failed to list the layers".into())?;
    let peek = |listed: &Listed| (listed.id, store.peek(&listed.id).ok().flatten());
    let found: Vec<(Blake3, Option<StoredLayer>)> = listed.par_iter().map(peek).collect();
    let mut flaws: BTreeMap<Blake3, Vec<Flaw>> = BTreeMap::new();
    let mut files: Vec<(Blake3, &TreePath, &Content, PathBuf)> = Vec::new();
    for (id, layer) in &found {
        match layer {
            None => flaws.entry(*id).or_default().push(Flaw { path: None, what: "is damaged" }),
            Some(layer) => files.extend(layer.contents().map(|(path, content, host)| (*id, path, content, host))),
        }
    }
    let shapes = found.par_iter().filter_map(|(id, layer)| Some((*id, layer.as_ref()?.misshapen())));
    let shapes: Vec<(Blake3, Vec<Flaw>)> = shapes.filter(|(_, flaws)| !flaws.is_empty()).collect();
    let bytes = files.iter().fold(0u64, |sum, (_, _, content, _)| sum.saturating_add(content.size));
    let task = Task::start(reporter, "verifying layers", Unit::Bytes, Some(bytes));
    let check = |buffer: &mut Vec<u8>, (id, path, content, host): &(Blake3, &TreePath, &Content, PathBuf)| {
        if interrupted.load(Ordering::Relaxed) {
            return None;
        }
        let flaw = Flaw::of_file(path, content, host, buffer);
        task.advance(content.size);
        Some((*id, flaw?))
    };
    let broken: Vec<(Blake3, Flaw)> =
        files.par_iter().map_init(|| vec![0; BUFFER_BYTES], check).flatten_iter().collect();
    drop(task);
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::interrupted());
    }
    for (id, more) in shapes {
        flaws.entry(id).or_default().extend(more);
    }
    for (id, flaw) in broken {
        flaws.entry(id).or_default().push(flaw);
    }
    // What another process removed meanwhile is not damaged.
    let there: Vec<Blake3> = match flaws.is_empty() {
        true => Vec::new(),
        false => {
            store.list().or_fail(Kind::Other, || "failed to list the layers".into())?.iter().map(|l| l.id).collect()
        }
    };
    flaws.retain(|id, _| there.contains(id));
    let mut report = Report { layers: found.len(), bytes, repaired: repair.is_some(), ..Report::default() };
    if let Some(lineages) = repair {
        let above = lineage::above(lineages, &flaws.keys().copied().collect::<BTreeSet<_>>());
        store.forget_steps(&above).or_fail(Kind::Other, || "failed to forget steps".into())?;
        report.above = above.len();
    }
    for (id, flaws) in flaws {
        let layer = found.iter().find(|(other, _)| *other == id).and_then(|(_, layer)| layer.as_ref());
        let phrase = |flaw: &Flaw| {
            let subject = flaw.path.as_ref().map_or("its index".to_owned(), ToString::to_string);
            format!("{subject} {}", flaw.what)
        };
        let made = layer.and_then(StoredLayer::made);
        report.damaged.push(Damaged { id, made, flaws: flaws.iter().map(phrase).collect() });
        if repair.is_some() {
            store.forget(&id).or_fail(Kind::Other, || format!("failed to remove the layer {id}"))?;
        }
    }
    Ok(report)
}
