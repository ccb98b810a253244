//! Lines of the account files, read and written as the C library does it (passwd(5), group(5),
//! shadow(5), gshadow(5); glibc, pwd/putpwent.c and its like).

use super::field::{Fields, list};

/// A line of one of the files.
pub(super) trait Entry: Sized {
    /// Reads a line; `None` for what is no entry, which the C library passes over.
    fn parse(line: &[u8]) -> Option<Self>;

    fn name(&self) -> &[u8];

    /// The line, without its end; `None` if its fields cannot be written in this form.
    fn line(&self) -> Option<Vec<u8>>;

    /// Whether it is an instruction for NIS; these come last.
    fn is_compat(&self) -> bool {
        is_compat(self.name())
    }
}

fn is_compat(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'+' | b'-'))
}

/// Fields with colons between them; `None` if a field has one, or one that is a list's has a comma.
fn joined(fields: &[&[u8]], lists: &[&[Vec<u8>]]) -> Option<Vec<u8>> {
    let is_whole = |field: &[u8]| !field.contains(&b':');
    let is_member = |field: &Vec<u8>| is_whole(field) && !field.contains(&b',');
    if !fields.iter().all(|field| is_whole(field)) || !lists.iter().all(|list| list.iter().all(is_member)) {
        return None;
    }
    let lists = lists.iter().map(|list| list.join(&b','));
    let fields: Vec<Vec<u8>> = fields.iter().map(|field| field.to_vec()).chain(lists).collect();
    Some(fields.join(&b':'))
}

/// passwd(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passwd {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) description: Vec<u8>,
    pub(super) home: Vec<u8>,
    pub(super) shell: Vec<u8>,
}

impl Entry for Passwd {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(line);
        let name = fields.text();
        let is_bare = fields.is_empty() && is_compat(&name);
        let password = fields.text();
        let mut id = || match (is_bare, is_compat(&name)) {
            (true, _) => Some(0),
            (false, true) => fields.number_or(0),
            (false, false) => fields.number(),
        };
        let (uid, gid) = (id()?, id()?);
        let (description, home) = (fields.text(), fields.text());
        Some(Self { name, password, uid, gid, description, home, shell: fields.remainder().into() })
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn line(&self) -> Option<Vec<u8>> {
        let number = |id: u32| if self.is_compat() { Vec::new() } else { id.to_string().into_bytes() };
        let (uid, gid) = (number(self.uid), number(self.gid));
        joined(&[&self.name, &self.password, &uid, &gid, &self.description, &self.home, &self.shell], &[])
    }
}

/// group(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
    pub(super) gid: u32,
    pub(super) members: Vec<Vec<u8>>,
}

impl Entry for Group {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(line);
        let name = fields.text();
        let is_bare = fields.is_empty() && is_compat(&name);
        let password = fields.text();
        let gid = match (is_bare, is_compat(&name)) {
            (true, _) => 0,
            (false, true) => fields.number_or(0)?,
            (false, false) => fields.number()?,
        };
        Some(Self { name, password, gid, members: list(fields.remainder()) })
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn line(&self) -> Option<Vec<u8>> {
        let gid = if self.is_compat() { Vec::new() } else { self.gid.to_string().into_bytes() };
        joined(&[&self.name, &self.password, &gid], &[&self.members])
    }
}

/// What stands for no number in shadow(5).
const NONE: u32 = u32::MAX;

/// shadow(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shadow {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
    /// Day of the last change, in days since 1970.
    pub(super) changed: i64,
    /// Least and most days between changes, days of warning and of grace, day of expiry; -1 is none.
    pub(super) days: [i64; 5],
    /// A field without a meaning.
    pub(super) flag: Option<u32>,
}

/// A number as the C library keeps it there: as one with a sign.
fn signed(number: u32) -> i64 {
    i64::from(i32::from_ne_bytes(number.to_ne_bytes()))
}

impl Entry for Shadow {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(line);
        let name = fields.text();
        if fields.is_empty() && is_compat(&name) {
            return Some(Self { name, password: Vec::new(), changed: 0, days: [0, 0, -1, -1, -1], flag: None });
        }
        let password = fields.text();
        let changed = signed(fields.number_or(NONE)?);
        let mut days = [-1; 5];
        let mut flag = None;
        let (ages, rest) = days.split_at_mut(2);
        for day in ages {
            *day = signed(fields.number_or(NONE)?);
        }
        // Old files end here.
        fields.skip_space();
        if !fields.is_empty() {
            for day in rest {
                *day = signed(fields.number_or(NONE)?);
            }
            if !fields.is_empty() {
                flag = Some(fields.number_or(NONE)?).filter(|flag| *flag != NONE);
            }
        }
        fields.is_empty().then_some(Self { name, password, changed, days, flag })
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn line(&self) -> Option<Vec<u8>> {
        let number = |days: i64| if days == -1 { Vec::new() } else { days.to_string().into_bytes() };
        let numbers: Vec<Vec<u8>> = [self.changed].into_iter().chain(self.days).map(number).collect();
        let flag = self.flag.map(|flag| flag.to_string().into_bytes()).unwrap_or_default();
        let texts = [&self.name[..], &self.password[..]];
        let fields: Vec<&[u8]> =
            texts.into_iter().chain(numbers.iter().map(Vec::as_slice)).chain([flag.as_slice()]).collect();
        joined(&fields, &[])
    }
}

/// gshadow(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gshadow {
    pub(super) name: Vec<u8>,
    pub(super) password: Vec<u8>,
    pub(super) administrators: Vec<Vec<u8>>,
    pub(super) members: Vec<Vec<u8>>,
}

impl Entry for Gshadow {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(line);
        let (name, password) = (fields.text(), fields.text());
        let administrators = list(&fields.text());
        Some(Self { name, password, administrators, members: list(fields.remainder()) })
    }

    fn name(&self) -> &[u8] {
        &self.name
    }

    fn line(&self) -> Option<Vec<u8>> {
        joined(&[&self.name, &self.password], &[&self.administrators, &self.members])
    }

    fn is_compat(&self) -> bool {
        false
    }
}
