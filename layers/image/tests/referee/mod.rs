//! The outside tools that judge what we write, and what several tests need to feed them.
#![allow(dead_code)]

pub mod corners;
pub mod host;
pub mod kernel;

use std::path::{Path, PathBuf};
use std::process::Command;

use image::raw::RawFile;
use image::{Sink, Source};
use layers::{Contents, Entry, MemoryContents, Meta, Time, Tree, TreePath};
use tempfile::NamedTempFile;

/// What a tool said.
pub struct Verdict {
    pub success: bool,
    pub text: String,
}

/// A tool of this machine. Without it a test may be skipped at home, never in CI.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed, and CI may not do without it");
        println!("skipped: {name} is not installed");
    }
    found
}

/// Runs a tool and takes all that it says.
pub fn run(tool: &Path, arguments: &[&str]) -> Verdict {
    let output = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "0")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
    let text = [output.stdout, output.stderr].concat();
    Verdict { success: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// Writes a source into a raw file of its own.
pub fn raw(source: &dyn Source, contents: &dyn Contents) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let mut sink = RawFile::new(file.reopen().unwrap(), file.path(), source.size()).unwrap();
    source.write_to(contents, &mut sink).unwrap();
    sink.finish().unwrap();
    file
}

pub fn text(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Changes one byte of a file.
pub fn flip(file: &NamedTempFile, offset: u64) {
    use std::os::unix::fs::FileExt;
    let mut byte = [0];
    file.as_file().read_exact_at(&mut byte, offset).unwrap();
    file.as_file().write_all_at(&[byte[0] ^ 0xff], offset).unwrap();
}

/// A source made of pieces, for tests of sinks.
pub struct Pieces {
    pub size: u64,
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl Source for Pieces {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_to(&self, _: &dyn Contents, sink: &mut dyn Sink) -> Result<(), image::Error> {
        self.pieces.iter().try_for_each(|(offset, bytes)| sink.data(*offset, bytes))
    }
}

impl Pieces {
    /// All bytes, the holes as zeros.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = vec![0; self.size as usize];
        for (offset, bytes) in &self.pieces {
            all[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        all
    }
}

/// Bytes that look random and are the same each time; `noise` out of 256 of them do.
pub fn noise(seed: u64, length: usize, noise: u8) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|at| if next() <= noise { next() } else { b"the same text again and again. "[at % 31] }).collect()
}

/// Builds a small tree.
#[derive(Default)]
pub struct Planter {
    pub tree: Tree,
    pub contents: MemoryContents,
}

/// The time of everything that a [`Planter`] makes: 2024-02-29 13:37:42 UTC.
pub const TIME: Time = Time::seconds(1_709_213_862);

impl Planter {
    pub fn directory(&mut self, path: &str) -> &mut Self {
        let path = TreePath::new(path).unwrap();
        self.tree.create_directories(&path, &Meta::root_owned(0o755, TIME)).unwrap();
        self
    }

    pub fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        let path = TreePath::new(path).unwrap();
        let meta = Meta::root_owned(0o755, TIME);
        self.tree.create_directories(&path.parent().unwrap(), &meta).unwrap();
        let content = self.contents.add(bytes);
        self.tree.insert(path, Entry::file(content, Meta::root_owned(0o644, TIME))).unwrap();
        self
    }
}
