//! What a package wants to be run: scriptlets, triggers and file triggers, as data
//! (rpm, docs/manual/scriptlets.md, triggers.md, file_triggers.md). Nothing here runs them, and macros
//! and queries in them are not expanded.

use super::file::{comparison, evr};
use super::header::{Header, Malformed, Tag, tag};
use super::{Comparison, Evr};

/// Most scripts of one kind, and most conditions.
const COUNT_MAX: usize = 10_000;
/// Priority of a file trigger that states none (rpm, build/parseScript.c,
/// `RPMTRIGGER_DEFAULT_PRIORITY`).
pub const DEFAULT_PRIORITY: u32 = 1_000_000;
/// Flag bits of trigger conditions (rpm, include/rpm/rpmds.h, `rpmsenseFlags_e`).
const TRIGGER_IN: u32 = 1 << 16;
const TRIGGER_UN: u32 = 1 << 17;
const TRIGGER_POSTUN: u32 = 1 << 18;
const TRIGGER_PREIN: u32 = 1 << 25;

/// When a scriptlet runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// `%pretrans`: before anything of the transaction.
    PreTrans,
    /// `%pre`: before the package's files.
    Pre,
    /// `%post`: after the package's files.
    Post,
    /// `%posttrans`: after everything of the transaction.
    PostTrans,
    /// `%preuntrans`: before a transaction that removes the package.
    PreUnTrans,
    /// `%preun`: before the package's files go.
    PreUn,
    /// `%postun`: after the package's files went.
    PostUn,
    /// `%postuntrans`: after a transaction that removed the package.
    PostUnTrans,
    /// `%verifyscript`: by `rpm -V`.
    Verify,
}

impl Phase {
    const ALL: [(Self, Tag, Tag, Tag); 9] = [
        (Self::PreTrans, tag::PRETRANS, tag::PRETRANSPROG, tag::PRETRANSFLAGS),
        (Self::Pre, tag::PREIN, tag::PREINPROG, tag::PREINFLAGS),
        (Self::Post, tag::POSTIN, tag::POSTINPROG, tag::POSTINFLAGS),
        (Self::PostTrans, tag::POSTTRANS, tag::POSTTRANSPROG, tag::POSTTRANSFLAGS),
        (Self::PreUnTrans, tag::PREUNTRANS, tag::PREUNTRANSPROG, tag::PREUNTRANSFLAGS),
        (Self::PreUn, tag::PREUN, tag::PREUNPROG, tag::PREUNFLAGS),
        (Self::PostUn, tag::POSTUN, tag::POSTUNPROG, tag::POSTUNFLAGS),
        (Self::PostUnTrans, tag::POSTUNTRANS, tag::POSTUNTRANSPROG, tag::POSTUNTRANSFLAGS),
        (Self::Verify, tag::VERIFYSCRIPT, tag::VERIFYSCRIPTPROG, tag::VERIFYSCRIPTFLAGS),
    ];

    /// Its name in a spec file.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreTrans => "%pretrans",
            Self::Pre => "%pre",
            Self::Post => "%post",
            Self::PostTrans => "%posttrans",
            Self::PreUnTrans => "%preuntrans",
            Self::PreUn => "%preun",
            Self::PostUn => "%postun",
            Self::PostUnTrans => "%postuntrans",
            Self::Verify => "%verifyscript",
        }
    }

    /// Whether the package is not installed, or not removed, when it fails; elsewhere a failure is
    /// but a warning (scriptlets.md).
    pub fn is_critical(self) -> bool {
        matches!(self, Self::PreTrans | Self::Pre | Self::PreUnTrans | Self::PreUn)
    }
}

/// Something to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The interpreter and its arguments: `/bin/sh`, `<lua>` for the one within rpm, or a program
    /// such as `/sbin/ldconfig`, which has no script. Never empty.
    pub interpreter: Vec<Box<str>>,
    /// The script; `None` where the program runs alone.
    pub script: Option<Box<[u8]>>,
    /// `-e`: rpm expands macros in the script when it runs it.
    pub expand: bool,
    /// `-q`: rpm expands the script as a query of the package's header.
    pub query: bool,
    /// Its failure is to count as that of a critical scriptlet.
    pub critical: bool,
}

impl Program {
    /// Whether it is a script for the interpreter within rpm.
    pub fn is_lua(&self) -> bool {
        self.interpreter.first().is_some_and(|name| &**name == "<lua>")
    }

    fn new(interpreter: Vec<Box<str>>, script: Option<&[u8]>, flags: u32) -> Self {
        let missing = interpreter.first().is_none_or(|name| name.is_empty());
        Self {
            interpreter: if missing { vec!["/bin/sh".into()] } else { interpreter },
            script: script.map(Into::into),
            expand: flags & 1 != 0,
            query: flags & 1 << 1 != 0,
            critical: flags & 1 << 2 != 0,
        }
    }
}

