//! A directory of this machine as a disk with one ext4 partition, in any number of containers by one
//! pass over the data: what `tests/bench/disk.sh` measures.
//!
//!     disk DIRECTORY MIB OUTPUT…
//!
//! MIB is the size of the file system. How an output's name ends says what it is: `.raw`, `.qcow2`, `.vhd`, `.vhdx`,
//! `.vmdk` or `.vdi`, and behind it `.gz`, `.xz` or `.zst` where it is compressed (a qcow2's clusters).
//! The steps are told on standard error, each with its time and the most memory until then.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::compress::Compression;
use image::container::{Format, Options, Writer};
use image::disk::{Disk, Partition, PartitionSize, layout, types};
use image::stream::Tee;
use image::{Sink, Source, ext4};
use layers::{Blake3, Content, Contents, Entry, Kind, Meta, Time, Tree, TreePath};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Files of the host, told apart by number: whoever has a tree from a store has digests already,
/// so that making them is no part of what is measured.
#[derive(Default)]
struct HostContents {
    top: PathBuf,
    paths: Vec<Box<[u8]>>,
}

impl HostContents {
    fn add(&mut self, path: &TreePath, size: u64) -> Content {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(self.paths.len() as u64).to_le_bytes());
        self.paths.push(path.as_bytes().into());
        Content { digest: Blake3(digest), size }
    }

    fn file(&self, content: &Content) -> Result<File, layers::Error> {
        let number = content.digest.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let path = self.paths.get(number as usize).ok_or(layers::Error::NoContent { digest: content.digest })?;
        let path = self.top.join(std::ffi::OsStr::from_bytes(path));
        File::open(&path).map_err(|source| layers::Error::Io { action: "open", path, source })
    }
}

impl Contents for HostContents {
    fn open(&self, content: &Content) -> Result<Box<dyn Read + Send>, layers::Error> {
        Ok(Box::new(self.file(content)?))
    }

    fn host_file(&self, content: &Content) -> Result<Option<File>, layers::Error> {
        self.file(content).map(Some)
    }
}

/// Reads a directory and all below it, in the order of paths.
struct Walk {
    tree: Tree,
    contents: HostContents,
    /// First names of files with several, by inode.
    links: std::collections::BTreeMap<u64, TreePath>,
    buffer: Vec<u8>,
}

impl Walk {
    fn visit(&mut self, host: &Path, path: &TreePath) -> Outcome<()> {
        let mut entries = fs::read_dir(host)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let metadata = entry.metadata()?;
            let (host, path) = (entry.path(), path.join(entry.file_name().as_bytes())?);
            let kind = match metadata.nlink() {
                2.. if !metadata.is_dir() => match self.links.get(&entry.ino()) {
                    Some(first) => Kind::HardLink(first.clone()),
                    None => {
                        self.links.insert(entry.ino(), path.clone());
                        self.kind(metadata.file_type(), &metadata, &host, &path)?
                    }
                },
                _ => self.kind(metadata.file_type(), &metadata, &host, &path)?,
            };
            let meta = self.meta(&metadata, &host)?;
            self.tree.insert(path.clone(), Entry { kind, meta })?;
            if metadata.is_dir() {
                self.visit(&host, &path)?;
            }
        }
        Ok(())
    }

    fn kind(&mut self, is: FileType, metadata: &Metadata, host: &Path, path: &TreePath) -> Outcome<Kind> {
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        Ok(match is {
            is if is.is_file() => Kind::File(self.contents.add(path, metadata.len())),
            is if is.is_dir() => Kind::Directory,
            is if is.is_symlink() => Kind::Symlink(fs::read_link(host)?.as_os_str().as_bytes().into()),
            is if is.is_char_device() => Kind::CharDevice { major, minor },
            is if is.is_block_device() => Kind::BlockDevice { major, minor },
            is if is.is_fifo() => Kind::Fifo,
            _ => Kind::Socket,
        })
    }

    /// What is said of a file, extended attributes included.
    fn meta(&mut self, metadata: &Metadata, host: &Path) -> Outcome<Meta> {
        let mut meta = Meta {
            mode: metadata.mode() & layers::entry::MODE_MASK,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: Time { seconds: metadata.mtime(), nanoseconds: u32::try_from(metadata.mtime_nsec())? },
            ..Meta::default()
        };
        self.buffer.resize(64 << 10, 0);
        let length = rustix::fs::llistxattr(host, self.buffer.as_mut_slice())?;
        let names = self.buffer[..length].to_vec();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let length = rustix::fs::lgetxattr(host, name, self.buffer.as_mut_slice())?;
            meta.xattrs.insert(name.into(), self.buffer[..length].into());
        }
        Ok(meta)
    }
}

