//! What one line asks for (sysusers.d(5)).

use super::range::Range;
use super::text::{id, is_description, is_name, path, shown};
use super::word::{meaning, words};

/// A user with its group, or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: Vec<u8>,
    /// The wanted user id; of a group none.
    pub(super) uid: Option<u32>,
    /// The wanted group id. A user must have it.
    pub(super) gid: Option<u32>,
    /// The group that a user must have.
    pub(super) group: Option<Vec<u8>>,
    /// The file whose owner the ids are.
    pub(super) path: Option<Vec<u8>>,
    pub(super) description: Option<Vec<u8>>,
    pub(super) home: Option<Vec<u8>>,
    pub(super) shell: Option<Vec<u8>>,
    /// The account has expired from its first day (`u!`).
    pub(super) is_locked: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    User(Item),
    Group(Item),
    Member { user: Vec<u8>, group: Vec<u8> },
    Range(Range),
}

/// Reads a line that is neither empty nor a comment.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Line, String> {
    let [action, name, id, description, home, shell] = words::<6>(line)?.ok_or("there are more than six fields")?;
    let (kind, is_locked) = match action.as_slice() {
        [kind] => (*kind, false),
        [kind, b'!'] => (*kind, true),
        [] => return Err("it has no type".into()),
        _ => return Err(format!("the type {} is not known", shown(&action))),
    };
    if !b"ugmr".contains(&kind) {
        return Err(format!("the type {} is not known", shown(&action)));
    }
    let name = checked(meaning(&name)?, is_name, "a name of users and groups")?;
    let id = meaning(&id)?;
    let description = checked(meaning(&description)?, is_description, "a description")?;
    let home = place(meaning(&home)?, "a home directory")?;
    let shell = place(meaning(&shell)?, "a shell")?;
    if kind != b'u' && (is_locked || description.is_some() || home.is_some() || shell.is_some()) {
        return Err("only a user ('u') has a lock, a description, a home directory and a shell".into());
    }
    let item = |name| Item { name, description, home, shell, is_locked, ..Item::default() };
    match (kind, name) {
        (b'r', Some(_)) => Err("a range ('r') has no name".into()),
        (b'r', None) => {
            let text = id.ok_or("a range ('r') needs its numbers in the third field")?;
            Range::parse(&text).map(Line::Range).ok_or_else(|| format!("{} is no range of ids", shown(&text)))
        }
        (_, None) => Err("there is no name in the second field".into()),
        (b'm', Some(user)) => {
            let group = checked(id, is_name, "a name of users and groups")?;
            Ok(Line::Member { user, group: group.ok_or("there is no group in the third field")? })
        }
        (b'g', Some(name)) => group_of(item(name), id.as_deref()).map(Line::Group),
        (_, Some(name)) => user_of(item(name), id.as_deref()).map(Line::User),
    }
}

fn checked(field: Option<Vec<u8>>, is: fn(&[u8]) -> bool, what: &str) -> Result<Option<Vec<u8>>, String> {
    match field {
        Some(text) if !is(&text) => Err(format!("{} cannot be {what}", shown(&text))),
        field => Ok(field),
    }
}

fn place(field: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>, String> {
    field.map(|text| path(&text).ok_or_else(|| format!("{} cannot be {what}", shown(&text)))).transpose()
}

fn number(text: &[u8]) -> Result<u32, String> {
    id(text).ok_or_else(|| format!("{} is no id", shown(text)))
}

fn group_of(mut group: Item, id: Option<&[u8]>) -> Result<Item, String> {
    match id {
        None => {}
        Some(file) if file.starts_with(b"/") => group.path = Some(file.into()),
        Some(text) => group.gid = Some(number(text)?),
    }
    Ok(group)
}

fn user_of(mut user: Item, id: Option<&[u8]>) -> Result<Item, String> {
    let Some(text) = id else { return Ok(user) };
    if text.starts_with(b"/") {
        user.path = Some(text.into());
        return Ok(user);
    }
    let colon = text.iter().position(|byte| *byte == b':');
    let (uid, group) = match colon.map(|at| text.split_at(at)) {
        Some((uid, group)) => (uid, group.get(1..)),
        None => (text, None),
    };
    if let Some(group) = group {
        match number(group) {
            Ok(gid) => user.gid = Some(gid),
            Err(_) if is_name(group) => user.group = Some(group.into()),
            Err(problem) => return Err(problem),
        }
    }
    if uid != b"-" {
        user.uid = Some(number(uid)?);
    }
    Ok(user)
}
