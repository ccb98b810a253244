//! All lines together.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::item::{Item, Line, parse};
use super::range::Range;
use super::text::shown;
use super::word::trimmed;

/// Items in their order; of a name the first counts.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Vec<Item>,
    places: BTreeMap<Vec<u8>, usize>,
}

impl Items {
    /// Adds one; returns the one of that name if it is there already.
    fn add(&mut self, item: Item) -> Option<(Item, &Item)> {
        match self.places.get(&item.name) {
            Some(place) => self.items.get(*place).map(|known| (item, known)),
            None => {
                self.places.insert(item.name.clone(), self.items.len());
                self.items.push(item);
                None
            }
        }
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.places.contains_key(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }
}

/// What lines ask for.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) users: Items,
    pub(super) groups: Items,
    pub(super) ranges: Vec<Range>,
    /// What is to be said about the lines.
    pub(super) notes: Vec<String>,
    /// Who is in which group, by place in `member_groups`.
    members: Vec<Vec<Vec<u8>>>,
    member_groups: Vec<Vec<u8>>,
    member_places: BTreeMap<Vec<u8>, usize>,
    known_members: BTreeSet<(usize, Vec<u8>)>,
}

impl Request {
    /// Reads the lines of a source; the first that is wrong is the error.
    pub(super) fn read(&mut self, source: &str, text: &[u8]) -> Result<(), Error> {
        self.read_all(source, text).map_or(Ok(()), Err)
    }

    /// Reads the lines of a source, and what comes after those that are wrong too; returns the first
    /// error.
    pub(super) fn read_all(&mut self, source: &str, text: &[u8]) -> Option<Error> {
        let mut first = None;
        for (number, line) in (1_usize..).zip(text.split(|byte| matches!(byte, b'\n' | b'\0'))) {
            let line = trimmed(line);
            if matches!(line.first(), None | Some(b'#')) {
                continue;
            }
            match parse(line) {
                Ok(line) => self.add(line),
                Err(problem) => {
                    first.get_or_insert(Error::Line { source_name: source.into(), number, problem });
                }
            }
        }
        first
    }

    fn add(&mut self, line: Line) {
        let (known, what) = match line {
            Line::User(item) => (self.users.add(item), "user"),
            Line::Group(item) => (self.groups.add(item), "group"),
            Line::Member { user, group } => return self.add_member(user, group),
            Line::Range(range) => return self.ranges.push(range),
        };
        if let Some((item, known)) = known
            && item != *known
        {
            let name = shown(&item.name);
            self.notes.push(format!("{what} {name} is asked for in two ways, the first counts"));
        }
    }

    fn add_member(&mut self, user: Vec<u8>, group: Vec<u8>) {
        let place = *self.member_places.entry(group).or_insert_with_key(|group| {
            self.members.push(Vec::new());
            self.member_groups.push(group.clone());
            self.members.len().saturating_sub(1)
        });
        if let Some(members) = self.members.get_mut(place)
            && self.known_members.insert((place, user.clone()))
        {
            members.push(user);
        }
    }

    /// Whether any line makes a member.
    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Who is to be in a group.
    pub(super) fn members(&self, group: &[u8]) -> &[Vec<u8>] {
        let place = self.member_places.get(group);
        place.and_then(|place| self.members.get(*place)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Users and groups that only `m` lines name are asked for as well.
    pub(super) fn complete(&mut self) {
        let named = |name: &Vec<u8>| Item { name: name.clone(), ..Item::default() };
        for (group, members) in self.member_groups.iter().zip(&self.members) {
            for member in members {
                self.users.add(named(member));
            }
            if !self.users.has(group) {
                self.groups.add(named(group));
            }
        }
    }
}
