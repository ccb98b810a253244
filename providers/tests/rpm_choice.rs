//! The choice of packages against dnf's own, on small repositories made for the corners and on
//! random ones.

mod rpm_support;

use std::collections::BTreeSet;

use providers::rpm::solve::{RepositoryRef, Source, Universe, solve};
use rpm_support::{Question, dnf, package, packages};

/// Small repositories with questions. A line `# …` begins a repository with a title, `@ N` another
/// repository of priority N, `? wishes ! removed` asks, `?-` without weak dependencies. Packages
/// count for all questions of their block.
const TABLE: &str = include_str!("rpm_support/choices.txt");

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for block in TABLE.split("\n\n") {
        let mut question = Question::default();
        let mut asked: Vec<(bool, &str)> = Vec::new();
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(title) = line.strip_prefix("# ") {
                question.title = title.to_owned();
            } else if let Some(priority) = line.strip_prefix("@ ") {
                question.repositories.push((priority.parse().unwrap(), Vec::new()));
            } else if let Some(wishes) = line.strip_prefix("?- ") {
                asked.push((false, wishes));
            } else if let Some(wishes) = line.strip_prefix("? ") {
                asked.push((true, wishes));
            } else {
                if question.repositories.is_empty() {
                    question.repositories.push((99, Vec::new()));
                }
                question.repositories.last_mut().unwrap().1.push(package(line));
            }
        }
        for (recommends, wishes) in asked {
            let (install, remove) = wishes.split_once('!').unwrap_or((wishes, ""));
            // A wish for a version is one wish.
            let install = match install.contains(['<', '>']) || install.contains(" = ") {
                true => vec![install.trim().to_owned()],
                false => install.split_whitespace().map(str::to_owned).collect(),
            };
            questions.push(Question {
                title: format!("{}: {wishes}", question.title),
                install,
                remove: remove.split_whitespace().map(str::to_owned).collect(),
                recommends,
                ..question.clone()
            });
        }
    }
    questions
}

fn shown(answer: Result<&BTreeSet<String>, String>) -> String {
    match answer {
        Ok(chosen) => chosen.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
        Err(complaint) => format!("nothing ({complaint})"),
    }
}

/// Compares our answers with dnf's, and says which differ.
fn differences(questions: &[Question]) -> Option<Vec<String>> {
    let theirs = dnf(questions)?;
    let mut wrong = Vec::new();
    for (question, theirs) in questions.iter().zip(theirs) {
        let ours = question.ours();
        let same = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{}:\n    ours: {}\n    dnf's: {}",
                question.title,
                shown(ours.as_ref().map_err(ToString::to_string)),
                shown(theirs.as_ref().map_err(Clone::clone)),
            ));
        }
    }
    Some(wrong)
}

