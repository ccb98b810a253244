//! One layer per package: its payload, extracted once per machine, whatever the spec.

use std::cmp::Reverse;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use layers::{Entry, Key, Layer, Staging, StoredLayer, TreePath, plain_mode};
use providers::lock::{Group, LockedPackage};
use rayon::prelude::*;

use crate::context::{Context, Made};
use crate::error::{Error, Kind};
use crate::packages::{PackageFile, Wanted};
use crate::permits::Permits;
use crate::remote::{Holding, Offer};
use crate::stages::PackageSet;

/// Layers of packages that are asked for at once where a layer cache may have them: most of the time, whoever asks
/// waits for an answer.
const FETCHED_AT_ONCE: usize = 8;

/// The groups of a package set, extracted ahead of their being configured: one is configured by
/// one process after another, which leaves the other processors to this.
pub struct Groups<U> {
    groups: Receiver<Result<Vec<U>, Error>>,
}

impl<U> Groups<U> {
    /// The packages of the next group, in the lock's order.
    ///
    /// # Errors
    /// A damaged package, by name; errors of the store; an interruption.
    pub fn next(&self) -> Result<Vec<U>, Error> {
        self.groups.recv().unwrap_or_else(|_| Err(Error::build("failed to unpack the packages")))
    }
}

/// What is extracted so far, group by group.
struct Extracted<U> {
    groups: Vec<Vec<Option<U>>>,
    /// Groups that have been handed over.
    handed: usize,
}

impl<U> Extracted<U> {
    /// Hands over every group that is whole, in order.
    fn hand_over(&mut self, to: &Sender<Result<Vec<U>, Error>>) {
        while let Some(group) = self.groups.get_mut(self.handed).filter(|group| group.iter().all(Option::is_some)) {
            // Nobody takes it: the work has ended before its time, and knows why.
            let _ = to.send(Ok(group.drain(..).flatten().collect()));
            self.handed = self.handed.saturating_add(1);
        }
    }
}

/// Extracts every package that no layer holds yet, as many at once as there are permits for `unpack` to take, while
/// the groups that are there are worked with. Those of a group come before those of the next and large ones first: one that
/// takes long keeps no processor from the others.
///
/// # Errors
/// The work's.
pub fn unpack_ahead<T, U: Send>(
    set: &PackageSet,
    groups: &[Group],
    cx: &Context,
    unpack: impl Fn(&LockedPackage, &PackageFile, &Permits) -> Result<U, Error> + Sync,
    work: impl FnOnce(&Groups<U>) -> Result<T, Error>,
) -> Result<T, Error> {
    let members = |group: &Group| {
        let group = *group;
        set.lock.packages.iter().zip(&set.files).filter(move |(one, _)| one.group == group).enumerate()
    };
    let mut tasks: Vec<_> =
        groups.iter().enumerate().flat_map(|(at, group)| members(group).map(move |one| (at, one))).collect();
    tasks.sort_by_key(|(group, (place, (package, _)))| (*group, Reverse(package.size), *place));
    let (next, done, total) = (AtomicUsize::new(0), AtomicU64::new(0), tasks.len() as u64);
    let stopped = AtomicBool::new(false);
    let permits = Permits::new(cx.parallel);
    let at_once = if cx.remotes.hold(Holding::Package) { cx.parallel.max(FETCHED_AT_ONCE) } else { cx.parallel };
    let (to, receiver) = channel();
    let empty = |group| members(group).map(|_| None).collect();
    let mut extracted = Extracted { groups: groups.iter().map(empty).collect(), handed: 0 };
    extracted.hand_over(&to);
    let extracted = Mutex::new(extracted);
    // Each has a sender of its own: when all have ended, whoever waits for more learns of it.
    let extract = |to: Sender<Result<Vec<U>, Error>>| {
        while let Some((group, (place, (package, file)))) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let result = cx.check().and_then(|()| unpack(package, file, &permits));
            let mut extracted = extracted.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(unpacked) => {
                    cx.reporter.items("unpack packages", done.fetch_add(1, Ordering::Relaxed).saturating_add(1), total);
                    if let Some(slot) = extracted.groups.get_mut(*group).and_then(|group| group.get_mut(*place)) {
                        *slot = Some(unpacked);
                    }
                    extracted.hand_over(&to);
                }
                Err(error) => {
                    stopped.store(true, Ordering::Relaxed);
                    let _ = to.send(Err(error));
                }
            }
        }
    };
    thread::scope(|scope| {
        let failed = |source| Error::io(Kind::Build, "start", Path::new("a thread"), source);
        for number in 0..at_once.clamp(1, tasks.len().max(1)) {
            // Threads of their own: the work computes in parallel, too, and must not wait for them.
            let (extract, to) = (&extract, to.clone());
            let thread = thread::Builder::new().name("unpack".into()).spawn_scoped(scope, move || extract(to));
            match thread {
                Ok(_) => {}
                Err(error) if number == 0 => return Err(failed(error)),
                // Fewer do, too.
                Err(_) => break,
            }
        }
        drop(to);
        let result = work(&Groups { groups: receiver });
        stopped.store(true, Ordering::Relaxed);
        result
    })
}

