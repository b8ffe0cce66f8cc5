# SPDX-License-Identifier: Apache-2.0
"""ramdisk.py BUSYBOX OFF: writes a RAM disk for Linux to standard output, whose init says hello and powers off."""
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import guest_shell

INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
sleep 1
cat /proc/interrupts
echo "guest: hello from init on $(nproc) of $(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l) CPUs"
exec /off
"""

busybox, off = (Path(argument).read_bytes() for argument in sys.argv[1:])
sys.stdout.buffer.write(guest_shell.archive(busybox, INIT, [("off", 0o100755, off)]))
