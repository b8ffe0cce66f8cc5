# SPDX-License-Identifier: Apache-2.0
"""Boots a guest on the example VMM (examples/vmm, or examples/rust-vmm), itself on an emulated machine.
scripts/run-guest starts it."""

import argparse
import collections
import contextlib
import ctypes
import errno
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from guest_image import (  # noqa: E402 (next to this script)
    CHECKS, DEFAULT_MEMORY, KIND_NAMES, LINUX, MIB, MULTIBOOT, USAGE_ERROR,
    BadImage, Failure, Job, file_size, kind_of, machine_memory, pack_job, read_file,
)
from guest_machine import DEFAULT_MACHINE, MACHINES, Files  # noqa: E402
from guest_terminal import HELP as KEYS_HELP, Keys, Left, Line, is_ours, message, raw  # noqa: E402
import guest_shell  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

GUEST_FAILED, BROKEN, TIMED_OUT = 1, 3, 124

HELP = """\
usage: scripts/run-guest [OPTIONS] [IMAGE]

Boots a guest in a virtual machine of examples/vmm, on an emulated CPU with VT-x or SVM, with its
serial console on standard input and output; everything else goes to standard error. Installs
(scripts/setup) and builds what it needs first.

Without IMAGE: the distribution's kernel (Debian's for the cloud) and a shell to type into; 'poweroff'
ends it. When standard input is no terminal, a fixed script runs there instead and powers off.

IMAGE is told by its content: a Linux bzImage, a Multiboot 1 kernel (ELF32, or with load addresses in
its header), and by name if that says nothing: NAME.bin is real-mode code (loaded and entered at
0x7c00), NAME.rom a PC's ROM.

On a terminal: Ctrl-A X leaves, Ctrl-A Ctrl-A types Ctrl-A. All other keys go to the guest.

The machine:
  --vmm c|rust       the VMM: examples/vmm in C, or examples/rust-vmm, on the Rust crate x86_vcpu, which needs
                     cargo ('scripts/setup --rust'), has one vCPU, no test device and no --la57 (c)
  --machine NAME     below the VMM: qemu-svm (AMD, fast), bochs-vmx (Intel), bochs-svm (AMD),
                     kvm (this computer's own, by nested virtualization) (qemu-svm)
  --cpu MODEL        its CPU: a model of QEMU ('qemu-system-x86_64 -cpu help'; max) or of Bochs ('bochs
                     -help cpu'; corei7_skylake_x, ryzen)
  --host-cpus N      its CPUs, 1 or 2, among which the vCPUs are divided (1)
  --smp N            the guest's vCPUs, 1 to 8 (1)
  --mem MIB          the guest's memory, 2 to 1536 (256 for Linux, 64 for others)
  --la57             the VMM runs with 5-level paging (CR4.LA57), where its CPU has it: qemu-svm
  --testdev          the guest has the ports and memory of QEMU's pc-testdev
The guest:
  --append TEXT      the kernel's command line; Debian's kernel gets TEXT added to its own
  --initrd FILE      Linux: the initial RAM disk; without IMAGE: instead of the one with the shell
  --module FILE      Multiboot: a module; may be repeated
  --input FILE       type FILE into the console; '-': standard input, whatever it is
The run:
  --timeout SECONDS  give up after this time; 0: never (300; on a terminal 0)
  --expect REGEX     stop, and succeed, when a line of the console matches
  --trace            show every exit to the VMM on standard error
  --help

Exit status: 0 the guest powered off, wrote 0 to port 0xf4, --expect matched, or you left with Ctrl-A X;
1 the guest failed; 2 usage, or an image that cannot be booted; 3 the VMM or the machine failed; 124 time
ran out.
"""


class Interrupted(Exception):
    def __init__(self, number):
        super().__init__()
        self.number = number


def say(text):
    message(os.fsencode(f"run-guest: {text}\n"))


# ---- Arguments ----------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Failure(USAGE_ERROR, f"{message} (see --help)")


def whole_number(low, high):
    def parse(text):
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(text):
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return float(text)


def regex(text):
    try:
        return re.compile(os.fsencode(text))
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a regular expression: {error}") from None


