# SPDX-License-Identifier: Apache-2.0
"""The emulated machines below the example VMM: how each is started, and what its log says when it fails.
All of them show the VMM's port 0xe9 as their standard output and have the job block in memory."""

import fcntl
import functools
import glob
import os
import re
import shutil
import struct
import subprocess
import tempfile

from guest_image import JOB_ADDRESS


class Files:
    """Files for an emulator that have no name in any folder: nothing remains of them, however this script ends.
    The emulator inherits the descriptors (`numbers`)."""

    def __init__(self):
        self.open = []

    @property
    def numbers(self):
        return [file.fileno() for file in self.open]

    def add(self, content):
        """The path under which the emulator finds the content."""
        file = tempfile.TemporaryFile(buffering=0)
        self.open.append(file)
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        return f"/proc/self/fd/{file.fileno()}"

    def copy(self, path):
        with open(path, "rb") as file:
            return self.add(file.read())

    def close(self):
        for file in self.open:
            file.close()


def first_output(command):
    """What a command prints, whatever it thinks of itself."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    ).stdout


# Bochs does not start without a VGA BIOS, which nothing here calls, and Debian 13 has it under a name that Bochs 3 does
# not look for.
NO_VGA_BIOS = bytes(512)


@functools.lru_cache(maxsize=None)
def bochs_options():
    """Bochs 3 starts its debugger only when it is asked to, by an option that Bochs 2.7 does not know."""
    return ["-debugger"] if b"-debugger" in first_output(["bochs", "--help"]) else []


class Bochs:
    program = group = "bochs"  # group: of scripts/setup
    cpu_help = "bochs -help cpu"
    # Of its log: the emulator broke off, or refused what the library told the CPU.
    trouble = re.compile(rb"PANIC(?!.*Shutdown port)|VMABORT|VMFAIL|VMENTER FAIL")
    # The machine would go on after these until time runs out.
    fatal = re.compile(rb"VMABORT")

    # Bochs 2.7 breaks off where SVM would have a guest's triple fault leave to the VMM.
    triple_fault = re.compile(rb"PANIC.* 3rd \([0-9]+\) exception with no resolution")

    CONFIGURATION = """\
