//! Which layers a spec was last built of.
//!
//! ```text
//! CACHE/stacks/NAME.json   the layers of the spec of this name, the bottom first
//! ```

use std::fs;
use std::path::Path;

use layers::{Blake3, Stack};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Kind, ResultExt};

/// Largest record that is read, in bytes.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// The layers of a spec's last build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The image's name.
    pub name: String,
    /// Its layers, the bottom first.
    pub layers: Vec<Member>,
}

/// A layer of a spec.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: Blake3,
    /// What made it: packages with their versions, titles of steps.
    pub made: Vec<String>,
}

/// Keeps which layers a build has made its tree of.
///
/// # Errors
/// I/O errors.
pub fn keep(cache: &Path, name: &str, stack: &Stack, cx: &Context) -> Result<(), Error> {
    let member = |id: &Blake3| Member { id: *id, made: cx.made(id).iter().map(ToString::to_string).collect() };
    let lineage =
        Lineage { name: name.to_owned(), layers: stack.layers().iter().map(|layer| member(&layer.id)).collect() };
    let text = serde_json::to_vec(&lineage).to("write the record of the layers")?;
    let directory = cache.join("stacks");
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::io(Kind::Build, "write", &path, source)
    };
    fs::create_dir_all(&directory).map_err(io(&directory))?;
    let path = directory.join(format!("{name}.json"));
    let passing = directory.join(format!(".new-{name}.{}", std::process::id()));
    fs::write(&passing, text).map_err(io(&passing))?;
    fs::rename(&passing, &path).map_err(io(&path))
}

/// Every record, by name; what cannot be read is left out.
pub fn all(cache: &Path) -> Vec<Lineage> {
    let entries = fs::read_dir(cache.join("stacks")).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<Lineage> = entries
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.len() <= RECORD_BYTES_MAX))
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}
