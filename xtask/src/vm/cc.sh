#!/bin/sh
# A compiler for the guest: the host's. Asks for what it is called as, with these arguments, and
# gets the status, what was said, the file that `-o` names, and the `.dwo` file beside it if there is
# one. Sources lie at the same paths there.
exec 9>>/run/cc.lock
flock 9
exec 4<>/dev/virtio-ports/cc
{
    echo "${0##*/}"
    for word; do
        printf '%s\n' "$word"
    done
    echo
} >&4
read -r status said built split name <&4
head -c "$said" <&4 >&2
while [ $# -gt 1 ]; do
    [ "$1" = -o ] && output=$2
    shift
done
if [ "$built" -gt 0 ]; then
    head -c "$built" <&4 >"$output"
    chmod +x "$output"
fi
[ "$split" -gt 0 ] && head -c "$split" <&4 >"${output%/*}/$name"
exit "$status"
