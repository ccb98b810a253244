#!/bin/sh
# Makes a directory that every member of the group "dev" can write to.
set -eu
directory=$1
mkdir -p "$directory"
chgrp dev "$directory"
chmod 2775 "$directory"
