"""dnf's own choice for many requests, in one process.

Reads a JSON list of requests from standard input: repositories as primary.xml texts with
priorities, what to install, what to exclude, and whether weak dependencies are taken. Writes one
JSON line for each: the chosen packages, or the complaint.
"""

import json
import os
import sys
import tempfile

import dnf
import dnf.goal
import dnf.sack
import hawkey

REPOMD = '<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{}</revision></repomd>'


def answer(base, request, root, number):
    place = os.path.join(root, str(number))
    os.mkdir(place)
    sack = dnf.sack.Sack(arch="x86_64", cachedir=place, make_cache_dir=True)
    for at, repository in enumerate(request["repositories"]):
        repo = hawkey.Repo("r%d" % at)
        primary = os.path.join(place, "primary%d.xml" % at)
        repomd = os.path.join(place, "repomd%d.xml" % at)
        with open(primary, "w") as file:
            file.write(repository["primary"])
        with open(repomd, "w") as file:
            file.write(REPOMD.format(number * 1000 + at))
        repo.repomd_fn = repomd
        repo.primary_fn = primary
        repo.priority = repository["priority"]
        sack.load_repo(repo, load_filelists=False, load_presto=False, load_updateinfo=False)
    # An image holds one architecture; dnf would take other machines' packages, too.
    sack.add_excludes(sack.query().filter(arch__neq=["x86_64", "noarch"]))
    for name in request["remove"]:
        sack.add_excludes(sack.query().filter(name__glob=name))
    base._sack = sack
    base._goal = goal = dnf.goal.Goal(sack)
    base.conf.install_weak_deps = request["recommends"]
    for spec in request["install"]:
        try:
            base.install(spec)
        except dnf.exceptions.Error as error:
            return {"error": "find %s: %s" % (spec, error)}
    found = goal.run(ignore_weak_deps=not request["recommends"])
    if not found:
        return {"error": str(goal.problem_rules() if hasattr(goal, "problem_rules") else "no solution")}
    return {"chosen": sorted(str(package) for package in goal.list_installs() + goal.list_upgrades())}


def main():
    requests = json.load(sys.stdin)
    base = dnf.Base()
    base.conf.best = False
    base.conf.substitutions["releasever"] = "3"
    with tempfile.TemporaryDirectory() as root:
        for number, request in enumerate(requests):
            print(json.dumps(answer(base, request, root, number)), flush=True)


main()
