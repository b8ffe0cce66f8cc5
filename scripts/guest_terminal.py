# SPDX-License-Identifier: Apache-2.0
"""What is typed into the guest, and the terminal it comes from. The way in is the machine's first serial
port, whose other end is a pseudo-terminal made here."""

import contextlib
import os
import pty
import termios
import tty

CTRL_A = 1
HELP = "Ctrl-A X leaves, Ctrl-A Ctrl-A types Ctrl-A"
_line_end = b"\n"


def message(data):
    """Lines for standard error, also while the terminal is raw."""
    data = data.replace(b"\n", _line_end)
    while data:
        data = data[os.write(2, data) :]


def is_ours(fd):
    """A terminal that this process may read: it is not in the background."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False


@contextlib.contextmanager
def raw(fd):
    """Every key goes to the guest: none is echoed, none is a signal."""
    global _line_end
    before = termios.tcgetattr(fd)
    try:
        _line_end = b"\r\n"
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        _line_end = b"\n"
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSANOW, before)


class Left(Exception):
    """The user has left, or the terminal is gone."""


class Keys:
    """Takes the escapes out of what is typed."""

    def __init__(self):
        self.escaped = False

    def take(self, data):
        typed = bytearray()
        for byte in data:
            if self.escaped:
                self.escaped = False
                if byte in b"xX":
                    raise Left
                if byte == CTRL_A:
                    typed.append(byte)
            elif byte == CTRL_A:
                self.escaped = True
            else:
                typed.append(byte)
        return bytes(typed)


class Line:
    """The serial line to the machine. It takes no more than the machine reads."""

    AHEAD = 4096

    def __init__(self, source, keys=None, after=None):
        self.source = source  # a file descriptor; -1 when it has ended
        self.keys = keys
        self.after = after  # nothing is typed before the guest has printed this
        self.pending = b""
        self.master, self.slave = pty.openpty()
        # The machine turns the echo off when it opens its end, and drops what was there before.
        tty.setraw(self.slave)
        attributes = termios.tcgetattr(self.slave)
        attributes[3] |= termios.ECHO
        termios.tcsetattr(self.slave, termios.TCSANOW, attributes)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self.opened = False

    def close(self):
        os.close(self.master)
        os.close(self.slave)

    def heard(self, text):
        if self.after and self.after in text:
            self.after = None

    def readable(self):
        wanted = self.source >= 0 and len(self.pending) < self.AHEAD
        return [self.source] if wanted else []

    def writable(self):
        if not self.opened:
            self.opened = not termios.tcgetattr(self.slave)[3] & termios.ECHO
        return [self.master] if self.pending and self.opened and not self.after else []

    def read(self):
        try:
            data = os.read(self.source, self.AHEAD)
        except OSError:
            data = b""
        if self.keys:
            if not data:
                raise Left
            data = self.keys.take(data)
        elif not data:
            self.source = -1
        self.pending += data

    def write(self):
        with contextlib.suppress(BlockingIOError):
            self.pending = self.pending[os.write(self.master, self.pending) :]
