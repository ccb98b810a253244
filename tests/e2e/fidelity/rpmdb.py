"""What rpm's database holds, one thing a line, what it is and its value apart by a tab.

Keys of repositories are left out and the packages behind them take their places: dnf takes over a key as it
installs, which is a package to rpm. What sqlite knows about its own tables (sqlite_stat1) says nothing either.
With a second word: carries out that statement first; or, where the word is "sorted", numbers the packages by name
and takes the times of their installation away, in which one transaction differs from several.
"""

import hashlib
import sqlite3
import struct
import sys

# RPMTAG_INSTALLTIME (rpm, include/rpm/rpmtag.h).
INSTALLTIME = 1008


def timeless(blob):
    """A header without the time of installation: counts, entries of 16 bytes, data, all in network order."""
    entries = struct.unpack_from(">I", blob)[0]
    data = bytearray(blob)
    for at in range(8, 8 + 16 * entries, 16):
        tag, _, offset, _ = struct.unpack_from(">iiii", blob, at)
        if tag == INSTALLTIME:
            struct.pack_into(">I", data, 8 + 16 * entries + offset, 0)
    return bytes(data)


def sort(connection):
    """Numbers packages by name, and takes times away."""
    tables = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [table for table in tables if not table.startswith("sqlite_")]
    names = dict(connection.execute("SELECT hnum, key FROM Name"))
    blobs = connection.execute("SELECT hnum, blob FROM Packages").fetchall()
    packages = sorted((names[number], timeless(blob), number) for number, blob in blobs)
    for place, (_, blob, number) in enumerate(packages, 1):
        connection.execute("UPDATE Packages SET blob = ? WHERE hnum = ?", (blob, number))
        for table in tables:
            connection.execute("UPDATE '%s' SET hnum = ? WHERE hnum = ?" % table, (-place, number))
    for table in tables:
        connection.execute("UPDATE '%s' SET hnum = -hnum" % table)


connection = sqlite3.connect(sys.argv[1])
connection.text_factory = bytes
if len(sys.argv) > 2:
    connection.execute("PRAGMA journal_mode = delete")
    if sys.argv[2] == "sorted":
        sort(connection)
    else:
        connection.execute(sys.argv[2])
    connection.commit()
keys = {row[0] for row in connection.execute("SELECT hnum FROM Name WHERE key = 'gpg-pubkey'")}
packages = [row[0] for row in connection.execute("SELECT hnum FROM Packages ORDER BY hnum")]
places = {old: place for place, old in enumerate((old for old in packages if old not in keys), 1)}
# The lines: a statement in words, as it may be quoted in several ways.
found = {}
for kind, name, statement in connection.execute("SELECT type, name, sql FROM sqlite_master"):
    if not name.startswith(b"sqlite_"):
        words = (statement or b"").decode()
        for mark in "\"'":
            words = words.replace(mark, "")
        found["%s %s" % (kind.decode(), name.decode())] = "".join(words.split())
tables = [name for kind, name in (line.split(" ", 1) for line in found) if kind == "table"]
for table in tables:
    columns = [row[1] for row in connection.execute("PRAGMA table_info('%s')" % table)]
    for row in connection.execute("SELECT * FROM '%s'" % table):
        fields = dict(zip((column.decode() if isinstance(column, bytes) else column for column in columns), row))
        number = fields.pop("hnum")
        if number in keys:
            continue
        blob = fields.pop("blob", None)
        what = "%s of package %s %r" % (table, places.get(number, "?"), sorted(fields.items()))
        value = hashlib.sha256(blob).hexdigest() if blob is not None else str(int(found.get(what, 0)) + 1)
        found[what] = value
for name, number in connection.execute("SELECT name, seq FROM sqlite_sequence"):
    found["the last of " + name.decode()] = str(number - len(keys))
for what, value in found.items():
    print("%s\t%s" % (what, value))
