# SPDX-License-Identifier: Apache-2.0
"""The Linux shell that scripts/run-guest ends in without IMAGE: an initial RAM disk around Debian's
busybox, made from nothing but constants and that one file, and the kernel's command line for it."""

import hashlib

# What the self-running demonstration adds up: this block as often as it takes for 16 MiB.
BLOCK_BYTES = 64 << 10
DOUBLINGS = 8

PROMPT = b"guest:/# "

# Process 1 begins as this script. With a shell to type into it becomes busybox' init, which gives the shell a
# SIGINT that is not ignored and does what poweroff, halt and reboot ask.
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts
mount -t devpts devpts /dev/pts
hostname guest
if [ "$run" ]; then
	PATH=/bin HOME=/root sh "/$run" || exec busybox reboot -f
	exec busybox poweroff -f
fi
exec busybox init
"""

INITTAB = "::once:/bin/busybox cttyhack /session\n"

# Only errors of the kernel interrupt what is typed.
SESSION = """\
#!/bin/busybox sh
export PATH=/bin HOME=/root PS1='guest:\\w# '
trap : INT QUIT
dmesg -n 4
[ -z "$COLUMNS" ] || stty cols "$COLUMNS" rows "$LINES"
unset COLUMNS LINES
echo
echo "Linux $(uname -r) with busybox; 'poweroff' or Ctrl-D ends it, 'resize' follows the window"
sh
exec busybox poweroff -f
"""

# A serial line does not carry the terminal's size: this asks the terminal where its last column and row are (CPR of
# ECMA-48).
RESIZE = """\
#!/bin/busybox sh
before=$(stty -g)
stty raw -echo min 0 time 20
printf '\\0337\\033[999;999H\\033[6n\\0338'
size=
while part=$(dd bs=32 count=1 2>/dev/null) && [ "$part" ]; do
	size=$size$part
	case "$size" in *R) break ;; esac
done
stty "$before"
rows=${size#*[} rows=${rows%%;*} cols=${size#*;} cols=${cols%%R*}
case "$rows$cols" in
'' | *[!0-9]*)
	echo "resize: the terminal does not tell its size" >&2
	exit 1
	;;
esac
stty rows "$rows" cols "$cols"
"""

DEMO = """\
uname -a
grep -E '^(processor|model name)' /proc/cpuinfo
cat /proc/interrupts
set -- /block
for twice in {doublings}; do set -- "$@" "$@"; done
cat "$@" >/tmp/file
ls -l /tmp/file
sum=$(sha256sum /tmp/file)
echo "$sum"
cat /proc/interrupts
[ "$sum" = "{sum}  /tmp/file" ] && echo "the sum is right"
"""


def block():
    digests = (hashlib.sha256(i.to_bytes(4, "little")).digest() for i in range(BLOCK_BYTES // 32))
    return b"".join(digests)


def file_sum():
    return hashlib.sha256(block() * (1 << DOUBLINGS)).hexdigest()


def entry(name, mode, data=b"", device=(0, 0)):
    """Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's source."""
    name = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)


def archive(busybox, init, files=()):
    """A RAM disk with busybox, the script /init, and (name, mode, content) of other files."""
    parts = [entry(folder, 0o40755) for folder in ("bin", "dev", "etc", "proc", "root", "sys", "tmp")]
    parts += [
        entry("dev/console", 0o20600, device=(5, 1)),
        entry("bin/busybox", 0o100755, busybox),
        entry("bin/sh", 0o120777, b"busybox"),
        entry("init", 0o100755, init.encode()),
    ]
    parts += [entry(name, mode, content) for name, mode, content in files]
    return b"".join(parts + [entry("TRAILER!!!", 0)])


def initrd(busybox):
    demo = DEMO.format(doublings="x " * DOUBLINGS, sum=file_sum())
    files = [
        ("demo", 0o100755, demo.encode()), ("block", 0o100644, block()),
        ("etc/inittab", 0o100644, INITTAB.encode()), ("session", 0o100755, SESSION.encode()),
        ("bin/resize", 0o100755, RESIZE.encode()),
    ]
    return archive(busybox, INIT, files)


# A console from the first line on, and without what costs seconds on an emulated CPU and shows nothing there:
# self-tests of ciphers, certificates, mitigations, address randomization.
COMMAND_LINE = (
    "console=uart8250,io,0x3f8,115200n8 8250.nr_uarts=1 panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable"
    " cryptomgr.notests initcall_blacklist=load_system_certificate_list apparmor=0"
)
