# SPDX-License-Identifier: Apache-2.0
"""Starts AxVisor on an emulated machine, watches its console, and says how far it came. The last line of the output is
four fields with tabs between: the last of the guest's stages that was reached; after how many seconds, and seconds
of CPU time, of the emulator's; and after how many VM entries (-: not counted)."""

import argparse
import contextlib
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import time
import tty
from pathlib import Path

FIRMWARE = Path("/usr/share/OVMF")
AXVISOR = ("AxVisor", rb"by AxVisor Team")
UNPACKER = ("unpacker", rb"KASLR disabled")
KERNEL = ("kernel", rb"Linux version 6\S* .*Debian")
INIT = ("init", rb"guest: hello from init on (\d+ of \d+ CPUs)")
POWER_OFF = ("power-off", rb"VM\[\d\] state changed to Stopped")
STAGES = {
    "hello": [AXVISOR, ("guest", rb"guest: hello from RVMRVMRVMRVM, powering off"), POWER_OFF],
    "linux": [AXVISOR, UNPACKER, KERNEL, INIT, POWER_OFF],
    "ticks": [AXVISOR, UNPACKER, KERNEL, ("ticks", rb" BogoMIPS")],
}
# AxVisor's shell takes this once a guest runs. Without it 0.8 keeps the guest's output to itself.
PROMPT, ATTACH = re.compile(rb"axvisor:\S*\$ "), b"vm console %d\r"
REFUSED = b"Failed to attach"  # while a guest is stopping
COLOURS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")

BOCHS = """\
cpu: model=corei7_skylake_x, count=2, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=512, host=512
romimage: file=firmware, address=0xffe00000
display_library: term
ata0-master: type=disk, path=disk, mode=flat
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
clock: sync=none, time0=0
com1: enabled=1, mode=term, dev={line}
log: log
"""


def qemu_svm(folder, image, line, plugin):
    boot = folder / "esp/EFI/BOOT"
    boot.mkdir(parents=True, exist_ok=True)
    shutil.copy(image, boot / "BOOTX64.EFI")
    shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", folder / "vars.fd")
    command = ["qemu-system-x86_64", "-machine", "q35", "-cpu", "max,-la57", "-accel", "tcg", "-smp", "2"]
    command += ["-m", "512", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", line]
    command += ["-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd"]
    command += ["-drive", "if=pflash,format=raw,file=vars.fd", "-drive", "format=raw,file=fat:rw:esp"]
    return command + (["-plugin", f"{plugin},count=entries"] if plugin else [])


def bochs_vtx(folder, image, line, _plugin):
    """Its ROM has at most 2 MiB, so it takes the smaller of Debian's firmwares."""
    (folder / "firmware").write_bytes(b"".join((FIRMWARE / f"OVMF_{part}.fd").read_bytes() for part in ("VARS", "CODE")))
    with open(folder / "disk", "wb") as disk:
        disk.truncate(96 << 20)
    for tool, *arguments in ["mformat", "-F", "::"], ["mmd", "::EFI", "::EFI/BOOT"], ["mcopy", image, "::EFI/BOOT/BOOTX64.EFI"]:
        subprocess.run([tool, "-i", folder / "disk", *arguments], check=True)
    (folder / "bochsrc").write_text(BOCHS.format(line=line), encoding="utf-8")
    (folder / "commands").write_text("c\n", encoding="utf-8")
    return ["bochs", "-q", "-f", "bochsrc", "-rc", "commands"]


def stages_on(machine, guest):
    """On Bochs OVMF finds no ACPI tables. AxVisor then has no interrupts from the UART, and its shell takes no command."""
    return [stage for stage in STAGES[guest] if machine != "bochs-vtx" or stage[0] != "guest"]


MACHINES = {"qemu-svm": qemu_svm, "bochs-vtx": bochs_vtx}


class Console:
    """The machine's serial line, whose other end is a pseudo-terminal, and the stages in what it says."""

    def __init__(self, stages, number, log):
        self.stages, self.log = [(name, re.compile(pattern)) for name, pattern in stages], log
        self.text, self.reached, self.detail = b"", "nothing", ""
        self.number = number  # of the guest
        self.attempts, self.next_attempt = 0, 0
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.slave, self.line = slave, os.ttyname(slave)

    def listen(self, seconds):
        """Waits for output. Whether it brought a stage."""
        self.attach()
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        data = os.read(self.master, 65536)
        self.log.write(data)
        self.log.flush()
        self.text = COLOURS.sub(b"", self.text + data)
        return self.advance()

    def attach(self):
        again = self.attempts <= min(self.text.count(REFUSED), 5) and time.monotonic() > self.next_attempt
        if again and PROMPT.search(self.text):
            self.attempts, self.next_attempt = self.attempts + 1, time.monotonic() + 2
            os.write(self.master, ATTACH % self.number)

    def advance(self):
        before = self.reached
        while self.stages and (found := self.stages[0][1].search(self.text)):
            self.reached = self.stages.pop(0)[0]
            self.detail += "".join(f", {group.decode()}" for group in found.groups())
        return self.reached != before


def cpu_seconds(process):
    """proc(5): fields 14 and 15, user and system time in ticks. The name before them may hold spaces."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(machine, console, seconds, silence, count):
    """Until the last stage, the end of the machine or of its time, or long silence. Its time is the CPU's: on a busy host
    a boot takes many times as long."""
    start = heard = time.monotonic()
    result, size = (0, 0, count()), 0
    while console.stages and machine.poll() is None:
        if console.listen(0.1):
            result = (time.monotonic() - start, cpu_seconds(machine), count())
        now = time.monotonic()
        if len(console.text) != size:
            heard, size = now, len(console.text)
        if cpu_seconds(machine) > seconds or (console.reached != "nothing" and now > heard + silence):
            break
    return result if not console.stages else (*result[:2], count())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("guest", choices=STAGES)
    parser.add_argument("image", type=Path, help="AxVisor as an EFI application")
    parser.add_argument("--folder", type=Path, required=True, help="for the machine's files; `console` has its output")
    parser.add_argument("--seconds", type=int, default=240, help="of CPU time that the emulator may take")
    parser.add_argument("--silence", type=int, default=60, help="seconds without output after which nothing will come")
    parser.add_argument("--plugin", help="vmrun.c, compiled")
    arguments = parser.parse_args()
    folder = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = folder / "entries"
    entries.write_bytes(bytes(8))
    count = (lambda: struct.unpack("=Q", entries.read_bytes())[0]) if arguments.plugin else (lambda: "-")
    with open(folder / "console", "wb") as log, open(folder / "output", "wb") as output:
        console = Console(stages_on(arguments.machine, arguments.guest), 2 if arguments.guest == "hello" else 1, log)
        command = MACHINES[arguments.machine](folder, arguments.image, console.line, arguments.plugin)
        machine = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | {"TERM": "dumb"}
        )
        try:
            seconds, cpu, entered = watch(machine, console, arguments.seconds, arguments.silence, count)
        finally:
            machine.kill()
            machine.wait()
    if console.stages:
        print(f"'{console.stages[0][0]}' was not reached; the console's end:", flush=True)
        for text in b"\n".join(console.text.splitlines()[-40:]), (folder / "output").read_bytes()[-2000:]:
            sys.stdout.buffer.write(text + b"\n")
        sys.stdout.buffer.flush()
    print(f"{console.reached}{console.detail}\t{seconds:.0f}\t{cpu:.0f}\t{entered}")
    return 1 if console.stages else 0


with contextlib.suppress(BrokenPipeError):
    sys.exit(main())