/// Tells how long a step took, and the most memory until then.
fn tell(step: &str, since: &mut Instant) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?");
    eprintln!("{step}: {:.3} s, at most {}", since.elapsed().as_secs_f64(), peak.trim());
    *since = Instant::now();
}

/// What an output is by its name.
fn form(path: &Path) -> Option<(Format, Option<Compression>)> {
    let end = |path: &Path| path.extension().and_then(|end| end.to_str()).map(str::to_owned);
    let compression = end(path).and_then(|end| Compression::by_name(&end));
    let inner = if compression.is_some() { path.with_extension("") } else { path.to_path_buf() };
    let format = end(&inner)?;
    Format::ALL.iter().find(|known| known.as_str() == format).map(|format| (*format, compression))
}

fn main() -> Outcome<()> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [directory, mib, outputs @ ..] = words.as_slice() else {
        return Err("usage: disk DIRECTORY MIB OUTPUT…".into());
    };
    let size = mib.to_str().ok_or("MIB is a number")?.parse::<u64>()? << 20;
    let mut since = Instant::now();

    let top = PathBuf::from(directory);
    let contents = HostContents { top: top.clone(), ..HostContents::default() };
    let mut walk = Walk { tree: Tree::default(), contents, links: Default::default(), buffer: Vec::new() };
    let meta = walk.meta(&fs::symlink_metadata(&top)?, &top)?;
    walk.tree = Tree::new(meta);
    walk.visit(&top, &TreePath::root())?;
    let Walk { tree, contents, links, .. } = walk;
    drop(links);
    tell(&format!("{} entries, {} MiB", tree.len(), tree.content_bytes() >> 20), &mut since);

    let options = ext4::Options::new(size, [1; 16], [2; 16], Time::seconds(1_700_000_000));
    let plan = ext4::plan(&tree, &options)?;
    let places = layout(None, &[PartitionSize::Bytes(plan.size())])?;
    let partitions = places.partitions.iter().map(|place| Partition {
        start: place.start,
        size: place.size,
        type_guid: types::by_name("linux-generic").unwrap_or(Uuid::max()),
        guid: Uuid::from_bytes([3; 16]),
        name: "root".into(),
        attributes: 0,
        content: Some(&plan),
    });
    let disk = Disk::new(places.size, Uuid::from_bytes([4; 16]), partitions.collect())?;
    tell("plan", &mut since);

    let threads = std::thread::available_parallelism()?.get();
    let mut writers = Vec::new();
    for output in outputs {
        let path = Path::new(output);
        let (format, compression) = form(path).ok_or_else(|| format!("{} does not say what it is", path.display()))?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let options = Options { format, size: disk.size(), compression, created: options.created, threads };
        writers.push(Writer::new(file, path, &options)?);
    }
    // As the program's own finalize does it.
    match writers.as_mut_slice() {
        [one] => disk.write_to(&contents, one)?,
        several => {
            let mut sinks = Tee(several.iter_mut().map(|writer| writer as &mut dyn Sink).collect());
            disk.write_to(&contents, &mut sinks)?;
        }
    }
    for writer in writers {
        writer.finish(Uuid::from_bytes([5; 16]))?;
    }
    tell("write", &mut since);
    Ok(())
}
