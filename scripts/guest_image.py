# SPDX-License-Identifier: Apache-2.0
"""What scripts/run-guest boots: kinds of images, what is wrong with one, and the block of memory in which
the example VMM finds everything (examples/vmm/job.h)."""

import collections
import os
import stat
import struct

USAGE_ERROR = 2
MIB = 1 << 20
PAGE = 4096
MACHINE_MEMORY_MAX = 2048 * MIB  # of Bochs


class Failure(Exception):
    """Ends the script with one line of text."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


LINUX, MULTIBOOT, REAL_MODE, ROM = 1, 2, 3, 4  # enum job_kind in examples/vmm/job.h
KIND_NAMES = {
    LINUX: "Linux bzImage",
    MULTIBOOT: "Multiboot kernel",
    REAL_MODE: "real-mode image",
    ROM: "PC ROM",
}
DEFAULT_MEMORY = {LINUX: 256, MULTIBOOT: 64, REAL_MODE: 64, ROM: 64}  # MiB
MULTIBOOT_MAGIC = 0x1BADB002


class BadImage(Exception):
    pass


def open_file(path):
    """A file that is to be put into the guest, and its size."""
    try:
        file = open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))
    except OSError as error:
        raise Failure(USAGE_ERROR, f"{path}: {error.strerror}") from None
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise Failure(USAGE_ERROR, f"{path}: not a regular file")
    if not status.st_size:
        raise Failure(USAGE_ERROR, f"{path}: the file is empty")
    return file, status.st_size


def file_size(path):
    file, size = open_file(path)
    file.close()
    return size


def read_file(path):
    file, size = open_file(path)
    with file:
        if size > MACHINE_MEMORY_MAX:
            raise Failure(USAGE_ERROR, f"{path}: larger than the machine's memory can be")
        try:
            return file.read(size)
        except OSError as error:
            raise Failure(USAGE_ERROR, f"{path}: {error.strerror}") from None


def get(data, offset, form):
    return struct.unpack_from("<" + form, data, offset)[0]


def find_multiboot_header(data):
    for at in range(0, min(len(data), 8192) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", data, at)
        if magic == MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            return at
    return None


def kind_of(name, data):
    if data[0x202:0x206] == b"HdrS" and data[0x1FE:0x200] == b"\x55\xaa":
        return LINUX
    if find_multiboot_header(data) is not None:
        return MULTIBOOT
    if data[:4] == b"\x7fELF":
        raise BadImage("an ELF file without a Multiboot header")
    if name.endswith(".rom"):
        return ROM
    if name.endswith(".bin"):
        return REAL_MODE
    raise BadImage("neither a Linux bzImage, nor a Multiboot kernel, nor named .bin or .rom")


def need_memory(end, memory):
    if end > memory:
        raise BadImage(f"needs --mem {-(-end // MIB)}")


def check_linux(data, memory, command_line, sizes):
    if len(data) < 0x268:
        raise BadImage("the bzImage is cut short")
    if get(data, 0x206, "H") < 0x20C or not get(data, 0x236, "H") & 1:
        raise BadImage("this kernel has no 64-bit entry (boot protocol 2.12 or later)")
    payload = len(data) - ((data[0x1F1] or 4) + 1) * 512
    if payload <= 0 or payload + 15 < get(data, 0x1F4, "I") * 16:
        raise BadImage("the bzImage is cut short")
    end = max(get(data, 0x258, "Q"), MIB) + max(get(data, 0x260, "I"), payload)
    need_memory(end + sum(-(-size // PAGE) * PAGE for size in sizes), memory)
    if len(command_line) > get(data, 0x238, "I"):
        raise BadImage(f"this kernel takes a command line of at most {get(data, 0x238, 'I')} bytes")


def elf_segments(data):
    """(offset, address, bytes in the file, bytes in memory) of each part that is loaded."""
    if len(data) < 52 or data[:7] != b"\x7fELF\x01\x01\x01" or get(data, 18, "H") != 3:
        raise BadImage("a Multiboot header, but neither ELF32 for the 80386 nor load addresses in the header")
    table, size, count = get(data, 28, "I"), get(data, 42, "H"), get(data, 44, "H")
    if size < 32 or count == 0 or table + size * count > len(data):
        raise BadImage("the ELF file is cut short")
    for at in range(table, table + size * count, size):
        kind, offset, _, address, in_file, in_memory = struct.unpack_from("<6I", data, at)
        if kind == 1 and in_memory:
            yield offset, address, in_file, max(in_file, in_memory)


def header_segment(data, header):
    """The same, for a header with load addresses."""
    if header + 32 > len(data):
        raise BadImage("the Multiboot header is cut short")
    own, load, load_end, bss_end = struct.unpack_from("<4I", data, header + 12)
    offset = header - (own - load)
    if load > own or offset < 0 or (load_end and load_end < load) or (bss_end and bss_end < load):
        raise BadImage("the addresses in the Multiboot header contradict each other")
    in_file = load_end - load if load_end else len(data) - offset
    yield offset, load, in_file, max(in_file, bss_end - load if bss_end else 0)


def check_multiboot(data, memory, command_line, sizes):
    header = find_multiboot_header(data)
    flags = get(data, header + 4, "I")
    if flags & 0xFFF8:
        raise BadImage("the Multiboot header asks for features that no specification has")
    end = MIB
    for offset, address, in_file, in_memory in header_segment(data, header) if flags & 1 << 16 else elf_segments(data):
        if offset + in_file > len(data):
            raise BadImage("the Multiboot kernel is cut short")
        if address + in_memory > 0x90000 and address < MIB:
            raise BadImage(f"the kernel loads to {address:#x}, where there is no room")
        end = max(end, address + in_memory)
    for size in sizes:
        end = -(-end // PAGE) * PAGE + size
    need_memory(end, memory)
    if len(command_line) > 0x8000:
        raise BadImage("the command line is too long")


def check_real_mode(data, *_):
    if len(data) > 0xA0000 - 0x7C00:
        raise BadImage("too large: from 0x7c00 it reaches beyond 640 KiB")


def check_rom(data, *_):
    size = len(data)
    if size & (size - 1) or not 64 * 1024 <= size <= 2 * MIB:
        raise BadImage(f"a ROM's size is a power of two from 64 KiB to 2 MiB, not {size} bytes")
    if data[-16:] in (b"\xff" * 16, b"\0" * 16):
        raise BadImage("there is no code at the reset vector, 16 bytes before the ROM's end")


# Each takes the image, the guest's memory, the command line, and the sizes of the other files.
CHECKS = {LINUX: check_linux, MULTIBOOT: check_multiboot, REAL_MODE: check_real_mode, ROM: check_rom}


# What to boot. files: (name, content) of initrd or modules.
Job = collections.namedtuple(
    "Job", "kind name data command_line files memory trace vcpus host_cpus testdev input la57",
    defaults=(1, 1, False, False, False),
)


# ---- The job block (examples/vmm/job.h) ---------------------------------------------------------

JOB_ADDRESS = 0x2000000
JOB_MAGIC = 0x31424F4A55504356
JOB_VERSION = 2
JOB_MAX_FILES = 32
JOB_TRACE, JOB_TESTDEV, JOB_INPUT, JOB_LA57 = 1, 2, 4, 8
JOB_HEADER = "<QIIQQQIIIIQ"
JOB_FILE = "<QQQQ"


def machine_memory(block, memory):
    """The RAM that a machine needs for a block of that size and the guest's memory, each in bytes."""
    # The VMM puts the guest's memory after the block, at a multiple of 2 MiB.
    needed = -(-(JOB_ADDRESS + block + memory + 2 * MIB) // (4 * MIB)) * 4 * MIB
    if needed > MACHINE_MEMORY_MAX:
        raise Failure(USAGE_ERROR, "images and guest memory together are more than the machine can have")
    return needed


def pack_job(job):
    """The block's bytes, and the MiB of RAM that the machine needs for it."""
    header_size = struct.calcsize(JOB_HEADER) + struct.calcsize(JOB_FILE) * JOB_MAX_FILES
    body, table = bytearray(), b""
    for text, data in [(job.command_line, job.data)] + [(os.fsencode(name), data) for name, data in job.files]:
        text_at = header_size + len(body)
        body += text + b"\0"
        body += bytes(-(header_size + len(body)) % PAGE)
        table += struct.pack(JOB_FILE, header_size + len(body), len(data), text_at, len(text))
        body += data
    total = header_size + len(body)
    host_memory = machine_memory(total, job.memory)
    header = struct.pack(
        JOB_HEADER, JOB_MAGIC, JOB_VERSION, job.kind, total, job.memory, host_memory,
        JOB_TRACE * job.trace | JOB_TESTDEV * job.testdev | JOB_INPUT * job.input | JOB_LA57 * job.la57,
        1 + len(job.files),
        job.vcpus, job.host_cpus, 0,
    )
    return (header + table).ljust(header_size, b"\0") + body, host_memory // MIB
