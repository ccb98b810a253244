//! The command line of `layers` as it is typed.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with layers.
#[derive(Subcommand, Debug)]
pub enum LayersCommand {
    /// List the layers that are kept, those used last first
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the layers of each spec as it was last built, the bottom first
    Tree {
        /// The image's name [default: all]
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of one layer
    Info {
        /// The beginning of its id, as `layers ls` shows it
        #[arg(value_name = "ID")]
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show in what two layers, or the trees of two specs, differ; ends with 1 if they do
    Diff {
        /// The beginning of a layer's id, or the name of a spec's image
        #[arg(value_name = "A")]
        a: String,
        /// As the first
        #[arg(value_name = "B")]
        b: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how much room layers take, and how much of it specs share
    Du {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every layer and name what is damaged; ends with 1 if anything is
    Verify {
        /// Fetch what is damaged from the layer caches of the configuration, or remove it, so that the next build
        /// makes it again
        #[arg(long)]
        repair: bool,
        /// With --repair: specs whose own layer caches are asked, before those of the configuration
        #[arg(value_name = "SPEC", requires = "repair")]
        specs: Vec<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove the layers that the global configuration says are too old
    Gc,
    /// Write a layer into a file, for another machine
    Export {
        /// The beginning of its id
        #[arg(value_name = "ID")]
        id: String,
        /// The file, a tar
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Overwrite the file if it is there
        #[arg(long, short)]
        force: bool,
    },
    /// Take a layer out of a file; its id says whether it is whole
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Believe what the file says made it, so that builds use it
        #[arg(long)]
        trust_keys: bool,
    },
}
