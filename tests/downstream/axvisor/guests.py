# SPDX-License-Identifier: Apache-2.0
"""AxVisor has its guests' configurations inside, as text, and builds for a minute. So one image has room for every guest.
guests.py room: a configuration, from standard input, with that room; guests.py put IMAGE [CONFIGURATION]...: the image, to
standard output, with these configurations in its rooms. A room without one is no TOML, and AxVisor passes it over."""

import re
import sys
from pathlib import Path

SIZE = 1536
MARK = "# room of {} bytes\n"
NONE = "no guest"


def fill(text):
    """The text and spaces, in all as long as a room."""
    if len(text) > SIZE:
        sys.exit(f"guests.py: a configuration of {len(text)} bytes does not fit")
    return text.ljust(SIZE - 1) + "\n"


def room(text):
    return fill(MARK.format(SIZE) + text)


def put(image, configurations):
    """In the order of their guests' numbers."""
    found = []
    for match in re.finditer(re.escape(MARK.format(SIZE).encode()), image):
        text = image[match.start() : match.start() + SIZE].decode()
        found.append((int(re.search(r"^id = (\d+)$", text, re.M).group(1)), match.start()))
    wanted = {int(re.search(r"^id = (\d+)$", text, re.M).group(1)): text for text in configurations}
    if not set(wanted) <= {number for number, _ in found}:
        sys.exit(f"guests.py: rooms for {sorted(found)}, guests {sorted(wanted)}")
    for number, start in found:
        text = fill(wanted.get(number, NONE)).encode()
        image = image[:start] + text + image[start + SIZE :]
    return image


if sys.argv[1] == "room":
    sys.stdout.write(room(sys.stdin.read()))
else:
    texts = [Path(name).read_text(encoding="utf-8") for name in sys.argv[3:]]
    sys.stdout.buffer.write(put(Path(sys.argv[2]).read_bytes(), texts))
