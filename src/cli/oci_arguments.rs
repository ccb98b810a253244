//! The command line of `oci` as it is typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use ::oci::image::Platform;
use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::options::BuildOptions;
use crate::containers::pull;

/// What to do with OCI images.
#[derive(Subcommand, Debug)]
pub enum OciCommand {
    /// Write an image as an OCI image layout: a directory or a tar file
    Export(Box<OciExportArguments>),
    /// Send an image to a registry: only what is not there yet
    Push(Box<OciPushArguments>),
    /// Fetch an image from a registry into an OCI image layout
    Pull(Box<OciPullArguments>),
}

/// What a layout is kept as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LayoutForm {
    /// A directory
    Directory,
    /// A tar file
    Archive,
}

/// How a spec is built, where one is.
#[derive(Args, Debug)]
pub struct SpecArguments {
    /// Use the lock beside the spec, and fail where spec and lock disagree
    #[arg(long)]
    pub locked: bool,
    /// Build without the network; registries are still reached
    #[arg(long)]
    pub offline: bool,
    /// Threads and downloads at once [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub parallel: Option<NonZeroUsize>,
    /// The sandbox to use: userns, userns-single or root [default: the best there is]
    #[arg(long, value_name = "NAME")]
    pub rung: Option<String>,
}

impl SpecArguments {
    /// As options of a build.
    pub fn options(&self) -> BuildOptions {
        BuildOptions {
            locked: self.locked,
            offline: self.offline,
            parallel: self.parallel,
            rung: self.rung.clone(),
            ..BuildOptions::default()
        }
    }
}

/// How registries are reached.
#[derive(Args, Debug)]
pub struct ConnectionArguments {
    /// Speak plain http with this registry, HOST or HOST:PORT (repeatable)
    #[arg(long, value_name = "HOST", action = ArgAction::Append)]
    pub insecure_registry: Vec<String>,
    /// Trust the authorities in this PEM file, too (repeatable)
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub ca_file: Vec<PathBuf>,
    /// Take credentials from this file [default: podman's and docker's]
    #[arg(long, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
}

/// Options of `oci export`.
#[derive(Args, Debug)]
pub struct OciExportArguments {
    /// A build specification, or an image layout; several become one image for their platforms
    #[arg(value_name = "SOURCE", required = true, num_args = 1..)]
    pub sources: Vec<PathBuf>,
    /// The directory or file to write
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
    /// Which of the two [default: a file if its name ends with .tar]
    #[arg(long, value_name = "FORM")]
    pub form: Option<LayoutForm>,
    /// The image of a layout that holds several
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Overwrite the target if it is there
    #[arg(long, short)]
    pub force: bool,
    /// How the spec is built
    #[command(flatten)]
    pub build: SpecArguments,
}

/// Options of `oci push`.
#[derive(Args, Debug)]
pub struct OciPushArguments {
    /// A build specification, or an image layout
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// Where to: docker://HOST/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The image of a layout that holds several
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Attach this file to the image: an SBOM, a manifest, a disk image (repeatable)
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub attach: Vec<PathBuf>,
    /// A repository of the same registry that may have parts of it (repeatable)
    #[arg(long, value_name = "REPOSITORY", action = ArgAction::Append)]
    pub mount_from: Vec<String>,
    /// How the spec is built
    #[command(flatten)]
    pub build: SpecArguments,
    /// How the registry is reached
    #[command(flatten)]
    pub connection: ConnectionArguments,
}

/// Options of `oci pull`.
#[derive(Args, Debug)]
pub struct OciPullArguments {
    /// Where from: docker://HOST/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The directory or file to write
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
    /// Which of the two [default: a file if its name ends with .tar]
    #[arg(long, value_name = "FORM")]
    pub form: Option<LayoutForm>,
    /// The platform of an image for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCHITECTURE", value_parser = pull::platform, conflicts_with = "all_platforms")]
    pub platform: Option<Platform>,
    /// Take the image for every platform
    #[arg(long)]
    pub all_platforms: bool,
    /// Overwrite the target if it is there
    #[arg(long, short)]
    pub force: bool,
    /// How the registry is reached
    #[command(flatten)]
    pub connection: ConnectionArguments,
}
