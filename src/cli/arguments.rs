//! The command line as it is typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use image::container::Format;

use crate::config::LogLevel;
use crate::convert;
use crate::spec::choice::{Compression, Stage};
use crate::spec::names::FromText;
use crate::spec::scalar::TimeSpan;

use super::layers_arguments::LayersCommand;
use super::oci_arguments::OciCommand;

/// Bootable operating-system images from a distribution's own signed packages, as an ordinary user.
#[derive(Parser, Debug)]
#[command(name = "image-composer", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// Global configuration file [default: the user's, then /etc/image-composer/config.yaml]
    #[arg(long, short, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Where builds keep what they need while they run
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub work_dir: Option<PathBuf>,
    /// Where packages, layers and images are kept between builds
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub cache_dir: Option<PathBuf>,
    /// What is told: debug, info, warn or error
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options", conflicts_with_all = ["verbose", "quiet"])]
    pub log_level: Option<LogLevel>,
    /// Tell everything (--log-level debug)
    #[arg(long, short, global = true, help_heading = "Global options", conflicts_with = "quiet")]
    pub verbose: bool,
    /// Tell only what is wrong (--log-level error)
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// How progress is shown
    #[arg(long, global = true, value_name = "HOW", default_value = "auto", help_heading = "Global options")]
    pub progress: ProgressChoice,
}

impl Global {
    /// The options, as typed, that say which configuration and which places are used.
    pub fn places(&self) -> Vec<String> {
        let typed = [("--config", &self.config), ("--work-dir", &self.work_dir), ("--cache-dir", &self.cache_dir)];
        let words = |(option, path): (&str, &Option<PathBuf>)| {
            path.iter().flat_map(|path| [option.to_owned(), path.to_string_lossy().into_owned()]).collect::<Vec<_>>()
        };
        typed.into_iter().flat_map(words).collect()
    }

