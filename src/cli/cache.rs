//! `cache`: what is kept between builds.

use std::fmt::Write;

use crate::config::Config;
use crate::error::Error;
use crate::progress::human_bytes;

use super::arguments::CacheCommand;
use super::options::CleanWhat;
use super::print;

/// Runs one of the commands of `cache`.
///
/// # Errors
/// Those of the cache; a hash that no image has.
pub(super) fn run(config: &Config, command: CacheCommand) -> Result<(), Error> {
    match command {
        CacheCommand::List => list(config),
        CacheCommand::Info { hash } => print(&crate::build::image_info(config, &hash)?),
        CacheCommand::Clean { all, packages, images } => {
            let what = match (all, packages, images) {
                (true, _, _) => CleanWhat::All,
                (_, true, _) => CleanWhat::Packages,
                (_, _, true) => CleanWhat::Images,
                _ => CleanWhat::Expired,
            };
            let freed = crate::build::clean(config, what)?;
            print(&format!("freed {}\n", human_bytes(freed)))
        }
    }
}

fn list(config: &Config) -> Result<(), Error> {
    let images = crate::build::cached_images(config)?;
    if images.is_empty() {
        return print("no image is kept\n");
    }
    let mut text = String::new();
    for image in images {
        // Twelve digits tell images apart, and `cache info` takes any beginning.
        let short = image.hash.get(..12).unwrap_or(&image.hash);
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{short}  {:>10}  {}", human_bytes(image.bytes), image.name);
    }
    print(&text)
}