cpu: model={cpu}, count={cpus}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
memory: guest={memory}, host={memory}
romimage: file={rom}
vgaromimage: file={vga}
optramimage1: file={job}, address={address:#x}
display_library: term
port_e9_hack: enabled=1
magic_break: enabled=1
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
clock: sync=none, time0=0
{serial}log: /dev/stderr
"""
    BLOCK = 128 << 10

    def __init__(self, default_cpu, reports_triple_faults):
        self.default_cpu = default_cpu
        self.reports_triple_faults = reports_triple_faults

    def missing(self):
        """What this computer lacks for the machine, in words, or None."""
        return None

    def installed(self):
        """On Debian the display that the machines have is a package of its own."""
        plugins = glob.glob("/usr/lib/*/bochs/plugins")
        return bool(shutil.which(self.program) and (not plugins or glob.glob(f"{plugins[0]}/libbx_term_gui.so")))

    def explain(self, line):
        """What is known about a line of trouble, or None."""
        if not self.reports_triple_faults and self.triple_fault.search(line):
            return "Bochs broke off at a triple fault, which it does not report to a VMM on SVM"
        return None

    def has_cpu(self, model):
        return os.fsencode(model) in first_output(["bochs", "-help", "cpu"]).split()

    def debugger_commands(self, size):
        """Bochs gives out RAM in blocks, in the order in which they are first touched, but reads an
        optramimage as if the blocks behind its first were in place. So the debugger looks at each of
        them, in order, before the machine runs: then they get the places where the file already lies."""
        touches = [f"xp /1bx {address:#x}\n" for address in range(JOB_ADDRESS, JOB_ADDRESS + size, self.BLOCK)]
        return "".join(touches) + "c\nq\n"

    def command(self, files, rom, job, memory, cpu, cpus, line):
        """files: takes what the machine reads. line: the pseudo-terminal at the machine's COM1, or None."""
        configuration = self.CONFIGURATION.format(
            cpu=cpu, cpus=cpus, memory=memory, rom=files.copy(rom), vga=files.add(NO_VGA_BIOS), job=files.add(job), address=JOB_ADDRESS,
            serial=f"com1: enabled=1, mode=term, dev={line}\n" if line else "",
        )
        commands = files.add(self.debugger_commands(len(job)).encode())
        return ["bochs", "-q", *bochs_options(), "-f", files.add(configuration.encode()), "-rc", commands]


class Qemu:
    program, group = "qemu-system-x86_64", "qemu"
    # Time passes by instructions, as in Bochs: whatever else this computer does.
    execution = ("-accel", "tcg", "-icount", "shift=1")
    cpu_help = "qemu-system-x86_64 -cpu help"
    trouble = re.compile(rb"^qemu-system-x86_64: (?!warning: )")
    fatal = re.compile(rb"(?!)")  # it ends by itself

    def __init__(self, default_cpu):
        self.default_cpu = default_cpu

    def missing(self):
        """What this computer lacks for the machine, in words, or None."""
        return None

    def installed(self):
        return bool(shutil.which(self.program))

    def explain(self, _line):
        return None

    def has_cpu(self, model):
        listing = first_output([self.program, "-cpu", "help"])
        return os.fsencode(model) in re.findall(rb"^x86 (\S+)", listing, re.M)

    def command(self, files, rom, job, memory, cpu, cpus, line):
        """files: takes what the machine reads. line: the pseudo-terminal at the machine's COM1, or None."""
        serial = ["-chardev", f"serial,id=in,path={line}", "-device", "isa-serial,index=0,chardev=in"] if line else []
        return [
            self.program, "-machine", "pc", *self.execution, "-cpu", cpu, "-smp", str(cpus),
            "-m", f"{memory}M", "-bios", files.copy(rom),
            "-device", f"loader,file={files.add(job)},addr={JOB_ADDRESS:#x},force-raw=on",
            "-chardev", "stdio,id=out,signal=off", "-device", "isa-debugcon,iobase=0xe9,chardev=out",
            "-device", "isa-debug-exit,iobase=0xf4",
            "-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot",
        ] + serial


class Kvm(Qemu):
    """This computer's own processor, by KVM's nested virtualization."""

    execution = ("-accel", "kvm")
    device = "/dev/kvm"
    GET_SUPPORTED_CPUID = 0xC008AE05  # KVM's API documentation, 4.7
    ENTRIES = 256
    ENTRY = struct.Struct("<10I")

    def __init__(self):
        super().__init__("host")

    def has_cpu(self, model):
        return model == "host"

    def offers_virtualization(self):
        """Whether the CPUs that KVM gives to its guests have VT-x or SVM."""
        table = bytearray(8 + self.ENTRIES * self.ENTRY.size)
        struct.pack_into("<I", table, 0, self.ENTRIES)
        with open(self.device, "rb", buffering=0) as kvm:
            fcntl.ioctl(kvm, self.GET_SUPPORTED_CPUID, table)
        for i in range(struct.unpack_from("<I", table)[0]):
            leaf, _, _, _, _, ecx, *_ = self.ENTRY.unpack_from(table, 8 + i * self.ENTRY.size)
            if (leaf == 1 and ecx & 1 << 5) or (leaf == 0x80000001 and ecx & 1 << 2):
                return True
        return False

    def missing(self):
        if not os.path.exists(self.device):
            return (f"there is no {self.device}: the processor or the firmware offers no VT-x or SVM, or the module"
                    " kvm_intel or kvm_amd is not loaded")
        try:
            offered = self.offers_virtualization()
        except OSError as error:
            return f"{self.device} cannot be used ({error.strerror}); join the group kvm, or run as root"
        if not offered:
            return ("KVM gives its guests neither VT-x nor SVM; load kvm_intel or kvm_amd with nested=1, on a computer"
                    " whose processor has the extension")
        return None


MACHINES = {
    "kvm": Kvm(),
    "qemu-svm": Qemu("max"),
    "bochs-vmx": Bochs("corei7_skylake_x", reports_triple_faults=True),
    "bochs-svm": Bochs("ryzen", reports_triple_faults=False),
}
DEFAULT_MACHINE = "qemu-svm"