def parse_arguments(argv):
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("image", nargs="?", metavar="IMAGE")
    parser.add_argument("--vmm", default="c")
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument("--cpu")
    parser.add_argument("--append")
    parser.add_argument("--initrd")
    parser.add_argument("--module", action="append", default=[])
    parser.add_argument("--mem", type=whole_number(2, 1536), default=None)
    parser.add_argument("--smp", type=whole_number(1, 8), default=1)
    parser.add_argument("--host-cpus", type=whole_number(1, 2), default=1)
    parser.add_argument("--testdev", action="store_true")
    parser.add_argument("--la57", action="store_true")
    parser.add_argument("--input", metavar="FILE")
    parser.add_argument("--timeout", type=seconds, default=None)
    parser.add_argument("--expect", type=regex)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    args = parser.parse_args(argv)
    if args.machine not in MACHINES:
        raise Failure(USAGE_ERROR, f"no machine is called '{args.machine}' (there are: {', '.join(MACHINES)})")
    if args.vmm not in VMMS:
        raise Failure(USAGE_ERROR, f"no VMM is called '{args.vmm}' (there are: {', '.join(VMMS)})")
    if args.vmm == "rust" and (args.smp > 1 or args.testdev or args.la57):
        raise Failure(USAGE_ERROR, "the VMM in Rust has one vCPU, no test device and no 5-level paging")
    if args.host_cpus > args.smp:
        raise Failure(USAGE_ERROR, f"--host-cpus {args.host_cpus} needs --smp {args.host_cpus} or more: each has a vCPU to run")
    return args


# ---- The job ------------------------------------------------------------------------------------


def refuse_options(args, kind):
    if args.initrd and kind != LINUX:
        raise Failure(USAGE_ERROR, f"--initrd is for Linux, not for a {KIND_NAMES[kind]}")
    if args.module and kind != MULTIBOOT:
        raise Failure(USAGE_ERROR, f"--module is for Multiboot kernels, not for a {KIND_NAMES[kind]}")
    if args.append is not None and kind not in (LINUX, MULTIBOOT):
        raise Failure(USAGE_ERROR, f"--append: a {KIND_NAMES[kind]} takes no command line")
    if len(args.module) > 31:
        raise Failure(USAGE_ERROR, "--module: at most 31")


def make_job(args, path, command_line, shell_disk, has_input):
    data = read_file(path)
    paths = args.module + ([args.initrd] if args.initrd else [])
    try:
        kind = kind_of(path, data)
        refuse_options(args, kind)
        memory = (args.mem or DEFAULT_MEMORY[kind]) * MIB
        # Files that cannot fit are refused before they are read.
        sizes = [file_size(name) for name in paths] + ([len(shell_disk)] if shell_disk else [])
        CHECKS[kind](data, memory, command_line, sizes)
        machine_memory(len(data) + sum(sizes), memory)
        files = [(os.path.basename(name), read_file(name)) for name in paths]
        files += [("a shell", shell_disk)] if shell_disk else []
    except BadImage as error:
        raise Failure(USAGE_ERROR, f"{path}: {error}") from None
    return Job(
        kind, path, data, command_line, files, memory, args.trace, args.smp, args.host_cpus, args.testdev, has_input,
        args.la57,
    )


def shell_options(interactive, scripted):
    """What the shell's RAM disk finds in its environment."""
    if not interactive:
        return [] if scripted else ["run=demo"]
    size = os.get_terminal_size(0)
    return [f"COLUMNS={size.columns}", f"LINES={size.lines}"] if size.columns and size.lines else []


def choose_guest(args, interactive):
    """The image's path, its command line, and the RAM disk with the shell, None for others."""
    if args.image is not None:
        return args.image, os.fsencode(args.append or ""), None
    kernel = default_kernel()
    words = [guest_shell.COMMAND_LINE]
    disk = None
    if not args.initrd:
        disk = guest_shell.initrd(read_file(shutil.which("busybox")))
        words += shell_options(interactive, args.input)
    words += [args.append] if args.append else []
    return kernel, os.fsencode(" ".join(words)), disk


def open_line(args, interactive, shell):
    """Where the guest's input comes from, or None if it gets none."""
    if args.input is None:
        return Line(0, keys=Keys()) if interactive else None
    try:
        source = 0 if args.input == "-" else os.open(args.input, os.O_RDONLY)
    except OSError as error:
        raise Failure(USAGE_ERROR, f"{args.input}: {error.strerror}") from None
    if stat.S_ISDIR(os.fstat(source).st_mode):
        raise Failure(USAGE_ERROR, f"{args.input}: is a directory")
    return Line(source, after=guest_shell.PROMPT if shell else None)


# ---- Children ------------------------------------------------------------------------------------


def start(command, **options):
    """A child in a process group of its own, which dies with this script."""

    def in_child():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG

    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=in_child, **options
    )


