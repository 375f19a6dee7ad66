#!/bin/sh
# The only program that the guest runs by itself. It answers `hello` by
# `ready`. It reads a script through the port, line by line with `>` before each, and
# `run SECONDS`; it answers with the script's output, `|` before
# each line, and `=STATUS`.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
# Debian's kernels give huge pages to whoever touches one byte; the programs of the tests know
# what they touch, and ask for huge pages where they want them.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
/bin/busybox ip link set lo up
cd /root
# By their names, as udev would have it.
mkdir /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    ln -s "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
exec 3<>/dev/virtio-ports/agent
: >/run/script
while :; do
    # Nothing to read: the host has not yet connected its end, or it is gone.
    if ! IFS= read -r line <&3; then
        [ -z "$greeted" ] || /bin/busybox poweroff -f
        /bin/busybox usleep 20000
        continue
    fi
    case $line in
    hello)
        greeted=yes
        echo ready >&3
        ;;
    '>'*)
        printf '%s\n' "${line#>}" >>/run/script
        ;;
    run\ *)
        echo none >/run/status
        {
            timeout -k 5 "${line#run }" sh /run/script </dev/null 2>&1
            echo $? >/run/status
        } 3>&- | sed -u 's/^/|/' >&3
        # An empty line first: the script's last one may lack its end.
        printf '\n=%s\n' "$(cat /run/status)" >&3
        : >/run/script
        ;;
    esac
done