/// A script of a package that runs for the package itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scriptlet {
    /// When it runs.
    pub phase: Phase,
    /// What runs.
    pub program: Program,
}

/// When a trigger runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Event {
    /// `%triggerprein`: before the other package's files.
    PreIn,
    /// `%triggerin`, `%filetriggerin`, `%transfiletriggerin`: when the other is there, or its files.
    In,
    /// `%triggerun` and its like: before the other goes, or its files.
    Un,
    /// `%triggerpostun` and its like: when the other has gone, or its files.
    PostUn,
}

impl Event {
    fn of(flags: u32) -> Option<Self> {
        match flags & (TRIGGER_IN | TRIGGER_UN | TRIGGER_POSTUN | TRIGGER_PREIN) {
            TRIGGER_PREIN => Some(Self::PreIn),
            TRIGGER_IN => Some(Self::In),
            TRIGGER_UN => Some(Self::Un),
            TRIGGER_POSTUN => Some(Self::PostUn),
            _ => None,
        }
    }
}

/// The package that a trigger waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Its name.
    pub name: Box<str>,
    /// Its versions; all when absent.
    pub versions: Option<(Comparison, Evr)>,
}

/// A script of a package that runs for another package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// When it runs.
    pub event: Event,
    /// For which packages: any of them.
    pub conditions: Vec<Condition>,
    /// What runs.
    pub program: Program,
}

/// A script of a package that runs for files of any package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileTrigger {
    /// When it runs.
    pub event: Event,
    /// Once per transaction (`%transfiletrigger…`), not once per package.
    pub per_transaction: bool,
    /// What the paths begin with: any of these.
    pub prefixes: Vec<Box<str>>,
    /// Higher ones run first; those from 10,000 on run before the package's own scriptlets
    /// (file_triggers.md).
    pub priority: u32,
    /// What runs.
    pub program: Program,
}

/// Everything that a package wants to be run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scripts {
    /// By phase, at most one each.
    pub scriptlets: Vec<Scriptlet>,
    /// In the header's order.
    pub triggers: Vec<Trigger>,
    /// In the header's order, those of packages first.
    pub file_triggers: Vec<FileTrigger>,
}

/// The tags of one kind of trigger.
struct Tags {
    scripts: Tag,
    programs: Tag,
    flags: Tag,
    names: Tag,
    versions: Tag,
    senses: Tag,
    indexes: Tag,
    priorities: Option<Tag>,
}

const TRIGGERS: Tags = Tags {
    scripts: tag::TRIGGERSCRIPTS,
    programs: tag::TRIGGERSCRIPTPROG,
    flags: tag::TRIGGERSCRIPTFLAGS,
    names: tag::TRIGGERNAME,
    versions: tag::TRIGGERVERSION,
    senses: tag::TRIGGERFLAGS,
    indexes: tag::TRIGGERINDEX,
    priorities: None,
};
const FILE_TRIGGERS: Tags = Tags {
    scripts: tag::FILETRIGGERSCRIPTS,
    programs: tag::FILETRIGGERSCRIPTPROG,
    flags: tag::FILETRIGGERSCRIPTFLAGS,
    names: tag::FILETRIGGERNAME,
    versions: tag::FILETRIGGERVERSION,
    senses: tag::FILETRIGGERFLAGS,
    indexes: tag::FILETRIGGERINDEX,
    priorities: Some(tag::FILETRIGGERPRIORITIES),
};
const TRANSACTION_FILE_TRIGGERS: Tags = Tags {
    scripts: tag::TRANSFILETRIGGERSCRIPTS,
    programs: tag::TRANSFILETRIGGERSCRIPTPROG,
    flags: tag::TRANSFILETRIGGERSCRIPTFLAGS,
    names: tag::TRANSFILETRIGGERNAME,
    versions: tag::TRANSFILETRIGGERVERSION,
    senses: tag::TRANSFILETRIGGERFLAGS,
    indexes: tag::TRANSFILETRIGGERINDEX,
    priorities: Some(tag::TRANSFILETRIGGERPRIORITIES),
};