def stop(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def shell(script, *arguments):
    """Runs a script that may use scripts/lib.sh; what it prints. Its standard error is ours."""
    child = start(
        ["bash", "-c", f'. "$0/scripts/lib.sh"; {script}', ROOT, *arguments], stdout=subprocess.PIPE
    )
    try:
        output, _ = child.communicate()
    finally:
        stop(child)
    return child.returncode, os.fsdecode(output)


# What builds each VMM, and its ROM in the build folder.
VMMS = {
    "c": ("build_targets vmm-rom", "examples/vmm/vmm.rom"),
    "rust": ("build_rust_vmm", "rust-vmm.rom"),
}


def build(vmm):
    """Brings the VMM up to date; the path of its ROM."""
    command, rom = VMMS[vmm]
    status, output = shell(f'{command} && echo "$BUILD"')
    if status != 0:
        raise Failure(BROKEN, "the VMM could not be built")
    return os.path.join(output.rstrip("\n"), rom)


def default_kernel():
    """The path of the distribution's kernel, or None if it is not there."""
    _, output = shell('echo "$GUEST_KERNEL"')
    path = output.rstrip("\n")
    return path if os.path.exists(path) else None


BUILD_TOOLS = ("cmake", "ninja", "gcc", "objcopy")


def install(args, machine):
    """Has scripts/setup install what is not there of the tools, the machine and the guest."""
    groups = []
    if not all(map(shutil.which, BUILD_TOOLS)):
        groups.append("compile")
    if not machine.installed():
        groups.append(machine.group)
    if args.image is None and not (default_kernel() and shutil.which("busybox")):
        groups.append("linux")
    if not groups:
        return
    sys.stderr.flush()
    if subprocess.run([os.path.join(ROOT, "scripts/setup"), *groups], stdout=2, check=False).returncode != 0:
        raise Failure(BROKEN, f"scripts/setup could not install what the guest needs ({' '.join(groups)})")


def choose_cpu(machine, model):
    """The default one is known to be there."""
    if model is None:
        return machine.default_cpu
    if not machine.has_cpu(model):
        raise Failure(USAGE_ERROR, f"{machine.program} has no CPU model '{model}' ('{machine.cpu_help}' lists them)")
    return model


# ---- What comes out of the machine --------------------------------------------------------------


ASCII = bytes(range(128))
FRAMES = bytes(range(128, 256))
OURS = re.compile(rb"(?:vmm: |x86vcpu: |host fault:).*")
VERDICT = re.compile(rb"vmm-verdict: ([0-9]+) (.*)")


class Console:
    """Takes the machine's output apart: the guest's bytes, the VMM's lines, the emulator's chatter."""

    def __init__(self, expect):
        self.expect = expect
        self.matched = False
        self.verdict = None  # (status, reason)
        self.fault = False  # the VMM itself took an exception
        self.framed = b""
        self.guest_line = b""
        self.host_line = b""
        self.chatter = collections.deque(maxlen=20)

    def feed(self, chunk):
        self.take_guest(chunk.translate(None, ASCII))
        *lines, self.host_line = (self.host_line + chunk.translate(None, FRAMES)).split(b"\n")
        for line in lines:
            self.take_host(line.rstrip(b"\r"))

    def take_guest(self, framed):
        framed = self.framed + framed
        count = len(framed) // 2
        self.framed = framed[2 * count :]
        data = bytes((framed[2 * i] & 15) << 4 | framed[2 * i + 1] & 15 for i in range(count))
        write_all(data)
        *lines, self.guest_line = (self.guest_line + data).split(b"\n")
        for line in lines:
            self.look(line)

    def look(self, line):
        if self.expect and self.expect.search(line.rstrip(b"\r")):
            self.matched = True

    def look_at_rest(self):
        """A prompt has no line feed: it counts when nothing follows."""
        if self.guest_line:
            self.look(self.guest_line)

    def take_host(self, line):
        verdict = VERDICT.search(line)
        ours = OURS.search(line)
        if verdict:
            self.verdict = (int(verdict[1]), verdict[2].decode(errors="replace"))
        elif ours:
            self.fault |= ours[0].startswith(b"host fault:")
            message(ours[0] + b"\n")
        elif line:
            self.chatter.append(line)


def write_all(data):
    while data:
        data = data[os.write(1, data) :]


class Log:
    """The emulator's log: only its end, and what sounds like trouble, is kept."""

    def __init__(self, machine):
        self.machine = machine
        self.rest = b""
        self.trouble = collections.deque(maxlen=5)
        self.last = collections.deque(maxlen=5)

    def feed(self, chunk):
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.last.extend(lines)
        self.trouble.extend(line for line in lines if self.machine.trouble.search(line))


def watch(child, console, log, timeout, line):
    """Copies until the verdict, a match, the machine's end (True) or the end of time (False)."""
    deadline = time.monotonic() + timeout if timeout else None
    outputs = {child.stdout.fileno(): console, child.stderr.fileno(): log}
    while outputs and not console.verdict and not console.matched:
        left = deadline - time.monotonic() if deadline else 60.0
        if left <= 0:
            return False
        reading, writing = (line.readable(), line.writable()) if line else ([], [])
        ready, free, _ = select.select(list(outputs) + reading, writing, [], min(left, 0.2))
        if not set(ready) & set(outputs):
            console.look_at_rest()
        for fd in ready:
            if fd not in outputs:
                line.read()
                continue
            chunk = os.read(fd, 65536)
            if chunk:
                outputs[fd].feed(chunk)
            else:
                del outputs[fd]
        if line:
            line.heard(console.guest_line)
        if free:
            line.write()
    console.look_at_rest()
    return True


def report_breakdown(console, log):
    unexplained = not console.verdict and not console.fault
    for line in log.trouble or (unexplained and (log.last or console.chatter)) or ():
        message(log.machine.program.encode() + b": " + line + b"\n")


def stopped(console, log):
    """The machine is gone, and the VMM had no say in it."""
    known = next(filter(None, map(log.machine.explain, log.trouble)), None)
    if known and not console.fault:
        say(f"machine failed: {known}")
        return BROKEN
    report_breakdown(console, log)
    say("VMM failed: host fault" if console.fault else "VMM failed: the machine stopped")
    return BROKEN


def conclude(in_time, console, log, timeout):
    if console.guest_line and os.isatty(1):
        write_all(b"\n")
    if console.matched:
        say("the expected text has come")
        return 0
    if not in_time:
        say(f"time ran out after {timeout:g} s")
        if any(log.machine.fatal.search(line) for line in log.trouble):
            report_breakdown(console, log)
            return BROKEN
        return TIMED_OUT
    if not console.verdict:
        return stopped(console, log)
    status, reason = console.verdict
    say(f"VMM failed: {reason}" if status == BROKEN else reason)
    if status == BROKEN:
        report_breakdown(console, log)
    if status == 0 and console.expect:
        say("the expected text never came")
        return GUEST_FAILED
    return status


def announce(job, args, line):
    parts = [f"{job.name} ({KIND_NAMES[job.kind]}, {len(job.data)} bytes)"]
    parts += [f"with {name} ({len(data)} bytes)" for name, data in job.files]
    parts += [f"{job.memory // MIB} MiB", f"{job.vcpus} vCPU" + "s" * (job.vcpus > 1)]
    parts += [f"on {args.machine} ({args.cpu}" + ", 2 CPUs" * (job.host_cpus > 1) + ")"]
    say("booting " + ", ".join(parts))
    if job.command_line:
        say("command line: " + os.fsdecode(job.command_line))
    if line and line.keys:
        say(KEYS_HELP)


def boot(args, machine, block, memory, rom, line):
    console, log = Console(args.expect), Log(machine)
    child = None
    files = Files()
    try:
        command = machine.command(files, rom, block, memory, args.cpu, args.host_cpus, line and line.path)
        child = start(
            command, cwd="/", env=dict(os.environ, TERM="dumb"), pass_fds=files.numbers,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        with raw(line.source) if line and line.keys else contextlib.nullcontext():
            in_time = watch(child, console, log, args.timeout, line)
        return conclude(in_time, console, log, args.timeout)
    except Left:
        message(b"\n")
        say("left; the guest is gone")
        return 0
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if child:
            stop(child)
        files.close()


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def on_signal(number, _frame):
    raise Interrupted(number)


def run(argv):
    args = parse_arguments(argv)
    if args.help:
        print(HELP, end="")
        return 0
    interactive = args.input is None and is_ours(0)
    if args.timeout is None:
        args.timeout = 0.0 if interactive else 300.0
    machine = MACHINES[args.machine]
    missing = machine.missing()
    if missing:
        raise Failure(BROKEN, f"the machine {args.machine} cannot run here: {missing}")
    install(args, machine)
    path, command_line, shell_disk = choose_guest(args, interactive)
    line = open_line(args, interactive, shell_disk)
    job = make_job(args, path, command_line, shell_disk, line is not None)
    args.cpu = choose_cpu(machine, args.cpu)
    block, memory = pack_job(job)
    rom = build(args.vmm)
    announce(job, args, line)
    return boot(args, machine, block, memory, rom, line)


def open_standard_files():
    """Started with some of them closed, the script must not take a pipe of its own for one."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def main():
    open_standard_files()
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        return run(sys.argv[1:])
    except Failure as failure:
        say(failure)
        return failure.status
    except Interrupted as interrupted:
        return 128 + interrupted.number
    except OSError as error:
        if error.errno != errno.EPIPE:
            say(f"cannot go on: {error}")
            return BROKEN
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
