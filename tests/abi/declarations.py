#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the C headers declare: constants, structures, functions.

  declarations.py INCLUDE abi              prints a C file whose debug information describes the interface
  declarations.py INCLUDE constants        prints the constants and their values

INCLUDE is the folder that holds x86vcpu/x86vcpu.h.
"""
import pathlib
import re
import sys



class Declarations:
    def __init__(self):
        self.constants = {}   # name: (type, value)
        self.structs = {}     # name: [(member, declaration)], [] when opaque
        self.unions = {}      # (struct, member): [(member, declaration)]
        self.functions = {}   # name: (result, [(name, declaration)])
        self.pointers = {}    # typedef of a function pointer: (result, parameters)


def strip(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return text.replace("\\\n", " ")


def evaluate(expression, known):
    text = re.sub(r"U?INT(?:32|64)_C\(([^)]*)\)", r"\1", expression)
    text = text.replace("UINT64_MAX", str(2**64 - 1)).replace("UINT32_MAX", str(2**32 - 1))
    text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", text)
    text = re.sub(r"\bX86VCPU_\w+", lambda match: str(known[match.group(0)][1]), text)
    if not re.fullmatch(r"[\d\sxXa-fA-F()<>|+~&-]+", text):
        raise ValueError(expression)
    return eval(text)  # digits and operators only


def constant_type(expression, value):
    if "INT64" in expression or "ull" in expression.lower() or value >= 2**32:
        return "u64"
    return "i32" if value < 0 else "u32"


def split_members(body):
    """Splits at the semicolons and commas that stand outside of parentheses and braces."""
    members, depth, current = [], 0, ""
    for char in body:
        depth += (char in "({") - (char in ")}")
        if char == ";" and depth == 0:
            members.append(" ".join(current.split()))
            current = ""
        else:
            current += char
    return [member for member in members if member]


def expand(member):
    """'uint64_t cr0, cr2' are two members."""
    if "(" in member or "," not in member:
        return [member]
    first, *others = [part.strip() for part in member.split(",")]
    kind = first.rsplit(" ", 1)[0]
    return [first] + [f"{kind} {other}" for other in others]


def member_name(declaration):
    pointer = re.search(r"\(\*(\w+)\)\s*\(", declaration)
    if pointer:
        return pointer.group(1)
    return re.search(r"(\w+)\s*(?:\[[^\]]*\])?$", declaration).group(1)


def parameters(text):
    depth, parts, current = 0, [], ""
    for char in text + ",":
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(" ".join(current.split()))
            current = ""
        else:
            current += char
    parts = [part for part in parts if part and part != "void"]
    return [(member_name(part), part) for part in parts]


def braces(text, start):
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return position
    raise ValueError("unbalanced braces")


def read_struct(found, name, body):
    union = re.search(r"union\s*\w*\s*\{", body)
    if union:
        end = braces(body, body.index("{", union.start()))
        inner = body[body.index("{", union.start()) + 1:end]
        rest = body[end + 1:]
        member = rest[:rest.index(";")].strip()
        found.unions[name, member] = [(member_name(m), m) for m in split_members(inner)]
        body = body[:union.start()] + f" union u {member}" + rest[rest.index(";"):]
    members = [part for member in split_members(body) for part in expand(member)]
    found.structs[name] = [(member_name(member), member) for member in members]


def read(text, found):
    text = strip(text)
    for name, value in re.findall(r"^#define[ \t]+((?:FFI_)?X86VCPU_\w+)[ \t]+(\S[^\n]*)$", text, re.M):
        try:
            number = evaluate(value, found.constants)
        except (ValueError, KeyError, SyntaxError):
            continue
        found.constants[name] = (constant_type(value, number), number)
    text = re.sub(r"^#[^\n]*$", "", text, flags=re.M)
    text = re.sub(r'extern "C" \{', "", text)
    # Inline functions are C's alone.
    while (inline := re.search(r"static inline[^{;]*\{", text)):
        end = braces(text, text.index("{", inline.start()))
        text = text[:inline.start()] + text[end + 1:]
    for body in re.findall(r"enum\s+\w+\s*\{(.*?)\}\s*;", text, re.S):
        values = [(n, evaluate(v, found.constants)) for n, v in re.findall(r"(X86VCPU_\w+)\s*=\s*([^,]+)", body)]
        kind = "i32" if any(value < 0 for _, value in values) else "u32"
        found.constants.update({name: (kind, value) for name, value in values})
    text = re.sub(r"enum\s+\w+\s*\{.*?\}\s*;", "", text, flags=re.S)
    for result, name, args in re.findall(r"typedef\s+([\w ]+?)\s*\(\*(\w+)\)\s*\(([^;]*)\)\s*;", text):
        found.pointers[name] = (result, parameters(args))
    text = re.sub(r"typedef[^;{]*;", "", text)
    while (struct := re.search(r"(?:typedef\s+)?struct\s+(\w+)\s*\{", text)):
        end = braces(text, text.index("{", struct.start()))
        read_struct(found, struct.group(1), text[text.index("{", struct.start()) + 1:end])
        text = text[:struct.start()] + text[text.index(";", end) + 1:]
    for name in re.findall(r"\bstruct\s+(\w+)\s*;", text):
        found.structs.setdefault(name, [])
    for result, name, args in re.findall(r"((?:const\s+)?[\w]+[\s*]+)(x86vcpu_\w+)\s*\(([^;{}]*)\)\s*;", text):
        found.functions[name] = (" ".join(result.split()), parameters(args))


def public(include):
    found = Declarations()
    folder = pathlib.Path(include) / "x86vcpu"
    everything = (folder / "x86vcpu.h").read_text()
    names = re.findall(r'#include "x86vcpu/(\w+\.h)"', everything)
    missing = {path.name for path in folder.glob("*.h")} - set(names) - {"x86vcpu.h"}
    if missing:
        sys.exit(f"declarations.py: x86vcpu.h does not include {', '.join(sorted(missing))}")
    # In this order every constant is known before it is used.
    for name in ("version.h", "status.h", "regs.h", "host.h", "exit.h", "vcpu.h"):
        names.remove(name)
        read((folder / name).read_text(), found)
    for name in names:
        read((folder / name).read_text(), found)
    return found


# ---- The record of the interface ----------------------------------------------------------------------

def print_abi(found):
    print("#include <x86vcpu/x86vcpu.h>")
    for name, members in sorted(found.structs.items()):
        if members:
            print(f"struct {name} abi_{name};")
    for name in sorted(found.functions):
        print(f"__typeof__({name}) *const abi_{name} = {name};")


def print_constants(found):
    for name, (_, value) in sorted(found.constants.items()):
        print(name, f"0x{value:x}" if value > 0xffff else value)


def main():
    match sys.argv[1:]:
        case [include, "abi"]:
            print_abi(public(include))
        case [include, "constants"]:
            print_constants(public(include))
        case _:
            sys.exit(__doc__)


main()
