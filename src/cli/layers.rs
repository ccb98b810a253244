//! `layers`: what the store holds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::oci::archive::Rewind;
use layers::Store;
use sandbox::Cancel;

use crate::build::known_providers;
use crate::config::Config;
use crate::error::{Error, Kind, ResultExt};
use crate::finalize::Target;
use crate::inventory::difference::difference;
use crate::inventory::lineage;
use crate::inventory::list;
use crate::inventory::parcel;
use crate::inventory::usage::usage;
use crate::inventory::verify::{Repairing, verify};
use crate::inventory::{self, short};
use crate::means;
use crate::progress::{Reporter, human_bytes, printable};
use crate::remote::{Means, Reach, Remote, Remotes};
use crate::slots;
use crate::spec;
use crate::spec::resolved::RemoteCache;

use super::environment::Environment;
use super::images::as_json;
use super::layers_arguments::LayersCommand;
use super::layers_text::{sums, table, told, trees, verdict};
use super::{interrupt, print};

/// Runs one of the commands of `layers`.
///
/// # Errors
/// Those of the command.
pub(super) fn run(
    config: &Config,
    environment: &Environment,
    reporter: impl FnOnce() -> Arc<dyn Reporter>,
    command: LayersCommand,
) -> Result<ExitCode, Error> {
    // No store is opened for it: it waits for nobody, and takes all places.
    if let LayersCommand::Gc = command {
        let freed = crate::cleaning::collect(config)?;
        print(&format!("freed {}\n", human_bytes(freed)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let directory = &environment.current_directory;
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
        LayersCommand::Verify { repair, specs, json } => {
            let (reporter, interrupted) = (reporter(), interrupt::watch()?);
            // What is put in place or removed may be mounted by nobody.
            let _alone = repair.then(|| slots::alone(config)).transpose()?;
            let repairing = match repair {
                true => {
                    let caches = caches(config, &specs, directory, &reporter)?;
                    let remotes = remotes(&caches, config, environment, &store, &reporter, &interrupted)?;
                    Some(Repairing { config, remotes, lineages: lineages() })
                }
                false => None,
            };
            let report = verify(&store, repairing.as_ref(), &reporter, &interrupted)?;
            print(&if json { as_json(&report)? } else { printable(&verdict(&report)) })?;
            return Ok(ExitCode::from(u8::from(!report.is_whole() && !repair)));
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

/// The layer caches of these specs, then those of the configuration, as a build asks them; each once.
fn caches(
    config: &Config,
    specs: &[PathBuf],
    directory: &Path,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<RemoteCache>, Error> {
    let providers = known_providers(&means::catalogue(config)?);
    let mut caches: Vec<RemoteCache> = Vec::new();
    for path in specs {
        let (spec, warnings) = spec::load_resolved(path, directory, &providers)?;
        warnings.iter().for_each(|warning| reporter.warn(&warning.to_string()));
        caches.extend(spec.remotes);
    }
    caches.extend(config.remotes.iter().cloned());
    let mut once: Vec<RemoteCache> = Vec::new();
    caches.into_iter().for_each(|cache| {
        if !once.contains(&cache) {
            once.push(cache);
        }
    });
    Ok(once)
}

/// Prepares to ask these layer caches.
fn remotes(
    caches: &[RemoteCache],
    config: &Config,
    environment: &Environment,
    store: &Store,
    reporter: &Arc<dyn Reporter>,
    interrupted: &Arc<AtomicBool>,
) -> Result<Remotes, Error> {
    let (credentials, proxies) = (&*environment.credentials, &environment.proxies);
    let reach = Reach { credentials, proxies, registries: &config.registries, reporter, interrupted };
    let all: Result<Vec<Remote>, Error> = caches.iter().map(|settings| Remote::new(settings, reach)).collect();
    let means = Means {
        store: store.clone(),
        reporter: reporter.clone(),
        cancel: Cancel::from_flag(interrupted.clone()),
        threads: 1,
    };
    Ok(Remotes::new(all?, means))
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
