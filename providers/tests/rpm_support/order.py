"""rpm's own order for many sets of packages, in one process.

Reads a JSON list of sets from standard input: packages with name, version, release, and every kind of
dependency as [name, flags, version]. Writes one JSON list of names for each.
"""

import json
import os
import sys
import tempfile

import rpm


def header(package):
    header = rpm.hdr()
    header[rpm.RPMTAG_NAME] = package["name"]
    header[rpm.RPMTAG_VERSION] = package["version"]
    header[rpm.RPMTAG_RELEASE] = package["release"]
    header[rpm.RPMTAG_ARCH] = "noarch"
    header[rpm.RPMTAG_OS] = "linux"
    # What has none is a source package, which provides nothing.
    header[rpm.RPMTAG_SOURCERPM] = "source.src.rpm"
    for kind in ("PROVIDE", "REQUIRE", "RECOMMEND", "SUGGEST", "SUPPLEMENT", "ENHANCE"):
        entries = package[kind.lower()]
        if entries:
            header[getattr(rpm, "RPMTAG_%sNAME" % kind)] = [entry[0] for entry in entries]
            header[getattr(rpm, "RPMTAG_%sFLAGS" % kind)] = [entry[1] for entry in entries]
            header[getattr(rpm, "RPMTAG_%sVERSION" % kind)] = [entry[2] for entry in entries]
    return header


def main():
    with tempfile.TemporaryDirectory() as root:
        rpm.addMacro("_dbpath", os.path.join(root, "db"))
        for packages in json.load(sys.stdin):
            ts = rpm.TransactionSet(root)
            ts.setVSFlags(-1)
            for package in packages:
                ts.addInstall(header(package), package["name"], "i")
            ts.order()
            print(json.dumps([element.N() for element in ts]), flush=True)


main()
