//! Reads a FAT file system. It may be hostile: each cluster belongs to one directory at most, and
//! chains are no longer than what they hold, so that time and memory are bounded by what is there.

use std::collections::BTreeSet;

use layers::{Time, TreePath};

use super::format::{
    FIRST_CLUSTER, FORMAT, Geometry, Kind, LONG_LAST, LONG_UNIT_AT, LONG_UNITS, SECTOR, SLOT, SLOTS_MAX, attribute,
    checksum,
};
use super::name::{Short, spelled};
use super::time::DosTime;
use crate::Error;
use crate::bytes::Fields;
use crate::medium::Medium;

/// Most files and directories that are listed, and most bytes of their paths: bounds on memory, far
/// above what the partitions of real disks hold.
const ITEMS_MAX: usize = 1_000_000;
const PATH_BYTES_MAX: usize = 256 << 20;

fn damaged(offset: u64, reason: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, offset, reason: reason.into() }
}

/// A FAT file system that is there.
pub struct Volume<'a> {
    medium: &'a dyn Medium,
    geometry: Geometry,
    root_cluster: u32,
    volume_id: u32,
    label: Option<String>,
}

/// A file or directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Where it is.
    pub path: TreePath,
    /// Whether it is a directory.
    pub directory: bool,
    /// Size of a file in bytes; 0 for directories.
    pub size: u32,
    /// Time of last modification, taken as UTC.
    pub mtime: Time,
    /// Whether writing is forbidden.
    pub read_only: bool,
    /// Its short name, as people write it.
    pub short_name: String,
    cluster: u32,
}

impl<'a> Volume<'a> {
    /// Reads the boot sector.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no FAT's, or the file system is larger than the medium.
    pub fn open(medium: &'a dyn Medium) -> Result<Self, Error> {
        let mut sector = [0; SECTOR as usize];
        medium.read_at(0, &mut sector)?;
        let fields = Fields(&sector);
        if fields.u16_le(510) != 0xaa55 {
            return Err(damaged(510, "the boot sector has no signature"));
        }
        let sector_bytes = u64::from(fields.u16_le(11));
        if sector_bytes != SECTOR {
            return Err(damaged(11, format!("sectors of {sector_bytes} bytes are not supported")));
        }
        let cluster_sectors = u64::from(fields.u8(13));
        if !cluster_sectors.is_power_of_two() {
            return Err(damaged(13, format!("clusters of {cluster_sectors} sectors are not possible")));
        }
        let either = |short: u16, long: u32| if short != 0 { u64::from(short) } else { u64::from(long) };
        let sectors = either(fields.u16_le(19), fields.u32_le(32));
        let fat_sectors = either(fields.u16_le(22), fields.u32_le(36));
        let (reserved, fats) = (u64::from(fields.u16_le(14)), u64::from(fields.u8(16)));
        let root_slots = u64::from(fields.u16_le(17));
        // Some cards have one table only.
        if !(1..=2).contains(&fats) || reserved == 0 || fat_sectors == 0 {
            return Err(damaged(14, "the tables' places are not possible"));
        }
        let root_sectors = (root_slots * SLOT as u64).div_ceil(SECTOR);
        let data = reserved + fats * fat_sectors + root_sectors;
        if sectors.saturating_mul(SECTOR) > medium.size() || data >= sectors {
            return Err(damaged(19, format!("{sectors} sectors do not hold it, or are not there")));
        }
        let clusters = (sectors - data) / cluster_sectors;
        let kind = if fields.u16_le(22) == 0 { Kind::Fat32 } else { Kind::of_clusters(clusters) };
        if (clusters + 2) * kind.entry_bits() > fat_sectors * SECTOR * 8 {
            return Err(damaged(22, "the table is too short for the clusters"));
        }
        let geometry = Geometry { kind, sectors, cluster_sectors, reserved, fats, fat_sectors, root_slots, clusters };
        let extended = if kind == Kind::Fat32 { 64 } else { 36 };
        let root_cluster = if kind == Kind::Fat32 { fields.u32_le(44) } else { 0 };
        let volume_id = fields.u32_le(extended + 3);
        let mut volume = Self { medium, geometry, root_cluster, volume_id, label: None };
        volume.label = volume.find_label()?;
        Ok(volume)
    }

    /// Which FAT it is.
    pub fn kind(&self) -> Kind {
        self.geometry.kind
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.geometry.sectors * SECTOR
    }

    /// Size of a cluster in bytes.
    pub fn cluster_size(&self) -> u64 {
        self.geometry.cluster_bytes()
    }

    /// Its identity.
    pub fn volume_id(&self) -> u32 {
        self.volume_id
    }

