//! One table of choices for both families: what the notions that deb and rpm share mean is the
//! same in both.

mod rpm_support;

use std::collections::BTreeSet;

use providers::deb::solve as deb;
use providers::rpm::solve as rpm;

/// One question: packages as `name version; needs: a, b|c, d>=2; provides: x=1; conflicts: y;
/// recommends: z; suggests: w`, what is asked for, what must not be there, and the answer, sorted;
/// `-` where there is none.
struct Case {
    title: &'static str,
    packages: &'static [&'static str],
    install: &'static str,
    remove: &'static str,
    answer: &'static str,
}

const fn case(
    title: &'static str,
    packages: &'static [&'static str],
    install: &'static str,
    remove: &'static str,
    answer: &'static str,
) -> Case {
    Case { title, packages, install, remove, answer }
}

const CASES: &[Case] = &[
    case("a name", &["a 1", "b 1"], "a", "", "a=1"),
    case("a name that nothing has", &["a 1"], "b", "", "-"),
    case("the newest version", &["a 1", "a 10", "a 9"], "a", "", "a=10"),
    case("a certain version", &["a 1", "a 2"], "a=1", "", "a=1"),
    case("a version that nothing has", &["a 1"], "a=2", "", "-"),
    case("before a release", &["a 1~rc1", "a 1"], "a", "", "a=1"),
    case("an epoch", &["a 1:1", "a 2"], "a", "", "a=1:1"),
    case("a chain of needs", &["a 1; needs: b", "b 1; needs: c", "c 1", "d 1"], "a", "", "a=1 b=1 c=1"),
    case("a circle of needs", &["a 1; needs: b", "b 1; needs: a"], "b", "", "a=1 b=1"),
    case("a need that nothing answers", &["a 1; needs: b"], "a", "", "-"),
    case("a need far away that nothing answers", &["a 1; needs: b", "b 1; needs: c"], "a", "", "-"),
    case("a need for a version", &["a 1; needs: b>=2", "b 1", "b 2"], "a", "", "a=1 b=2"),
    case("a need for an older version", &["a 1; needs: b<2", "b 1", "b 2"], "a", "", "a=1 b=1"),
    case("a need for exactly one version", &["a 1; needs: b=2", "b 1", "b 2", "b 3"], "a", "", "a=1 b=2"),
    case("a need for a version that nothing has", &["a 1; needs: b>=3", "b 1", "b 2"], "a", "", "-"),
    case("two needs for one version", &["a 1; needs: b>=2, b<3", "b 1", "b 2", "b 3"], "a", "", "a=1 b=2"),
    case("needs for two versions", &["a 1; needs: b=1, b=2", "b 1", "b 2"], "a", "", "-"),
    case("wishes that need two versions", &["a 1; needs: c=1", "b 1; needs: c=2", "c 1", "c 2"], "a b", "", "-"),
    case(
        "an older version for another wish",
        &["a 1; needs: c", "b 1; needs: c<2", "c 1", "c 2"],
        "b a",
        "",
        "a=1 b=1 c=1",
    ),
    case("a provided name", &["a 1; needs: v", "b 1; provides: v"], "a", "", "a=1 b=1"),
    case("a provided name as a wish", &["b 1; provides: v"], "v", "", "b=1"),
    case("a provided version", &["a 1; needs: v>=2", "b 1; provides: v=1", "c 1; provides: v=2"], "a", "", "a=1 c=1"),
    case(
        "who is there already answers",
        &["a 1; needs: v", "x 1; provides: v", "y 1; provides: v"],
        "y a",
        "",
        "a=1 y=1",
    ),
    case("one of two", &["a 1; needs: b|c", "b 1", "c 1"], "a", "", "a=1 b=1"),
    case("one of two, the other is there", &["a 1; needs: b|c", "b 1", "c 1"], "c a", "", "a=1 c=1"),
    case("one of two, only the other is", &["a 1; needs: b|c", "c 1"], "a", "", "a=1 c=1"),
    case("one of two, in a version", &["a 1; needs: b>=2|c", "b 1", "c 1"], "a", "", "a=1 c=1"),
    case("neither of two", &["a 1; needs: b|c"], "a", "", "-"),
    case("a conflict", &["a 1; conflicts: b", "b 1"], "a b", "", "-"),
    case("a conflict the other way", &["a 1; conflicts: b", "b 1"], "b a", "", "-"),
    case("a conflict that does not concern", &["a 1; conflicts: b", "b 1"], "a", "", "a=1"),
    case("a conflict with another version", &["a 1; conflicts: b<2", "b 2"], "a b", "", "a=1 b=2"),
    case("a conflict with a version", &["a 1; conflicts: b<2", "b 1"], "a b", "", "-"),
    case("a conflict with what it provides itself", &["a 1; provides: v; conflicts: v"], "a", "", "a=1"),
    case(
        "a conflict between those who provide the same",
        &["a 1; provides: v; conflicts: v", "b 1; provides: v; conflicts: v"],
        "a b",
        "",
        "-",
    ),
    case("a conflict far away", &["a 1; needs: x", "b 1; needs: y", "x 1; conflicts: y", "y 1"], "a b", "", "-"),
    case(
        "a conflict that leaves another way",
        &["a 1; needs: m|n", "m 1; conflicts: k", "n 1", "b 1; needs: k", "k 1"],
        "a b",
        "",
        "a=1 b=1 k=1 n=1",
    ),
    case(
        "a conflict behind a choice",
        &["a 1; needs: m|n", "m 1; needs: o", "o 1; conflicts: k", "n 1", "k 1"],
        "k a",
        "",
        "a=1 k=1 n=1",
    ),
    case("a recommendation", &["a 1; recommends: b", "b 1; needs: c", "c 1"], "a", "", "a=1 b=1 c=1"),
    case("a recommendation of what is not there", &["a 1; recommends: b"], "a", "", "a=1"),
    case("a recommendation that cannot be had", &["a 1; recommends: b", "b 1; needs: c"], "a", "", "a=1"),
    case("a recommendation that conflicts", &["a 1; recommends: b", "b 1; conflicts: c", "c 1"], "c a", "", "a=1 c=1"),
    case("a suggestion", &["a 1; suggests: b", "b 1"], "a", "", "a=1"),
    case("what must not be there", &["a 1; needs: b", "b 1"], "a", "b", "-"),
    case("a recommendation that must not be there", &["a 1; recommends: b", "b 1"], "a", "b", "a=1"),
    case("another way around what must not be there", &["a 1; needs: b|c", "b 1", "c 1"], "a", "b", "a=1 c=1"),
    case("both wanted and not", &["a 1"], "a", "a", "-"),
];

