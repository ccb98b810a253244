//! What a command was asked to do, as data: what was typed has become what it means.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use providers::fetch::Proxies;

use crate::config::Config;
use crate::context::Visit;
use crate::error::Error;
use crate::progress::Reporter;
use crate::spec::ResolvedSpec;
use crate::spec::choice::Stage;

/// A build (or a part of one) and the means that the command gives it.
#[derive(Clone)]
pub struct BuildRequest {
    /// The spec's file, as the user named it.
    pub spec_path: PathBuf,
    /// Where the command runs, absolute.
    pub current_directory: PathBuf,
    /// What the command line asked for.
    pub options: BuildOptions,
    /// The global configuration, overrides of the command line applied.
    pub config: Config,
    /// Who shows what happens.
    pub reporter: Arc<dyn Reporter>,
    /// Raised when somebody wants the build to end.
    pub interrupted: Arc<AtomicBool>,
    /// `SOURCE_DATE_EPOCH`, in seconds since the epoch.
    pub source_date_epoch: Option<i64>,
    /// Proxies of the environment.
    pub proxies: Proxies,
    /// Files of credentials for registries, the most particular first.
    pub credentials: Vec<PathBuf>,
    /// Words of the command line that say which configuration and which places it uses.
    pub places: Vec<String>,
    /// Who wants to look at a step that fails, if anybody does.
    pub visit: Option<Visit>,
}

/// What the command line asked of a build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildOptions {
    /// The directory of the finished files, as typed.
    pub output_dir: Option<PathBuf>,
    /// Overwrite finished files that are there.
    pub force: bool,
    /// Neither use nor keep downloaded packages and layers.
    pub no_package_cache: bool,
    /// Neither use nor keep finished images.
    pub no_image_cache: bool,
    /// Leave the work of this build where it is.
    pub keep_temp: bool,
    /// Threads and downloads at once; `None`: as many as the machine has processors.
    pub parallel: Option<NonZeroUsize>,
    /// Stop after this stage.
    pub last_stage: Option<Stage>,
    /// Leave these stages out.
    pub skip_stages: BTreeSet<Stage>,
    /// Stop when it takes longer.
    pub timeout: Option<Duration>,
    /// Use the lock beside the spec as it is, and fail where the two disagree.
    pub locked: bool,
    /// Never touch the network.
    pub offline: bool,
    /// Build twice, and name what differs.
    pub check: bool,
    /// The rung of the sandbox to use, by name; `None`: the best there is.
    pub rung: Option<String>,
    /// Copy the layers into one tree even where an overlay could be mounted.
    pub no_overlay: bool,
}

impl BuildOptions {
    /// Applies what the command line and the configuration say to a spec: the command line wins
    /// over the spec, and a cache that any of the three switches off is off.
    ///
    /// # Errors
    /// Stages left out that later ones need.
    pub fn apply(&self, spec: &mut ResolvedSpec, config: &Config, current_directory: &Path) -> Result<(), Error> {
        if let Some(directory) = &self.output_dir {
            spec.destination = current_directory.join(directory);
        }
        spec.caches.packages &= config.package_cache.enabled && !self.no_package_cache;
        spec.caches.images &= config.image_cache.enabled && !self.no_image_cache;
        if let Some(last) = self.last_stage {
            // Asked for by name, a stage runs even where the spec leaves it out.
            spec.stages.insert(last);
            spec.stages.retain(|stage| *stage <= last);
        }
        spec.stages.retain(|stage| !self.skip_stages.contains(stage));
        let last = spec.stages.iter().next_back().copied();
        let Some(last) = last else {
            return Err(Error::usage("no stage is left to run").hint("leave out --stage or --skip-stage"));
        };
        for needed in [Stage::Packages, Stage::Compose] {
            if last > needed && !spec.stages.contains(&needed) {
                return Err(Error::usage(format!("the stage '{needed}' cannot be skipped: '{last}' needs it"))
                    .hint(format!("stop before it with --stage {needed}, or skip the later stages too")));
            }
        }
        Ok(())
    }
}

/// What `cache clean` removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanWhat {
    /// What the global configuration says is too old or too much.
    Expired,
    /// All packages and the layers made of them.
    Packages,
    /// All finished images.
    Images,
    /// All of it.
    All,
}