    /// The label in the root directory; what is not ASCII is replaced.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The entry of a cluster in the first FAT.
    fn next(&self, cluster: u32) -> Result<u32, Error> {
        let at = |bytes: u64| self.geometry.fat_at(0) + bytes;
        let mut entry = [0; 4];
        let cluster64 = u64::from(cluster);
        Ok(match self.geometry.kind {
            Kind::Fat32 => {
                self.medium.read_at(at(cluster64 * 4), &mut entry)?;
                u32::from_le_bytes(entry) & 0x0fff_ffff
            }
            Kind::Fat16 => {
                self.medium.read_at(at(cluster64 * 2), &mut entry[..2])?;
                u32::from_le_bytes(entry)
            }
            Kind::Fat12 => {
                self.medium.read_at(at(cluster64 * 3 / 2), &mut entry[..2])?;
                let both = u32::from_le_bytes(entry);
                if cluster % 2 == 1 { both >> 4 } else { both & 0xfff }
            }
        })
    }

    /// The clusters of a chain; at most `most` of them, each at most once.
    fn chain(&self, start: u32, most: u64) -> Result<Vec<Run>, Error> {
        let mut runs: Vec<Run> = Vec::new();
        let mut cluster = start;
        let mut count = 0;
        loop {
            if u64::from(cluster) >= self.geometry.clusters + u64::from(FIRST_CLUSTER) || cluster < FIRST_CLUSTER {
                return Err(damaged(self.geometry.fat_at(0), format!("a chain leads to cluster {cluster}")));
            }
            count += 1;
            if count > most {
                return Err(damaged(self.geometry.fat_at(0), format!("the chain from cluster {start} is too long")));
            }
            match runs.last_mut() {
                Some(run) if run.start.checked_add(run.count) == Some(cluster) => run.count += 1,
                _ => runs.push(Run { start: cluster, count: 1 }),
            }
            cluster = self.next(cluster)?;
            if cluster >= self.geometry.kind.end_of_chain() {
                return Ok(runs);
            }
        }
    }

    /// The bytes of a directory.
    fn directory(&self, cluster: u32, used: &mut BTreeSet<u32>) -> Result<Vec<u8>, Error> {
        if cluster == 0 && self.geometry.kind != Kind::Fat32 {
            let mut bytes = vec![0; self.geometry.root_slots as usize * SLOT];
            self.medium.read_at(self.geometry.root_at(), &mut bytes)?;
            return Ok(bytes);
        }
        let cluster_bytes = self.geometry.cluster_bytes();
        let most = (SLOTS_MAX * SLOT as u64).div_ceil(cluster_bytes);
        let mut bytes = Vec::new();
        for run in self.chain(cluster, most)? {
            for cluster in run.start..run.start + run.count {
                let at = self.geometry.cluster_at(cluster);
                if !used.insert(cluster) {
                    return Err(damaged(at, "two directories share a cluster"));
                }
                let start = bytes.len();
                bytes.resize(start + cluster_bytes as usize, 0);
                self.medium.read_at(at, &mut bytes[start..])?;
            }
        }
        Ok(bytes)
    }

    fn find_label(&self) -> Result<Option<String>, Error> {
        let root = self.directory(self.root_cluster, &mut BTreeSet::new())?;
        let is_label = |slot: &&[u8]| slot[0] != 0xe5 && slot[11] & 0x3f == attribute::VOLUME_ID;
        let label = root.chunks_exact(SLOT).take_while(|slot| slot[0] != 0).find(is_label);
        Ok(label.map(|slot| String::from_utf8_lossy(slot[..11].trim_ascii_end()).into_owned()))
    }

    /// Every file and directory below the root, parents before children.
    ///
    /// # Errors
    /// [`Error::Damaged`] for chains that run in circles or out of the file system, names that no
    /// tree may hold, and more than a million entries.
    pub fn items(&self) -> Result<Vec<Item>, Error> {
        let mut used = BTreeSet::new();
        let mut items: Vec<Item> = Vec::new();
        self.list(&TreePath::root(), self.root_cluster, &mut used, &mut items)?;
        let (mut at, mut path_bytes) = (0, 0usize);
        while at < items.len() {
            path_bytes = path_bytes.saturating_add(items[at].path.as_bytes().len());
            if items.len() > ITEMS_MAX || path_bytes > PATH_BYTES_MAX {
                return Err(damaged(0, "there are more than a million files, or their paths are too long"));
            }
            if items[at].directory {
                let (path, cluster) = (items[at].path.clone(), items[at].cluster);
                self.list(&path, cluster, &mut used, &mut items)?;
            }
            at += 1;
        }
        items.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(items)
    }