/// `name`, an operator without spaces, and a version.
fn split(text: &str) -> (&str, Option<(&str, &str)>) {
    let Some(start) = text.find(['<', '>', '=']) else { return (text, None) };
    let (name, rest) = text.split_at(start);
    let end = rest.find(|c| !"<>=".contains(c)).unwrap();
    (name, Some(rest.split_at(end)))
}

fn fields(line: &str) -> (&str, Vec<(&str, Vec<&str>)>) {
    let mut parts = line.split(';');
    let head = parts.next().unwrap().trim();
    let fields = parts.map(|part| {
        let (field, values) = part.trim().split_once(": ").unwrap();
        (field, values.split(", ").collect())
    });
    (head, fields.collect())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn deb_answer(case: &Case) -> String {
    let alternative = |text: &str| match split(text) {
        (name, None) => name.to_owned(),
        (name, Some((operator, version))) => {
            let operator = match operator {
                "<" => "<<",
                ">" => ">>",
                operator => operator,
            };
            format!("{name} ({operator} {version})")
        }
    };
    let relation = |text: &str| text.split('|').map(alternative).collect::<Vec<_>>().join(" | ");
    let mut text = String::new();
    for line in case.packages {
        let (head, fields) = fields(line);
        let (name, version) = head.split_once(' ').unwrap();
        text.push_str(&format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n"));
        for (field, values) in fields {
            let field = match field {
                "needs" => "Depends",
                "provides" => "Provides",
                "conflicts" => "Conflicts",
                "recommends" => "Recommends",
                "suggests" => "Suggests",
                other => panic!("{other}"),
            };
            let values: Vec<String> = values.into_iter().map(relation).collect();
            text.push_str(&format!("{field}: {}\n", values.join(", ")));
        }
        text.push('\n');
    }
    let index = deb::Index { repository: deb::RepositoryRef::new("test"), text: text.into_bytes() };
    let universe = deb::Universe::from_indexes(vec![index], "amd64", &deb::Options::default()).unwrap();
    let request = deb::Request {
        variant: deb::Variant::Custom,
        install: words(case.install)
            .iter()
            .map(|text| deb::Wish::parse(text, deb::Origin::Requested).unwrap())
            .collect(),
        remove: words(case.remove),
        recommends: true,
    };
    let Ok(solution) = deb::solve(&universe, &request) else { return "-".to_owned() };
    let shown = solution
        .packages
        .iter()
        .map(|chosen| format!("{}={}", universe.name(chosen.package), universe.version(chosen.package)));
    shown.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

fn rpm_answer(case: &Case) -> String {
    let alternative = |text: &str| match split(text) {
        (name, None) => name.to_owned(),
        (name, Some((operator, version))) => format!("{name} {operator} {version}"),
    };
    let relation = |text: &str| match text.contains('|') {
        true => format!("({})", text.split('|').map(alternative).collect::<Vec<_>>().join(" or ")),
        false => alternative(text),
    };
    let mut text = String::new();
    for line in case.packages {
        let (head, fields) = fields(line);
        text.push_str(head);
        for (field, values) in fields {
            let field = match field {
                "needs" => "Requires",
                "provides" => "Provides",
                "conflicts" => "Conflicts",
                "recommends" => "Recommends",
                "suggests" => "Suggests",
                other => panic!("{other}"),
            };
            let values: Vec<String> = values.into_iter().map(relation).collect();
            text.push_str(&format!("; {field}: {}", values.join(", ")));
        }
        text.push('\n');
    }
    let source = rpm::Source::new(rpm::RepositoryRef::new("test"), rpm_support::packages(&text));
    let universe = rpm::Universe::new(vec![source], "x86_64");
    let request = rpm::Request {
        install: words(case.install)
            .iter()
            .map(|text| rpm::Wish::parse(text, rpm::Origin::Requested).unwrap())
            .collect(),
        remove: words(case.remove),
        recommends: true,
    };
    let Ok(solution) = rpm::solve(&universe, &request) else { return "-".to_owned() };
    let shown = solution.packages.iter().map(|chosen| {
        let evr = universe.evr(chosen.package).to_string();
        format!("{}={}", universe.name(chosen.package), evr.trim_end_matches("-1"))
    });
    shown.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

fn wrong(answer: impl Fn(&Case) -> String) -> Vec<String> {
    let differing = CASES.iter().filter(|case| answer(case) != case.answer);
    differing.map(|case| format!("{}: {} and not {}", case.title, answer(case), case.answer)).collect()
}

#[test]
fn deb_chooses_by_the_table() {
    assert_eq!(wrong(deb_answer), Vec::<String>::new());
}

#[test]
fn rpm_chooses_by_the_table() {
    assert_eq!(wrong(rpm_answer), Vec::<String>::new());
}

#[test]
fn the_table_objects_to_another_choice() {
    assert!(!wrong(|case| case.install.replace(' ', "=1 ") + "=1").is_empty());
}
