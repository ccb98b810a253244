//! Finished images, whoever made them: opened, looked into, taken out of, compared. Nothing here
//! needs root, and nothing writes to an image.

pub mod compare;
pub mod extract;
pub mod inspect;
pub mod list;
mod live;
pub mod mount;
pub mod packages;
pub mod tree;

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use image::container;
use image::disk::{Part, Scheme, scan};
use image::volume::{self, Format, Inside, Volume};
use image::{HostFile, Medium, Window};

use crate::error::{Error, Kind, ResultExt};

/// A part of an image, and the file system on it.
pub struct Piece<'a> {
    /// Where it lies.
    pub part: Part,
    /// What its magic number says.
    pub format: Option<Format>,
    /// The file system, if it is one that can be read.
    pub volume: Option<Box<dyn Volume + 'a>>,
    /// Why it cannot be read although its format is known.
    pub problem: Option<image::Error>,
}

/// An image that is open.
pub struct Image<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// The container's format.
    pub container: &'static str,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The disk inside.
    pub disk: &'a dyn Medium,
    /// How the disk is divided.
    pub scheme: Scheme,
    /// Its parts, in the order of their numbers.
    pub pieces: Vec<Piece<'a>>,
}

/// Opens an image and looks at it. What `look` gets lives as long as the file is open.
///
/// # Errors
/// A file that cannot be read; a container or a partition table that is damaged; those of `look`.
/// A damaged file system is the problem of its piece.
pub fn open<T>(path: &Path, look: impl FnOnce(&Image<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let file = host_file(path)?;
    let (format, disk) = container::open(&file).or_fail(Kind::Other, || failed(path))?;
    let (scheme, windows) = divided(path, &disk)?;
    let media = live::media(&windows);
    let roots = live::roots(&media, &windows);
    look(&Image {
        path,
        container: format.as_str(),
        file_bytes: file.size(),
        disk: &disk,
        scheme,
        pieces: pieces(&windows, &roots),
    })
}

/// As [`open`], for as long as the process runs: it is never closed.
///
/// # Errors
/// As [`open`].
pub fn open_for_good(path: &Path) -> Result<&'static Image<'static>, Error> {
    let path: &'static Path = Box::leak(path.to_owned().into_boxed_path());
    let file: &'static HostFile = Box::leak(Box::new(host_file(path)?));
    let (format, disk) = container::open(file).or_fail(Kind::Other, || failed(path))?;
    let disk: &'static dyn Medium = Box::leak(disk);
    let (scheme, windows) = divided(path, disk)?;
    let windows: &'static [_] = windows.leak();
    let roots: &'static [_] = live::roots(live::media(windows).leak(), windows).leak();
    let pieces = pieces(windows, roots);
    let container = format.as_str();
    Ok(Box::leak(Box::new(Image { path, container, file_bytes: file.size(), disk, scheme, pieces })))
}

fn failed(path: &Path) -> String {
    format!("failed to read the image {}", path.display())
}

/// Opens a file or disk of this machine that can be read at any place.
///
/// # Errors
/// It is neither, such as a pipe, which to open alone may take for ever; it cannot be read.
pub fn host_file(path: &Path) -> Result<HostFile, Error> {
    let io = |source| Error::io(Kind::Other, "read", path, source);
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Error::other(format!("failed to read {}: it is no regular file or disk", path.display())));
    }
    HostFile::new(File::open(path).map_err(io)?, path).or_fail(Kind::Other, || failed(path))
}

fn divided<'a>(path: &Path, disk: &'a dyn Medium) -> Result<(Scheme, Vec<(Part, Window<'a>)>), Error> {
    let (scheme, parts) = scan(disk).or_fail(Kind::Other, || failed(path))?;
    let parts = live::with_medium(disk, &scheme, parts).or_fail(Kind::Other, || failed(path))?;
    let windows = parts.into_iter().map(|part| part.window(disk).map(|window| (part, window)));
    Ok((scheme, windows.collect::<Result<_, _>>().or_fail(Kind::Other, || failed(path))?))
}

fn pieces<'a>(windows: &'a [(Part, Window<'_>)], roots: &'a [(Part, Inside<'_>)]) -> Vec<Piece<'a>> {
    let on_disk = windows.iter().map(|(part, window)| piece(part, window));
    on_disk.chain(roots.iter().map(|(part, root)| piece(part, root))).collect()
}

fn piece<'a>(part: &Part, window: &'a dyn Medium) -> Piece<'a> {
    let (format, volume) = (volume::identify(&window), volume::open(window));
    let mut piece = Piece { part: part.clone(), format: None, volume: None, problem: None };
    match format {
        Ok(format) => piece.format = format,
        Err(error) => piece.problem = Some(error),
    }
    match volume {
        Ok(volume) => piece.volume = volume,
        Err(error) => piece.problem = Some(error),
    }
    piece
}
