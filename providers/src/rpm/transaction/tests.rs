use super::*;
use crate::rpm::scripts::Phase;

fn run(interpreter: &str, body: Option<&str>) -> Action {
    Action::Script(Run {
        package: "p-1-1.noarch".into(),
        kind: Kind::Scriptlet(Phase::Post),
        interpreter: vec![interpreter.into()],
        body: body.map(|body| body.as_bytes().into()),
        expand: false,
        query: false,
        arguments: vec![1],
        input: Vec::new(),
        prefixes: Vec::new(),
        is_critical: false,
    })
}

#[test]
fn ldconfig_runs_once_for_those_who_look() {
    let ldconfig = || run("/sbin/ldconfig", None);
    let lay = |package| Action::Lay { package };
    let shell = || run("/bin/sh", Some("/usr/sbin/useradd x\n"));
    let in_shell = || run("/bin/sh", Some("# links\n/sbin/ldconfig\n"));
    let lua = |body| run("<lua>", Some(body));
    let actions = vec![
        lay(0),
        ldconfig(),
        lay(1),
        in_shell(),
        lua("posix.mkdir('/x')"),
        lay(2),
        ldconfig(),
        lay(3),
        shell(),
        ldconfig(),
        lua("posix.exec('/bin/true')"),
        lay(4),
        ldconfig(),
        run("/bin/sh", Some("/sbin/ldconfig -X\n")),
        ldconfig(),
    ];
    let kept = coalesce_ldconfig(actions);
    let expected = vec![
        lay(0),
        lay(1),
        lua("posix.mkdir('/x')"),
        lay(2),
        ldconfig(),
        lay(3),
        shell(),
        ldconfig(),
        lua("posix.exec('/bin/true')"),
        lay(4),
        ldconfig(),
        run("/bin/sh", Some("/sbin/ldconfig -X\n")),
        ldconfig(),
    ];
    assert_eq!(kept, expected);
    assert_eq!(coalesce_ldconfig(expected.clone()), expected);
}

#[test]
fn a_run_tells_its_command_and_whose_it_is() {
    let Action::Script(script) = run("/bin/sh", Some("true")) else { unreachable!() };
    assert_eq!(script.command("/var/tmp/x"), ["/bin/sh", "/var/tmp/x", "1"]);
    assert_eq!(script.to_string(), "%post of p-1-1.noarch");
    let Action::Script(program) = run("/sbin/ldconfig", None) else { unreachable!() };
    assert_eq!(program.command("/var/tmp/x"), ["/sbin/ldconfig"]);
}
