# Runs the system in the folder $1 under its own systemd, in namespaces of its own, but in the network
# of the caller. $2 names its control group.
set -eu
cd "$1"
# Control groups of the host are not its own, wherever they are mounted there.
mount -t cgroup2 cgroup2 sys
mkdir "sys/$2"
echo $$ >"sys/$2/cgroup.procs"
umount sys
exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup sh -euc '
    mount --bind . .
    cd "$PWD"
    mount -t proc proc proc
    # Settings of the kernel are those of the host.
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    # As systemd mounts it where it runs the host.
    mount -t bpf -o mode=700 bpf sys/fs/bpf
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs dev
    mknod -m 666 dev/null c 1 3
    mknod -m 666 dev/zero c 1 5
    mknod -m 666 dev/full c 1 7
    mknod -m 666 dev/random c 1 8
    mknod -m 666 dev/urandom c 1 9
    mknod -m 666 dev/tty c 5 0
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    pivot_root . mnt
    umount -l /mnt
    exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=basic.target
'