/// The layer of a package that was extracted before, here or on another machine, and what `read` makes of its
/// note; what it can make nothing of counts as nothing.
///
/// # Errors
/// I/O errors of the store.
pub fn at_hand<N>(
    key: &Key,
    made: &Made,
    file: &PackageFile,
    cx: &Context,
    read: impl Fn(&[u8]) -> Option<N>,
) -> Result<Option<(StoredLayer, N)>, Error> {
    if let Some((layer, note)) = cx.recall(key, std::slice::from_ref(made))?
        && let Some(found) = read(&note)
    {
        cx.send(Offer { key, holding: Holding::Package, layer: &layer, note: &note, is_new: false });
        return Ok(Some((layer, found)));
    }
    let fetched = if file.was_asked_for() { None } else { cx.fetch_package(key, made) };
    Ok(fetched.and_then(|(layer, note)| Some((layer, read(&note)?))))
}

/// How packages are to be had: as files, but for those that are missing while their layers are in the store or
/// come from a layer cache. `key` is that of a package's layer.
///
/// # Errors
/// I/O errors of the store; an interruption.
pub fn wanted(
    packages: &[LockedPackage],
    is_missing: &[bool],
    key: impl Fn(&LockedPackage) -> Key + Sync,
    cx: &Context,
) -> Result<Vec<Wanted>, Error> {
    if !is_missing.contains(&true) {
        return Ok(vec![Wanted::File; packages.len()]);
    }
    let failed = |error| Error::build("failed to start threads").caused_by(error);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(cx.parallel.max(FETCHED_AT_ONCE)).build();
    let wanted = |(package, is_missing): (&LockedPackage, &bool)| {
        cx.check()?;
        if !is_missing {
            return Ok(Wanted::File);
        }
        let (key, made) = (key(package), Made::package(&package.name, &package.version));
        let has_layer = cx.recall(&key, &[made.clone()])?.is_some() || cx.fetch_package(&key, &made).is_some();
        Ok(if has_layer { Wanted::Layer } else { Wanted::FileOnly })
    };
    threads.map_err(failed)?.install(|| packages.par_iter().zip(is_missing).map(wanted).collect())
}

/// Keeps the layer of a package that was extracted here, and lets others have it.
///
/// # Errors
/// I/O errors of the store.
pub fn keep(
    key: &Key,
    made: Made,
    staging: Staging,
    layer: Layer,
    note: &[u8],
    cx: &Context,
) -> Result<StoredLayer, Error> {
    let layer = cx.keep(&[], staging, layer, key, note, &[made])?;
    cx.send(Offer { key, holding: Holding::Package, layer: &layer, note, is_new: true });
    Ok(layer)
}

/// Gives the directories of an extracted payload their modes: extractors make them 0755, and few
/// packages ship others.
///
/// # Errors
/// I/O errors.
pub fn with_directory_modes(files: &Path, entries: &[(TreePath, Entry)]) -> Result<(), Error> {
    for (path, entry) in entries {
        if entry.is_directory() && plain_mode(entry) != 0o755 {
            let host = path.under(files);
            fs::set_permissions(&host, fs::Permissions::from_mode(plain_mode(entry)))
                .map_err(|source| Error::io(Kind::Build, "change the mode of", &host, source))?;
        }
    }
    Ok(())
}