#[test]
fn the_choice_in_the_corners_is_dnfs() {
    let questions = questions();
    assert!(questions.len() >= 100, "{}", questions.len());
    let Some(wrong) = differences(&questions) else { return };
    println!("{} questions compared", questions.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}

#[test]
fn the_referee_objects_to_another_choice() {
    let block = |install: &str| Question {
        title: install.to_owned(),
        repositories: vec![(99, vec![package("a 1; Requires: (b or c)"), package("b 1"), package("c 1")])],
        install: vec![install.to_owned()],
        recommends: true,
        ..Question::default()
    };
    let Some(theirs) = dnf(&[block("a")]) else { return };
    let mut other = block("a");
    other.install.push("c".to_owned());
    assert_ne!(Ok(other.ours().unwrap()), theirs[0]);
    assert_eq!(Ok(block("a").ours().unwrap()), theirs[0]);
}

/// A small generator with a fixed sequence (xorshift64*, Vigna 2016), so that every run sees the
/// same repositories.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let rolled = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(rolled).unwrap() % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

fn capability(dice: &mut Dice, names: usize) -> String {
    let versions = ["", "", "", " >= 2", " = 1", " < 3", " <= 2-1"];
    match dice.roll(if dice.0.is_multiple_of(3) { 6 } else { 5 }) {
        5 => format!("/usr/bin/p{}", dice.roll(names)),
        0 => format!("cap{}{}", dice.roll(6), dice.one(&["", "", " >= 2"])),
        _ => format!("p{}{}", dice.roll(names), dice.one(&versions)),
    }
}

fn relation(dice: &mut Dice, names: usize, operators: &[&str]) -> String {
    match dice.roll(6) {
        0 if !operators.is_empty() => {
            let operator = dice.one(operators);
            let (a, b) = (capability(dice, names), capability(dice, names));
            match (operator, dice.roll(4)) {
                ("if", 0) => format!("({a} if {b} else {})", capability(dice, names)),
                ("or", 0) => format!("({a} or ({b} and {}))", capability(dice, names)),
                ("and", 0) => format!("({a} and ({b} or {}))", capability(dice, names)),
                _ => format!("({a} {operator} {b})"),
            }
        }
        _ => capability(dice, names),
    }
}

fn random(seed: u64) -> Question {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let names = 8 + dice.roll(20);
    random_of(seed, dice, names)
}

fn random_of(seed: u64, mut dice: Dice, names: usize) -> Question {
    let mut repositories = Vec::new();
    for at in 0..1 + dice.roll(2) {
        let mut packages = Vec::new();
        for name in 0..names {
            for version in 1..=1 + dice.roll(3) {
                if dice.roll(8) == 0 {
                    continue;
                }
                let version = match dice.roll(12) {
                    0 => format!("{version}~rc1"),
                    1 => format!("{version}^git2-3"),
                    2 => format!("1:{version}"),
                    _ => version.to_string(),
                };
                let mut line = format!("p{name} {version}{}", dice.one(&["", "", "", "", " noarch"]));
                for (field, chance, operators) in [
                    ("Requires", 2, &["or", "and", "if"][..]),
                    ("Requires", 3, &["or", "with", "if"][..]),
                    ("Provides", 3, &[][..]),
                    ("Conflicts", 14, &["and", "unless"][..]),
                    ("Files", 6, &[][..]),
                    ("Obsoletes", 20, &[][..]),
                    ("Recommends", 4, &["or", "if"][..]),
                    ("Suggests", 6, &[][..]),
                    ("Supplements", 9, &["and", "or"][..]),
                    ("Enhances", 12, &[][..]),
                ] {
                    if dice.roll(chance) != 0 {
                        continue;
                    }
                    let value = match field {
                        "Provides" => format!("cap{}{}", dice.roll(6), dice.one(&["", " = 1", " = 2", " = 3-1"])),
                        "Files" => format!("/usr/bin/p{}", dice.roll(names)),
                        "Obsoletes" => format!("p{}{}", dice.roll(names), dice.one(&["", " < 2", " < 3"])),
                        _ => relation(&mut dice, names, operators),
                    };
                    line.push_str(&format!("; {field}: {value}"));
                }
                packages.push(package(&line));
            }
        }
        repositories.push((if at == 1 && dice.roll(2) == 0 { 50 } else { 99 }, packages));
    }
    let install = (0..1 + dice.roll(4)).map(|_| format!("p{}", dice.roll(names))).collect();
    let recommends = dice.roll(4) != 0;
    Question { title: format!("random {seed}"), repositories, install, remove: Vec::new(), recommends }
}

#[test]
fn the_choice_on_random_repositories_is_dnfs() {
    let count: u64 = std::env::var("RPM_CHOICE_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(150);
    let questions: Vec<Question> = (1..=count).map(random).collect();
    let Some(wrong) = differences(&questions) else { return };
    let solvable = questions.iter().filter(|question| question.ours().is_ok()).count();
    println!("{} repositories compared, {solvable} with an answer", questions.len());
    assert!(solvable * 2 > questions.len(), "too few questions have an answer: {solvable}");
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}

#[test]
fn the_choice_on_large_random_repositories_is_dnfs() {
    let questions: Vec<Question> = (1..=6).map(|seed| random_of(seed, Dice(seed * 77 + 1), 400)).collect();
    let Some(wrong) = differences(&questions) else { return };
    let chosen: Vec<usize> =
        questions.iter().map(|question| question.ours().map_or(0, |chosen| chosen.len())).collect();
    println!("chosen: {chosen:?}");
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}

#[test]
#[ignore = "a question of the random ones, by its number in RPM_CHOICE_SEED, in full"]
fn show_a_random_repository() {
    let seed = std::env::var("RPM_CHOICE_SEED").unwrap().parse().unwrap();
    let question = random(seed);
    for (priority, packages) in &question.repositories {
        println!("@ {priority}");
        for package in packages {
            print!("{} {}", package.name, package.evr);
            let show = |field: &str, list: Vec<String>| {
                if !list.is_empty() {
                    print!("; {field}: {}", list.join(", "));
                }
            };
            show("Requires", package.requires.iter().map(|r| r.relation.to_string()).collect());
            show("Provides", package.provides.iter().skip(1).map(ToString::to_string).collect());
            show("Conflicts", package.conflicts.iter().map(ToString::to_string).collect());
            show("Obsoletes", package.obsoletes.iter().map(ToString::to_string).collect());
            show("Recommends", package.recommends.iter().map(ToString::to_string).collect());
            show("Suggests", package.suggests.iter().map(ToString::to_string).collect());
            show("Supplements", package.supplements.iter().map(ToString::to_string).collect());
            show("Enhances", package.enhances.iter().map(ToString::to_string).collect());
            println!();
        }
    }
    println!("? {:?} recommends={}", question.install, question.recommends);
    println!("{:?}", differences(&[question]));
}

#[test]
#[ignore = "a measurement: run it in release with --nocapture"]
fn how_long_three_hundred_of_ten_thousand_take() {
    let mut lines = String::new();
    for at in 0..10_000usize {
        let mut line =
            format!("package{at} {}.{}; Provides: libp{at}.so.1()(64bit), virtual{} = 2", at % 7, at % 11, at % 500);
        // Needs lead to lower numbers: some 300 packages in all.
        let needs: Vec<String> = (1..=12)
            .map(|step| format!("libp{}.so.1()(64bit)", (at * 31 + step * 977) % (at / 12 + 1)))
            .filter(|name| *name != format!("libp{at}.so.1()(64bit)"))
            .collect();
        line.push_str(&format!("; Requires: {}", [vec!["/bin/sh".to_owned()], needs].concat().join(", ")));
        if at % 5 == 0 {
            line.push_str(&format!("; Recommends: package{}", (at + 17) % 10_000));
        }
        if at % 50 == 0 {
            line.push_str(&format!("; Supplements: package{}", (at + 29) % 10_000));
        }
        if at % 90 == 0 {
            line.push_str(&format!("; Conflicts: virtual{} < 1", at % 500));
        }
        if at == 0 {
            line.push_str("; Files: /bin/sh");
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    let packages = packages(&lines);
    drop(lines);
    let mut question = Question {
        title: "ten thousand".to_owned(),
        install: (0..20).map(|at| format!("package{}", at * 450 + 100)).collect(),
        recommends: true,
        ..Question::default()
    };
    let request = question.request();
    let kept = packages.clone();
    let start = std::time::Instant::now();
    let universe = Universe::new(vec![Source::new(RepositoryRef::new("test"), packages)], "x86_64");
    let indexed = start.elapsed();
    let start = std::time::Instant::now();
    let solution = solve(&universe, &request).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!(
        "{} packages: indexed in {indexed:?}, {} chosen in {:?}; {peak}",
        universe.len(),
        solution.packages.len(),
        start.elapsed(),
    );
    question.repositories.push((99, kept));
    if let Some(wrong) = differences(&[question]) {
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
