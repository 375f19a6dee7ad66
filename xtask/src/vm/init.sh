#!/bin/busybox sh
# The first program of the guest, in the initramfs: finds the disk and goes there.
busybox=/bin/busybox
$busybox mkdir -p /proc /sys /dev /disk
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    $busybox insmod "$module" || echo "vm: $module doesn't load"
done
tries=0
until [ -b /dev/vda ] || [ $tries = 100 ]; do
    tries=$((tries + 1))
    $busybox usleep 100000
done
$busybox mount -t ext4 -o rw,noatime /dev/vda /disk || echo "vm: no disk"
for place in proc sys dev; do
    $busybox mount --move /$place /disk/$place
done
exec $busybox switch_root /disk /vm/agent