    /// The log level that the command line asks for.
    pub fn log_level(&self) -> Option<LogLevel> {
        match (self.verbose, self.quiet) {
            (true, _) => Some(LogLevel::Debug),
            (_, true) => Some(LogLevel::Error),
            _ => self.log_level,
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ProgressChoice {
    /// Bars on a terminal, lines off it
    Auto,
    /// Bars
    Bar,
    /// Lines
    Plain,
    /// One JSON object a line, on standard output
    Json,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Build the image that a spec describes
    Build(Box<BuildArguments>),
    /// Check a spec without building it
    Validate {
        /// The build specification
        #[arg(value_name = "SPEC")]
        spec: PathBuf,
        /// Check the spec alone: neither the files it names nor the providers
        #[arg(long)]
        schema_only: bool,
        /// Take warnings for errors
        #[arg(long)]
        strict: bool,
        /// Show warnings
        #[arg(long)]
        list_warnings: bool,
    },
    /// Write the lock of a spec: the exact packages that it means now
    Lock {
        /// The build specification
        #[arg(value_name = "SPEC")]
        spec: PathBuf,
        /// Never touch the network
        #[arg(long)]
        offline: bool,
    },
    /// Say why a package is in the image
    Why {
        /// The package
        #[arg(value_name = "PACKAGE")]
        package: String,
        /// The build specification [default: the only one in this directory that has a lock]
        #[arg(value_name = "SPEC")]
        spec: Option<PathBuf>,
    },
    /// Open a shell in the tree as it is after a stage, or at the step that fails before
    Shell(Box<ShellArguments>),
    /// Look into a finished image
    #[command(flatten)]
    Look(LookArguments),
    /// Write the disk inside a file (raw, qcow2, VHD, VHDX, VMDK, VDI) as another kind of file
    Convert(Box<ConvertArguments>),
    /// See, compare, check and move the layers that builds are made of
    Layers {
        /// What to do with them
        #[command(subcommand)]
        command: LayersCommand,
    },
    /// Make OCI images, and take them to registries and back
    Oci {
        /// What to do
        #[command(subcommand)]
        command: OciCommand,
    },
    /// Say what this machine allows, and what would allow more
    Doctor,
    /// See and clean what is kept between builds
    Cache {
        /// What to do with it
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// See the distributions that images can be made of
    Provider {
        /// What to do with them
        #[command(subcommand)]
        command: ProviderCommand,
    },
    /// Print a JSON Schema, or the reference made of it
    #[command(hide = true)]
    Schema {
        /// Which
        of: SchemaOf,
    },
}

/// Which image, and which part of it.
#[derive(Args, Debug)]
pub struct InsideArguments {
    /// The image: raw, qcow2, VHD, VHDX, VMDK or VDI, whoever made it
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Take this partition alone [default: the tree as the image's own fstab mounts it]
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
}

/// Commands that look into finished images.
#[derive(Subcommand, Debug)]
pub enum LookArguments {
    /// Show the partitions, file systems, boot files and packages of an image
    Inspect {
        /// The image: raw, qcow2, VHD, VHDX, VMDK or VDI, whoever made it
        #[arg(value_name = "IMAGE")]
        image: PathBuf,
        /// As JSON, with every package
        #[arg(long)]
        json: bool,
    },
    /// Show in what two images differ; ends with 1 if they do, 2 if that cannot be told
    Compare {
        /// The first image
        #[arg(value_name = "A")]
        a: PathBuf,
        /// The second image
        #[arg(value_name = "B")]
        b: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List a directory of an image
    Ls {
        /// Where to look
        #[command(flatten)]
        inside: InsideArguments,
        /// The directory or file [default: /]
        #[arg(value_name = "PATH")]
        path: Option<PathBuf>,
        /// Mode, links, owner, group, size and time (UTC) of each
        #[arg(long, short)]
        long: bool,
        /// Everything below, by its path
        #[arg(long, short = 'R')]
        recursive: bool,
    },
    /// Print files of an image
    Cat {
        /// Where to look
        #[command(flatten)]
        inside: InsideArguments,
        /// The files
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Show the tree of an image below a directory, read-only, until Ctrl-C
    Mount {
        /// Where to look
        #[command(flatten)]
        inside: InsideArguments,
        /// An empty directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Copy files of an image into a directory
    Extract {
        /// Where to look
        #[command(flatten)]
        inside: InsideArguments,
        /// Files and directories [default: everything]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The directory, empty or not there yet
        #[arg(long, short, value_name = "DIR")]
        output_dir: PathBuf,
    },
}

/// What to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SchemaOf {
    /// The schema of specs
    Spec,
    /// The schema of the global configuration
    Config,
    /// The reference of specs, in Markdown
    Reference,
}

/// What to do with the cache.
#[derive(Subcommand, Debug)]
pub enum CacheCommand {
    /// List the images that are kept
    List,
    /// Show what is known of one image
    Info {
        /// The beginning of its hash, as `cache list` shows it
        hash: String,
    },
    /// Remove what the global configuration says is too old or too much
    #[command(group = clap::ArgGroup::new("what").args(["all", "packages", "images"]))]
    Clean {
        /// Remove everything
        #[arg(long)]
        all: bool,
        /// Remove all packages and the layers made of them
        #[arg(long)]
        packages: bool,
        /// Remove all images
        #[arg(long)]
        images: bool,
    },
}

/// What to do with providers.
#[derive(Subcommand, Debug)]
pub enum ProviderCommand {
    /// List them with their releases
    List,
}

/// Options of `build`.
#[derive(Args, Debug)]
pub struct BuildArguments {
    /// The build specification
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
    /// Directory of the finished files [default: the spec's output.destination, or ./output]
    #[arg(long, short, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Overwrite finished files that are there
    #[arg(long, short)]
    pub force: bool,
    /// Use no cache at all
    #[arg(long)]
    pub no_cache: bool,
    /// Use no downloaded packages and no layers made of them
    #[arg(long)]
    pub no_package_cache: bool,
    /// Use no finished images
    #[arg(long)]
    pub no_image_cache: bool,
    /// Leave the work of this build where it is
    #[arg(long)]
    pub keep_temp: bool,
    /// Threads and downloads at once [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub parallel: Option<NonZeroUsize>,
    /// Stop after this stage: validate, packages, compose, configuration or finalize
    #[arg(long, value_name = "NAME", value_parser = stage)]
    pub stage: Option<Stage>,
    /// Leave a stage out (repeatable)
    #[arg(long, value_name = "NAME", value_parser = stage, action = ArgAction::Append)]
    pub skip_stage: Vec<Stage>,
    /// Stop when the build takes longer: 30m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub timeout: Option<TimeSpan>,
    /// Use the lock beside the spec, and fail where spec and lock disagree
    #[arg(long)]
    pub locked: bool,
    /// Never touch the network
    #[arg(long)]
    pub offline: bool,
    /// Build twice, and name every path that differs
    #[arg(long)]
    pub check: bool,
    /// The sandbox to use: userns, userns-single or root [default: the best there is]
    #[arg(long, value_name = "NAME")]
    pub rung: Option<String>,
    /// Copy the layers into one tree, as where no overlay can be mounted
    #[arg(long)]
    pub no_overlay: bool,
    /// Values of a template's variables, from a file (not supported yet)
    #[arg(long, value_name = "FILE", hide = true)]
    pub variables: Option<PathBuf>,
    /// The value of one variable of a template (not supported yet)
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    pub set: Vec<String>,
    /// The template to build from (not supported yet)
    #[arg(long, value_name = "NAME", hide = true)]
    pub template: Option<String>,
}

/// Options of `shell`.
#[derive(Args, Debug)]
pub struct ShellArguments {
    /// The build specification
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
    /// Run this instead of a shell, and end with its exit code; off a terminal its input is empty
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// The stage: compose or configuration
    #[arg(long, value_name = "NAME", value_parser = stage, default_value = "configuration")]
    pub stage: Stage,
    /// Use the lock beside the spec, and fail where spec and lock disagree
    #[arg(long)]
    pub locked: bool,
    /// Never touch the network
    #[arg(long)]
    pub offline: bool,
    /// The sandbox to use: userns, userns-single or root [default: the best there is]
    #[arg(long, value_name = "NAME")]
    pub rung: Option<String>,
}

/// Options of `convert`.
#[derive(Args, Debug)]
pub struct ConvertArguments {
    /// The file to read; its format is found by its bytes
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// The file to write
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
    /// Its format: raw, qcow2, vhd, vhdx, vmdk or vdi [default: by the end of its name]
    #[arg(long, value_name = "FORMAT", value_parser = convert::format_by_name)]
    pub format: Option<Format>,
    /// Its compression: none, gzip, xz or zstd; inside of qcow2, around raw and vhd [default: by the end of its name]
    #[arg(long, value_name = "HOW", value_parser = compression)]
    pub compression: Option<Compression>,
    /// Overwrite the target if it is there
    #[arg(long, short)]
    pub force: bool,
}

fn compression(text: &str) -> Result<Compression, String> {
    Compression::from_text(text)
}

fn stage(text: &str) -> Result<Stage, String> {
    Stage::from_text(text)
}

fn time_span(text: &str) -> Result<TimeSpan, String> {
    TimeSpan::from_text(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_seeds_lines_are_understood() {
        for line in [
            "image-composer build --no-cache my-image-spec.yml",
            "image-composer build --stage configuration my-image-spec.yml",
            "image-composer build --skip-stage validate my-image-spec.yml",
            "image-composer build --timeout 30m my-image-spec.yml",
            "image-composer --log-level debug build my-image-spec.yml",
            "image-composer build --keep-temp my-image-spec.yml",
            "image-composer build -o out -f --parallel 4 --no-image-cache --no-package-cache s.yml",
            "image-composer -c c.yaml -v validate --strict --list-warnings --schema-only s.yml",
            "image-composer cache clean --all",
            "image-composer convert a.qcow2 b.vhd.gz",
            "image-composer convert a b --format qcow2 --compression zst --force",
            "image-composer oci export s.yml image.tar --form archive --force",
            "image-composer oci push s.yml docker://r.example/a:1 --attach a.spdx.json --insecure-registry r.example",
            "image-composer oci pull docker://r.example/a image --platform linux/arm64 --ca-file ca.pem",
            "image-composer layers diff 12ab 34cd --json",
            "image-composer layers verify --repair",
            "image-composer layers verify --repair s.yml t.yml --json",
            "image-composer layers import a.tar --trust-keys",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for line in [
            "image-composer build",
            "image-composer build --stage nothing s.yml",
            "image-composer build --timeout soon s.yml",
            "image-composer build --parallel 0 s.yml",
            "image-composer -v -q doctor",
            "image-composer convert a b --format floppy",
            "image-composer oci pull docker://r.example/a image --platform linux",
            "image-composer oci pull docker://r.example/a image --platform linux/arm64 --all-platforms",
            "image-composer layers diff 12ab",
            "image-composer layers verify s.yml",
            "image-composer cache clean --all --images",
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