impl Scripts {
    /// Reads them from a package's main header.
    ///
    /// # Errors
    /// Lists of unequal length, conditions of no script.
    pub fn read(header: &Header) -> Result<Self, Malformed> {
        let scriptlets = Phase::ALL.iter().filter_map(|&(phase, script, program, flags)| {
            let script = header.string_bytes(script);
            let interpreter: Vec<Box<str>> =
                header.strings(program).unwrap_or_default().into_iter().map(Into::into).collect();
            let runs = script.is_some() || !interpreter.is_empty();
            let program = || Program::new(interpreter, script, header.u32(flags).unwrap_or(0));
            runs.then(|| Scriptlet { phase, program: program() })
        });
        let scriptlets = scriptlets.collect();
        let triggers = read_triggers(header, &TRIGGERS)?;
        let triggers = triggers.into_iter().map(|raw| Trigger {
            event: raw.event,
            conditions: raw.conditions,
            program: raw.program,
        });
        let mut file_triggers = Vec::new();
        for (tags, per_transaction) in [(&FILE_TRIGGERS, false), (&TRANSACTION_FILE_TRIGGERS, true)] {
            file_triggers.extend(read_triggers(header, tags)?.into_iter().map(|raw| FileTrigger {
                event: raw.event,
                per_transaction,
                prefixes: raw.conditions.into_iter().map(|condition| condition.name).collect(),
                priority: raw.priority,
                program: raw.program,
            }));
        }
        Ok(Self { scriptlets, triggers: triggers.collect(), file_triggers })
    }

    /// The scriptlet of a phase.
    pub fn scriptlet(&self, phase: Phase) -> Option<&Program> {
        self.scriptlets.iter().find(|scriptlet| scriptlet.phase == phase).map(|scriptlet| &scriptlet.program)
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.scriptlets.is_empty() && self.triggers.is_empty() && self.file_triggers.is_empty()
    }
}

/// A trigger of any kind.
struct Raw {
    event: Event,
    conditions: Vec<Condition>,
    priority: u32,
    program: Program,
}

fn read_triggers(header: &Header, tags: &Tags) -> Result<Vec<Raw>, Malformed> {
    let counts = [tags.scripts, tags.names].map(|tag| header.count(tag));
    if counts.iter().any(|count| *count > COUNT_MAX) {
        return Err(Malformed { reason: "it has more triggers than any package".into() });
    }
    let [scripts, conditions] = counts;
    let equal = |tag: Tag, needed: bool, count: usize| header.count(tag) == count || !needed && !header.has(tag);
    let sound = equal(tags.programs, true, scripts)
        && equal(tags.flags, false, scripts)
        && tags.priorities.is_none_or(|tag| equal(tag, false, scripts))
        && [tags.versions, tags.senses, tags.indexes].iter().all(|tag| equal(*tag, true, conditions));
    if !sound {
        return Err(Malformed {
            reason: format!("its triggers (tag {}) have lists of unequal length", tags.scripts.0),
        });
    }
    let text = |bytes: &[u8]| -> Box<str> { std::str::from_utf8(bytes).unwrap_or_default().into() };
    let mut by_script: Vec<Vec<(Condition, Option<Event>)>> = vec![Vec::new(); scripts];
    let names = header.string_list(tags.names).into_iter().flatten();
    let versions = header.string_list(tags.versions).into_iter().flatten();
    let senses = header.u32_list(tags.senses).into_iter().flatten();
    let indexes = header.u32_list(tags.indexes).into_iter().flatten();
    for (((name, version), sense), index) in names.zip(versions).zip(senses).zip(indexes) {
        let script = usize::try_from(index).ok().and_then(|index| by_script.get_mut(index));
        let script = script.ok_or_else(|| Malformed { reason: "it has a trigger without a script".into() })?;
        let version = text(version);
        let versions = comparison(sense).filter(|_| !version.is_empty()).map(|kind| (kind, evr(&version)));
        script.push((Condition { name: text(name), versions }, Event::of(sense)));
    }
    let mut programs = header.string_list(tags.programs).into_iter().flatten();
    let mut bodies = header.string_list(tags.scripts).into_iter().flatten();
    let mut flags = header.u32_list(tags.flags).into_iter().flatten();
    let mut priorities = tags.priorities.and_then(|tag| header.u32_list(tag)).into_iter().flatten();
    let mut triggers = Vec::new();
    for found in by_script {
        let program = programs.next().map(text).into_iter().collect();
        let body = bodies.next().filter(|body| !body.is_empty());
        let program = Program::new(program, body, flags.next().unwrap_or(0));
        // rpmbuild drops a condition that the package states twice, and leaves the script, which then
        // never runs.
        let event = found.first().map_or(Some(Event::In), |(_, event)| *event);
        let event = event.filter(|event| found.iter().all(|(_, other)| *other == Some(*event)));
        let event = event.ok_or_else(|| Malformed { reason: "it has a trigger for no event".into() })?;
        let conditions = found.into_iter().map(|(condition, _)| condition).collect();
        let priority = priorities.next().unwrap_or(DEFAULT_PRIORITY);
        triggers.push(Raw { event, conditions, priority, program });
    }
    Ok(triggers)
}
