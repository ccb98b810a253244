//! A package as the database keeps it: its main header byte for byte, and behind the header's
//! region what installing adds ("dribbles" in rpm's words): digests and signatures from the
//! signature header, and when and how it was installed (rpm, lib/psm.c `dbAdd`, lib/package.c
//! `headerMergeLegacySigs`).

use super::{Error, Installed};
use crate::rpm::header::tag::{self, Tag, signature};
use crate::rpm::header::{Header, Type};

/// `RPMTAG_PREFIXES`: below which directories the package's files may be moved.
const PREFIXES: Tag = Tag(1098);
/// `RPMTAG_INSTPREFIXES`: where they were put.
const INSTPREFIXES: Tag = Tag(1099);

/// A value of the signature header that the database keeps.
struct Kept {
    from: Tag,
    to: Tag,
    kind: Type,
    /// How many values it has; any number for 0.
    count: usize,
    /// Whether a main header may have it too when the signature header has not.
    either: bool,
}

const fn kept(from: Tag, to: Tag, kind: Type, count: usize, either: bool) -> Kept {
    Kept { from, to, kind, count, either }
}

/// What rpm 4.18 takes over, under the tag that it has in the database.
const KEPT: [Kept; 15] = [
    kept(signature::SIZE, tag::SIGSIZE, Type::Int32, 1, false),
    kept(signature::PGP, tag::SIGPGP, Type::Bin, 0, false),
    kept(signature::MD5, tag::SIGMD5, Type::Bin, 16, false),
    kept(signature::GPG, tag::SIGGPG, Type::Bin, 0, false),
    kept(signature::PAYLOADSIZE, tag::ARCHIVESIZE, Type::Int32, 1, true),
    // RPMSIGTAG_FILESIGNATURES and its length: IMA signatures of each file.
    kept(Tag(274), Tag(5090), Type::StringArray, 0, true),
    kept(Tag(275), Tag(5091), Type::Int32, 1, true),
    // RPMSIGTAG_VERITYSIGNATURES and its algorithm: fs-verity signatures of each file.
    kept(Tag(276), Tag(276), Type::StringArray, 0, false),
    kept(Tag(277), Tag(277), Type::Int32, 1, false),
    kept(tag::SHA1HEADER, tag::SHA1HEADER, Type::String, 1, false),
    kept(tag::SHA256HEADER, tag::SHA256HEADER, Type::String, 1, false),
    kept(tag::DSAHEADER, tag::DSAHEADER, Type::Bin, 0, false),
    kept(tag::RSAHEADER, tag::RSAHEADER, Type::Bin, 0, false),
    kept(tag::LONGSIGSIZE, tag::LONGSIGSIZE, Type::Int64, 1, false),
    kept(tag::LONGARCHIVESIZE, tag::LONGARCHIVESIZE, Type::Int64, 1, false),
];

/// A value to go behind the region.
struct Dribble {
    tag: Tag,
    kind: Type,
    count: usize,
    bytes: Vec<u8>,
}

impl Dribble {
    fn word(tag: Tag, number: u32) -> Self {
        Self { tag, kind: Type::Int32, count: 1, bytes: number.to_be_bytes().to_vec() }
    }
}

/// The header as the database keeps it.
///
/// # Errors
/// [`Error::Package`] for a package that rpm would refuse: one from before rpm 4, one whose two
/// headers state the same thing, or one with a number of file states that is not its number of
/// files.
pub(super) fn header(package: &Installed<'_>) -> Result<Header, Error> {
    let refuse = |reason: String| Error::Package {
        package: package.header.string(tag::NAME).unwrap_or_default().to_owned(),
        reason,
    };
    let mut dribbles = dribbles(package).map_err(refuse)?;
    dribbles.sort_by_key(|dribble| dribble.tag);
    let blob = join(package.header, &dribbles).ok_or_else(|| refuse("its header is too large".into()))?;
    Header::parse_blob(&blob).map_err(|malformed| refuse(malformed.reason))
}

fn dribbles(package: &Installed<'_>) -> Result<Vec<Dribble>, String> {
    let Installed { header, signature, states, .. } = package;
    if header.has(tag::OLDFILENAMES) || header.string(tag::NAME).is_none_or(str::is_empty) {
        return Err("its header is of a kind that rpm 4 no longer writes".into());
    }
    if header.has(tag::INSTALLTIME) || header.has(tag::INSTALLTID) || header.has(tag::FILESTATES) {
        return Err("its header says that it is installed already".into());
    }
    let mut dribbles = vec![
        Dribble::word(tag::INSTALLTIME, package.time),
        Dribble::word(tag::INSTALLCOLOR, package.color),
        Dribble::word(tag::INSTALLTID, package.transaction),
    ];
    for kept in &KEPT {
        if header.has(kept.to) && !(kept.either && !signature.has(kept.from)) {
            return Err(format!("tag {} is in its main header, where no signature belongs", kept.to.0));
        }
        let Some((kind, bytes)) = signature.value(kept.from) else { continue };
        let count = signature.count(kept.from);
        if kind != kept.kind || (kept.count != 0 && kept.count != count) {
            return Err(format!("tag {} of its signature header is of the wrong type or number", kept.from.0));
        }
        dribbles.push(Dribble { tag: kept.to, kind, count, bytes: bytes.to_vec() });
    }
    let files = header.count(tag::BASENAMES);
    if !states.is_empty() && states.len() != files {
        return Err(format!("it has {files} files, and {} states of files", states.len()));
    }
    if files > 0 {
        let bytes = match states.is_empty() {
            true => vec![0; files],
            false => states.iter().map(|state| state.number()).collect(),
        };
        dribbles.push(Dribble { tag: tag::FILESTATES, kind: Type::Char, count: files, bytes });
    }
    if !header.has(tag::SOURCERPM) && !header.has(tag::SOURCEPACKAGE) {
        dribbles.push(Dribble { tag: tag::SOURCERPM, kind: Type::String, count: 1, bytes: b"(none)\0".to_vec() });
    }
    // Where files may be moved, scripts are told where they are, even though nothing was moved.
    if let (Some((kind, bytes)), false) = (header.value(PREFIXES), header.has(INSTPREFIXES)) {
        dribbles.push(Dribble { tag: INSTPREFIXES, kind, count: header.count(PREFIXES), bytes: bytes.to_vec() });
    }
    Ok(dribbles)
}

/// Puts the values behind the region.
fn join(header: &Header, dribbles: &[Dribble]) -> Option<Vec<u8>> {
    let mut index = header.index_bytes().to_vec();
    let mut data = header.data_bytes().to_vec();
    for dribble in dribbles {
        let width = match dribble.kind {
            Type::Int16 => 2,
            Type::Int32 => 4,
            Type::Int64 => 8,
            _ => 1,
        };
        data.resize(data.len().checked_next_multiple_of(width)?, 0);
        let offset = u32::try_from(data.len()).ok()?;
        let count = u32::try_from(dribble.count).ok()?;
        for word in [dribble.tag.0, dribble.kind.number(), offset, count] {
            index.extend_from_slice(&word.to_be_bytes());
        }
        data.extend_from_slice(&dribble.bytes);
    }
    let entries = u32::try_from(header.entry_count().checked_add(dribbles.len())?).ok()?;
    let size = u32::try_from(data.len()).ok()?;
    Some([&entries.to_be_bytes(), &size.to_be_bytes(), index.as_slice(), &data].concat())
}
