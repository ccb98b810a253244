//! Looks all layers through, byte by byte, and what is kept of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layers::{Blake3, Content, Flaw, Key, Listed, Store, StoredLayer, TreePath};
use rayon::prelude::*;
use serde::Serialize;

use super::lineage::Lineage;
use crate::cleaning;
use crate::config::Config;
use crate::error::{Error, Kind, ResultExt};
use crate::progress::{Reporter, Task, Unit};
use crate::remote::Remotes;

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
    /// Layers whose steps will run again, because they could read what is damaged.
    pub above: usize,
    /// Images that were taken out of the image cache, because they may have been made of what is damaged.
    pub images: usize,
    /// Steps of which it is damaged what is kept: which layer they made.
    pub steps: Vec<DamagedStep>,
}

/// What a repair is made with.
pub struct Repairing<'c> {
    /// Where what was made of layers is kept.
    pub config: &'c Config,
    /// Who may have what is damaged.
    pub remotes: Remotes,
    /// The layers of specs as they were last built.
    pub lineages: Vec<Lineage>,
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
    /// The specs that were last built of it, by the names of their images; empty where nothing is repaired.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub specs: Vec<String>,
    /// What was done about it, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// A step of which nobody knows any more what it made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DamagedStep {
    /// Its key.
    pub key: Key,
    /// What was done about it, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// What was done about damage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// It came from this layer cache.
    Fetched(String),
    /// It is gone: the next build that wants it makes it again.
    Removed,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.steps.is_empty()
    }

    /// What was done about each, in order.
    pub fn repairs(&self) -> impl Iterator<Item = &Repair> {
        let layers = self.damaged.iter().filter_map(|damaged| damaged.repair.as_ref());
        layers.chain(self.steps.iter().filter_map(|step| step.repair.as_ref()))
    }
}

/// Reads every index and every file of every layer, and what is kept of each step. Builds do not use what is
/// damaged from then on. With `repair`, it is fetched from these caches where one has it, and removed
/// otherwise. What may have been made of the damage goes, too: images, and the keys of all steps that could read
/// it, but for those that a cache answers now. No build may be running then.
///
/// # Errors
/// I/O errors of the store itself; an interruption.
pub fn verify(
    store: &Store,
    repair: Option<&Repairing<'_>>,
    reporter: &Arc<dyn Reporter>,
    interrupted: &AtomicBool,
) -> Result<Report, Error> {
    let (mut report, missing) = look(store, reporter, interrupted)?;
    // Of a repair that is interrupted, too.
    for damaged in &report.damaged {
        match store.distrust(&damaged.id) {
            // A store that cannot be written to can still be read.
            Err(error) if repair.is_none() => tracing::warn!(layer = %damaged.id, %error, "builds may still use it"),
            marked => marked.or_fail(Kind::Other, || format!("failed to mark {} as damaged", damaged.id))?,
        }
    }
    let Some(Repairing { config, remotes, lineages }) = repair else { return Ok(report) };
    let failed = |id: &dyn std::fmt::Display| format!("failed to repair {id}");
    let ids: BTreeSet<Blake3> = report.damaged.iter().map(|damaged| damaged.id).collect();
    // What is missing nobody has read.
    let read: BTreeSet<Blake3> = ids.difference(&missing).copied().collect();
    if !read.is_empty() {
        report.images = cleaning::settle(config, store).map_err(|error| error.of_kind(Kind::Other))?;
    }
    // Before the steps are forgotten: one of them may have made what another cache has.
    let keys = ids.iter().map(|id| Ok((*id, store.answers(id)?))).collect::<Result<BTreeMap<_, _>, layers::Error>>();
    let mut keys = keys.or_fail(Kind::Other, || "failed to look up the keys of layers".into())?;
    let above = store.forget_above(&read).or_fail(Kind::Other, || "failed to forget steps".into())?;
    report.above = above.difference(&ids).count();
    for damaged in &mut report.damaged {
        let id = damaged.id;
        let is_of = |lineage: &&Lineage| lineage.layers.iter().any(|member| member.id == id);
        damaged.specs = lineages.iter().filter(is_of).map(|lineage| lineage.name.clone()).collect();
        let keys = keys.remove(&id).unwrap_or_default();
        let from = remotes.restore(&id, &keys).map(str::to_owned);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        if from.is_none() {
            store.forget(&id).or_fail(Kind::Other, || failed(&id))?;
        } else if let (Some(made), Ok(Some(layer))) = (&damaged.made, store.peek(&id)) {
            layer.describe(made);
        }
        damaged.repair = Some(from.map_or(Repair::Removed, Repair::Fetched));
    }
    for step in &mut report.steps {
        store.forget_key(&step.key).or_fail(Kind::Other, || failed(&step.key))?;
        step.repair = Some(Repair::Removed);
    }
    Ok(report)
}

/// What is wrong, and which of the layers with something wrong are not there at all.
fn look(
    store: &Store,
    reporter: &Arc<dyn Reporter>,
    interrupted: &AtomicBool,
) -> Result<(Report, BTreeSet<Blake3>), Error> {
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
    let mut report = Report { layers: found.len(), bytes, ..Report::default() };
    let mut missing = BTreeSet::new();
    for loose in store.loose().or_fail(Kind::Other, || "failed to list the steps".into())? {
        match loose.layer {
            Some(layer) if flaws.contains_key(&layer) => {}
            Some(layer) => {
                flaws.insert(layer, vec![Flaw { path: None, what: "is missing" }]);
                missing.insert(layer);
            }
            None => report.steps.push(DamagedStep { key: loose.key, repair: None }),
        }
    }
    for (id, flaws) in flaws {
        let layer = found.iter().find(|(other, _)| *other == id).and_then(|(_, layer)| layer.as_ref());
        let phrase = |flaw: &Flaw| {
            let subject = flaw.path.as_ref().map_or("its index".to_owned(), ToString::to_string);
            format!("{subject} {}", flaw.what)
        };
        let made = layer.and_then(StoredLayer::made);
        report.damaged.push(Damaged {
            id,
            made,
            flaws: flaws.iter().map(phrase).collect(),
            specs: Vec::new(),
            repair: None,
        });
    }
    Ok((report, missing))
}
