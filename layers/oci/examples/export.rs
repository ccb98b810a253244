//! Measures the export of a directory as an image of one layer, and of many, beside
//! `tar c DIRECTORY | zstd -T0`: `cargo run --release -p oci --example export -- DIRECTORY [LEVEL]`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use image::compress::Compression;
use layers::{Blake3, Content, Contents, Entry, Kind, Layer, Meta, Time, Tree, TreePath};
use oci::image::{Description, Platform};
use oci::{Export, Form, Origin, Writer, export};

/// How often each is measured; the best counts.
const ROUNDS: usize = 5;

/// Files of the machine by what is in them, as a store has them.
struct Host(BTreeMap<Blake3, PathBuf>);

impl Contents for Host {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        let path = self.0.get(&content.digest).ok_or(layers::Error::NoContent { digest: content.digest })?;
        let file = File::open(path);
        Ok(Box::new(file.map_err(|source| layers::Error::Io { action: "open", path: path.clone(), source })?))
    }
}

type Failure = Box<dyn std::error::Error>;

fn read(top: &Path) -> Result<(Tree, Host), Failure> {
    let mut found = Vec::new();
    let mut pending = vec![(top.to_path_buf(), TreePath::root())];
    while let Some((directory, path)) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = path.join(entry.file_name().as_bytes())?;
            if entry.metadata()?.is_dir() {
                pending.push((entry.path(), path.clone()));
            }
            found.push((path, entry.path()));
        }
    }
    found.sort();
    let (mut tree, mut host) = (Tree::default(), Host(BTreeMap::new()));
    for (path, at) in found {
        let meta = fs::symlink_metadata(&at)?;
        let kind = if meta.is_dir() {
            Kind::Directory
        } else if meta.is_symlink() {
            Kind::Symlink(fs::read_link(&at)?.as_os_str().as_bytes().into())
        } else if meta.is_file() {
            let content = Content::of(&fs::read(&at)?);
            host.0.insert(content.digest, at);
            Kind::File(content)
        } else {
            continue;
        };
        let meta = Meta::root_owned(meta.mode() & 0o7777, Time::seconds(meta.mtime()));
        tree.insert(path, Entry { kind, meta })?;
    }
    Ok((tree, host))
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("a directory is wanted")?);
    let level: i32 = arguments.next().map_or(Ok(3), |level| level.parse())?;
    let (tree, contents) = read(&directory)?;
    println!("{} entries, {} MB", tree.len(), tree.content_bytes() / 1_000_000);
    let work = tempfile::tempdir_in(".")?;
    let threads = std::thread::available_parallelism()?.get();
    // What packages are in a system, first names below the directory are here.
    let mut brought: BTreeMap<String, Layer> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if let Some(first) = path.components().next() {
            let layer = brought.entry(String::from_utf8_lossy(first).into_owned()).or_default();
            layer.changes.insert(path.clone(), layers::Change::Set(entry.clone()));
        }
    }
    let origins: Vec<Origin<'_>> =
        brought.iter().map(|(name, layer)| Origin { name, layer, is_package: true }).collect();
    let (mut ours, mut many, mut theirs) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        for (origins, best) in [(&[][..], &mut ours), (&origins[..], &mut many)] {
            let at = work.path().join("image");
            let start = Instant::now();
            let writer = Writer::create(&at, Form::Directory)?;
            let request = Export {
                tree: &tree,
                contents: &contents,
                origins,
                base: None,
                layers: oci::split::LAYERS_DEFAULT,
                compression: Compression::Zstd(level),
                threads,
                memory: None,
                has: None,
            };
            let exported = export(&writer, &request, &Description::new(Platform::linux("amd64"), 0))?;
            let mut writer = writer;
            writer.add(exported.descriptor, Some("test"));
            writer.finish()?;
            *best = best.min(start.elapsed().as_secs_f64());
            fs::remove_dir_all(&at)?;
        }
        let at = work.path().join("tar.zst");
        let start = Instant::now();
        let line = format!("tar -C '{}' -c . | zstd -q -T0 -{level} -o '{}'", directory.display(), at.display());
        assert!(Command::new("sh").args(["-c", &line]).status()?.success(), "{line}");
        theirs = theirs.min(start.elapsed().as_secs_f64());
        fs::remove_file(&at)?;
    }
    println!("tar | zstd -T0 -{level}: {theirs:.2} s");
    println!("one layer: {ours:.2} s, {:.2} of it", ours / theirs);
    println!("{} origins: {many:.2} s, {:.2} of it", origins.len(), many / theirs);
    Ok(())
}
