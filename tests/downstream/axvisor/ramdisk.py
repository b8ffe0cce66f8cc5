# SPDX-License-Identifier: Apache-2.0
"""ramdisk.py BUSYBOX OFF: writes a RAM disk for Linux to standard output, whose init says hello and powers off."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import guest_shell

INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
sleep 1
cat /proc/interrupts
echo "guest: hello from init"
exec /off
"""

busybox, off = (Path(argument).read_bytes() for argument in sys.argv[1:])
sys.stdout.buffer.write(guest_shell.archive(busybox, INIT, [("off", 0o100755, off)]))