    fn list(
        &self,
        directory: &TreePath,
        cluster: u32,
        used: &mut BTreeSet<u32>,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        if cluster == 0 && !directory.is_root() {
            return Err(damaged(0, format!("the directory {directory} has no cluster")));
        }
        let bytes = self.directory(cluster, used)?;
        let mut long = LongName::default();
        for slot in bytes.chunks_exact(SLOT).take_while(|slot| slot[0] != 0) {
            let fields = Fields(slot);
            let attributes = fields.u8(11);
            if slot[0] == 0xe5 {
                long = LongName::default();
            } else if attributes & 0x3f == attribute::LONG_NAME {
                long.add(fields);
            } else if attributes & attribute::VOLUME_ID != 0 || slot[0] == b'.' {
                long = LongName::default();
            } else {
                let short: Short = fields.bytes(0);
                let name = std::mem::take(&mut long).finish(&short).unwrap_or_else(|| cased(&short, fields.u8(12)));
                if name.contains('/') {
                    return Err(damaged(0, format!("a name in {directory} contains a slash")));
                }
                let is_directory = attributes & attribute::DIRECTORY != 0;
                let high = if self.geometry.kind == Kind::Fat32 { u32::from(fields.u16_le(20)) << 16 } else { 0 };
                let time = DosTime { time: fields.u16_le(22), date: fields.u16_le(24), hundredths: 0 };
                items.push(Item {
                    path: directory.join(&name)?,
                    directory: is_directory,
                    size: if is_directory { 0 } else { fields.u32_le(28) },
                    mtime: time.to_time(),
                    read_only: attributes & attribute::READ_ONLY != 0,
                    short_name: String::from_utf8_lossy(&spelled(&short)).into_owned(),
                    cluster: high | u32::from(fields.u16_le(26)),
                });
            }
        }
        Ok(())
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Error::Damaged`] when its clusters are not exactly those that its size needs.
    pub fn file(&self, item: &Item) -> Result<FileData<'_>, Error> {
        let clusters = u64::from(item.size).div_ceil(self.geometry.cluster_bytes());
        let runs = if clusters == 0 { Vec::new() } else { self.chain(item.cluster, clusters)? };
        if runs.iter().map(|run| u64::from(run.count)).sum::<u64>() < clusters {
            return Err(damaged(0, format!("the chain of {} is shorter than its size", item.path)));
        }
        let mut firsts = Vec::with_capacity(runs.len());
        let mut first = 0;
        for run in runs {
            firsts.push((first, run));
            first += u64::from(run.count);
        }
        Ok(FileData { volume: self, runs: firsts, size: u64::from(item.size) })
    }
}

/// Clusters that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    count: u32,
}

/// The bytes of one file.
pub struct FileData<'a> {
    volume: &'a Volume<'a>,
    /// With the number within the file of its first cluster.
    runs: Vec<(u64, Run)>,
    size: u64,
}

impl Medium for FileData<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(damaged(offset, "the file ends before the bytes asked for"));
        }
        let geometry = &self.volume.geometry;
        let cluster_bytes = geometry.cluster_bytes();
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let number = offset / cluster_bytes;
            let at = self.runs.partition_point(|(first, _)| *first <= number).saturating_sub(1);
            let Some((first, run)) = self.runs.get(at) else {
                return Err(damaged(offset, "the file has no clusters"));
            };
            let within = offset - first * cluster_bytes;
            let left = (u64::from(run.count) * cluster_bytes).saturating_sub(within);
            let count = rest.len().min(left as usize);
            if count == 0 {
                return Err(damaged(offset, "the file has too few clusters"));
            }
            let (head, tail) = rest.split_at_mut(count);
            self.volume.medium.read_at(geometry.cluster_at(run.start) + within, head)?;
            (offset, rest) = (offset + count as u64, tail);
        }
        Ok(())
    }
}

/// A short name with the cases that Windows NT notes beside it (bits 3 and 4 of byte 12).
fn cased(short: &Short, bits: u8) -> String {
    let mut short = *short;
    if short[0] == 0x05 {
        // Stands for 0xe5, which would mark a deleted entry (fatgen103, "DIR_Name[0]").
        short[0] = 0xe5;
    }
    if bits & 0x08 != 0 {
        short[..8].make_ascii_lowercase();
    }
    if bits & 0x10 != 0 {
        short[8..].make_ascii_lowercase();
    }
    String::from_utf8_lossy(&spelled(&short)).into_owned()
}

/// A long name as its slots come, the last part first.
#[derive(Default)]
struct LongName {
    /// Parts that have not come yet; `None` when none is being read.
    missing: Option<u8>,
    checksum: u8,
    units: Vec<[u16; LONG_UNITS]>,
}

impl LongName {
    fn add(&mut self, fields: Fields<'_>) {
        let (order, sum) = (fields.u8(0), fields.u8(13));
        let number = order & !LONG_LAST;
        if order & LONG_LAST != 0 {
            *self = Self { missing: Some(number), checksum: sum, units: Vec::new() };
        }
        // 20 parts hold the longest name.
        if self.missing != Some(number) || number == 0 || number > 20 || sum != self.checksum {
            *self = Self::default();
            return;
        }
        self.missing = Some(number - 1);
        self.units.push(LONG_UNIT_AT.map(|at| fields.u16_le(at)));
    }

    /// The name, if it is whole and belongs to this short name.
    fn finish(self, short: &Short) -> Option<String> {
        if self.missing != Some(0) || self.checksum != checksum(short) {
            return None;
        }
        let units = self.units.into_iter().rev().flatten().take_while(|&unit| unit != 0);
        let name: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        (!name.is_empty()).then_some(name)
    }
}
