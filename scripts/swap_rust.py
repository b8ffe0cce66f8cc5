# SPDX-License-Identifier: Apache-2.0
"""Finds items in Rust source by their headers: enough of the grammar for scripts/swap, and no more."""

import re

# What may contain a brace or a word that is none: comments, strings, raw strings, characters. Lifetimes are no characters.
OPAQUE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#*)".*?"(?P=hashes)|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|\\'|[^\\'\n])'""",
    re.S,
)
PAIRS = {"{": "}", "(": ")", "[": "]"}


class Unknown(Exception):
    """The source is not as expected; the text says where and how."""


class Source:
    """A file and its text. `code` has the same length, with spaces for whatever is no code."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.code = OPAQUE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)

    def fail(self, why):
        raise Unknown(f"{self.path}: {why}")

    def one(self, pattern, what, start=0, end=None):
        """The only match of the pattern in the code."""
        found = list(re.compile(pattern).finditer(self.code, start, len(self.code) if end is None else end))
        if len(found) != 1:
            self.fail(f"{what}: {len(found)} places, and there should be one")
        return found[0]

    def closing(self, opening):
        """The position of the bracket that ends the one at `opening`."""
        stack = []
        for position in range(opening, len(self.code)):
            character = self.code[position]
            if character in PAIRS:
                stack.append(PAIRS[character])
            elif stack and character == stack[-1]:
                stack.pop()
                if not stack:
                    return position
        return self.fail(f"the bracket at {opening} is not closed")

    def body(self, header, what, start=0, end=None):
        """Begin and end of what stands between the braces of the item with this header."""
        opening = self.code.index("{", self.one(header, what, start, end).end() - 1)
        return opening + 1, self.closing(opening)

    def item(self, header, what):
        """Begin and end of an item with a body or a semicolon, with its comments and attributes and its last line's end."""
        start = self.text.rfind("\n", 0, self.one(header, what).start()) + 1
        position = start
        while self.code[position] not in "{;":
            position = self.closing(position) + 1 if self.code[position] in "([" else position + 1
        end = self.closing(position) if self.code[position] == "{" else position
        above = self.text[:start].splitlines(keepends=True)
        while above and re.match(r"\s*(///|//|#\[)", above[-1]):
            start -= len(above.pop())
        return start, self.text.find("\n", end) + 1

    def split(self, start, end, separator=","):
        """The parts of this span of code that separators outside brackets divide, as spans without space around."""
        parts, begin, position = [], start, start
        while position < end:
            if self.code[position] in PAIRS:
                position = self.closing(position)
            elif self.code[position] == separator:
                parts.append((begin, position))
                begin = position + 1
            position += 1
        parts.append((begin, end))
        trimmed = []
        for begin, end in parts:
            code = self.code[begin:end]
            if code.strip():
                trimmed.append((begin + len(code) - len(code.lstrip()), begin + len(code.rstrip())))
        return trimmed

    def names(self, pattern, span):
        """What the pattern's group finds in the code of a span, sorted."""
        return sorted(set(re.findall(pattern, self.code[span[0] : span[1]])))

    def variants(self, enum):
        """The variants of an enumeration with the names of their fields: a sorted list of texts."""
        found = []
        for start, end in self.split(*self.body(rf"\benum {enum}\b", f"enum {enum}")):
            variant = re.sub(r"#\[[^\]]*\]\s*", "", self.code[start:end])
            fields = re.findall(r"(?<![:\w])(\w+)\s*:(?!:)", variant)
            found.append(" ".join([re.match(r"\w+", variant).group(), *sorted(fields)]))
        return sorted(found)
