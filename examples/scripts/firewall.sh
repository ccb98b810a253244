#!/bin/sh
# Writes the rules that ufw loads on the first boot: everything out, the named services in.
# `ufw allow` would ask the running kernel, which while building is not the image's.
set -eu

port() {
    case $1 in
        ssh) echo 22 ;;
        http) echo 80 ;;
        https) echo 443 ;;
        *) echo "no port is known for '$1'" >&2; exit 1 ;;
    esac
}

write() {
    file=$1 prefix=$2 any=$3
    shift 3
    {
        echo '*filter'
        for kind in user-input user-output user-forward user-limit user-limit-accept; do
            echo ":$prefix-$kind - [0:0]"
        done
        echo '### RULES ###'
        for service in "$@"; do
            number=$(port "$service")
            echo "### tuple ### allow tcp $number $any any $any in"
            echo "-A $prefix-user-input -p tcp --dport $number -j ACCEPT"
        done
        echo '### END RULES ###'
        echo "-A $prefix-user-limit -j REJECT"
        echo "-A $prefix-user-limit-accept -j ACCEPT"
        echo 'COMMIT'
    } > "$file"
    chmod 0640 "$file"
}

write /etc/ufw/user.rules ufw 0.0.0.0/0 "$@"
write /etc/ufw/user6.rules ufw6 ::/0 "$@"
