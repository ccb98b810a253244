//! System use entries of Rock Ridge, and where those lie that a directory record has no room for.

use layers::Time;

use super::format::{SECTOR, both32};
use super::time;

/// Length of an entry that leads to a continuation, in bytes (SUSP 5.1).
const CONTINUATION_BYTES: usize = 28;
/// Most bytes of a name, or of the components of a link's target, in one entry: its length is one byte.
const NAME_MAX: usize = 250;
/// What an entry or component says that another one continues (RRIP 4.1.3 and 4.1.4).
const CONTINUE: u8 = 1;

/// Identifier, description and source of the extension (RRIP 4.3; the texts are recommended there).
const EXTENSION: [&[u8]; 3] = [
    b"IEEE_P1282",
    b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS.",
    b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION.",
];

fn entry(signature: &[u8; 2], parts: &[&[u8]]) -> Vec<u8> {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    // Below 256 by the limits of what is put in.
    let mut bytes = vec![signature[0], signature[1], length as u8, 1];
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Says that system use entries are there; the first of all (SUSP 5.3).
pub(super) fn sharing() -> Vec<u8> {
    entry(b"SP", &[&[0xbe, 0xef, 0]])
}

/// Says whose entries they are (SUSP 5.5).
pub(super) fn extension() -> Vec<u8> {
    let [id, description, source] = EXTENSION;
    entry(b"ER", &[&[id.len() as u8, description.len() as u8, source.len() as u8, 1], id, description, source])
}

/// Owner, mode with the type of the file, number of names, and a number that names of one file share
/// (RRIP 4.1.1).
pub(super) fn attributes(mode: u32, links: u32, uid: u32, gid: u32, serial: u32) -> Vec<u8> {
    let parts = [mode, links, uid, gid, serial].map(both32);
    entry(b"PX", &[parts.as_flattened()])
}

/// Time of last modification (RRIP 4.1.6); that of the last access is the record's own, the same.
pub(super) fn modified(time: Time) -> Vec<u8> {
    entry(b"TF", &[&[0x02], &time::short(time)])
}

/// Number of a device (RRIP 4.1.2). Small ones lie in the lower word, as they do in 32 bits of every
/// system; Linux takes larger ones from a word each.
pub(super) fn device(major: u32, minor: u32) -> Vec<u8> {
    let (high, low) = match (major, minor) {
        (1..=0xfff, ..=0xff) => (0, major << 8 | minor),
        large => large,
    };
    entry(b"PN", &[&both32(high), &both32(low)])
}

/// The name (RRIP 4.1.4).
pub(super) fn name(name: &[u8]) -> Vec<Vec<u8>> {
    let pieces = name.chunks(NAME_MAX);
    let last = pieces.len().saturating_sub(1);
    pieces.enumerate().map(|(at, piece)| entry(b"NM", &[&[if at < last { CONTINUE } else { 0 }], piece])).collect()
}

/// The target of a symbolic link, by its components (RRIP 4.1.3). A doubled or trailing slash is a
/// component without letters, and so comes back.
pub(super) fn target(target: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
    let mut add = |flags: u8, mut text: &[u8]| loop {
        let used = bodies.last().map_or(0, Vec::len);
        let room = NAME_MAX.saturating_sub(used + 2);
        // A piece of one letter is not worth its head.
        if room < text.len().min(2) || used + 2 > NAME_MAX {
            bodies.push(Vec::new());
            continue;
        }
        let (piece, rest) = text.split_at(text.len().min(room));
        if let Some(body) = bodies.last_mut() {
            body.extend([if rest.is_empty() { flags } else { flags | CONTINUE }, piece.len() as u8]);
            body.extend_from_slice(piece);
        }
        if rest.is_empty() {
            return;
        }
        text = rest;
    };
    for (index, part) in target.split(|&byte| byte == b'/').enumerate() {
        match part {
            b"" if index == 0 => add(8, b""),
            b"." => add(2, b""),
            b".." => add(4, b""),
            text => add(0, text),
        }
    }
    let last = bodies.len() - 1;
    let entries = bodies.iter().enumerate();
    entries.map(|(at, body)| entry(b"SL", &[&[if at < last { CONTINUE } else { 0 }], body])).collect()
}

/// The sectors behind a directory that hold what its records have no room for. No entry crosses a
/// sector, and no continuation either, as Linux demands.
pub(super) struct Area {
    /// First sector.
    pub sector: u32,
    pub bytes: Vec<u8>,
}

impl Area {
    pub(super) fn new(sector: u32) -> Self {
        Self { sector, bytes: Vec::new() }
    }

    /// Room left in the sector at hand.
    fn room(&self) -> usize {
        SECTOR as usize - self.bytes.len() % SECTOR as usize
    }

    /// Takes entries and gives the one that leads to them.
    fn add(&mut self, entries: &[Vec<u8>]) -> Vec<u8> {
        let total: usize = entries.iter().map(Vec::len).sum();
        if total > self.room() {
            self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR as usize), 0);
        }
        let (taken, rest) = entries.split_at(fitting(entries, self.room()));
        let at = self.bytes.len();
        self.bytes.extend(taken.concat());
        if !rest.is_empty() {
            let lead = self.bytes.len();
            self.bytes.resize(lead + CONTINUATION_BYTES, 0);
            let continuation = self.add(rest);
            self.bytes[lead..lead + CONTINUATION_BYTES].copy_from_slice(&continuation);
        }
        let length = taken.concat().len() + if rest.is_empty() { 0 } else { CONTINUATION_BYTES };
        // A directory has less than 4 GiB, and so has its area.
        let place = [self.sector + (at as u64 / SECTOR) as u32, (at as u64 % SECTOR) as u32, length as u32];
        entry(b"CE", &[place.map(both32).as_flattened()])
    }
}

/// How many entries go into so many bytes, with one that leads to the others if these are not all.
fn fitting(entries: &[Vec<u8>], room: usize) -> usize {
    let total: usize = entries.iter().map(Vec::len).sum();
    if total <= room {
        return entries.len();
    }
    let mut used = CONTINUATION_BYTES;
    let fits = |entry: &&Vec<u8>| {
        used += entry.len();
        used <= room
    };
    entries.iter().take_while(fits).count()
}

/// The entries of a record as far as there is room, the rest in the area.
pub(super) fn pack(entries: &[Vec<u8>], room: usize, area: &mut Area) -> Vec<u8> {
    let (taken, rest) = entries.split_at(fitting(entries, room));
    let mut bytes = taken.concat();
    if !rest.is_empty() {
        bytes.extend(area.add(rest));
    }
    bytes
}
