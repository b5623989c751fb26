#!/bin/busybox sh
# The first process of a test VM: mounts what kctx reads, runs the live tests, says how they ended,
# and turns the VM off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm /dev/pts && mount -t tmpfs tmpfs /dev/shm && mount -t devpts devpts /dev/pts
hostname kctx-vm
ip link set lo up

export KCTX_BIN=/bin/kctx KCTX_VM=1 RUST_BACKTRACE=1
# As on a kernel that was built without it.
if grep -qw kctx.no_btf /proc/cmdline; then
    mount -t tmpfs tmpfs /sys/kernel/btf
fi
# The clock counts instructions.
if grep -qw kctx.instructions /proc/cmdline; then
    export KCTX_VM_INSTRUCTIONS=1
fi
btf=yes
if [ ! -r /sys/kernel/btf/vmlinux ]; then
    btf=no
    export KCTX_VM_NO_BTF=1
fi
echo "KCTX-VM kernel $(uname -r)"
echo "KCTX-VM version $(uname -v)"
echo "KCTX-VM cpus $(nproc)"
echo "KCTX-VM btf $btf"
# What is ignored elsewhere is for a VM.
set -- --test-threads=1 --include-ignored
while read -r word; do
    set -- "$@" "$word"
done </test-arguments
cd /tmp || exit 1
/bin/live "$@" </dev/null 2>&1
code=$?
if [ "$code" != 0 ]; then
    echo "KCTX-VM the kernel's last words:"
    dmesg | tail -n 40
fi
echo "KCTX-VM exit $code"
poweroff -f
