# SPDX-License-Identifier: Apache-2.0
"""What scripts/swap changes in axvm 0.8, as rules: the vCPU core in arch/x86_64/policy gives way to the crate in
rust-compat. Each place is found by its names. Where one is missing, or names something that the crate lacks, nothing
is changed."""

import os
import re
import tomllib
from pathlib import Path

from swap_rust import Source, Unknown

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = re.compile(r"0\.8\.\d+")
ARCH = "src/arch/x86_64"
MODULE = f"{ARCH}/mod.rs"
POLICY = f"{ARCH}/policy"
MEMORY = f"{ARCH}/control_memory.rs"
TARGET = "'cfg(target_arch = \"x86_64\")'"
FUNCTION = r"\bpub (?:const |unsafe )*fn (\w+)"


def source(path, shown=None):
    if not path.is_file():
        raise Unknown(f"{shown or path}: there is no such file")
    return Source(shown or path, path.read_text(encoding="utf-8"))


def manifest(path):
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Unknown(f"{path}: {error}") from error


# ---- Which axvm ----------------------------------------------------------------------------------------------------


def manifests_below(folder):
    for below, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "target")
        if "Cargo.toml" in files:
            yield Path(below) / "Cargo.toml"


def find_axvm(folder):
    """The folder of the package axvm: this one, or the only one in the workspace here."""
    root = manifest(folder / "Cargo.toml")
    name = root.get("package", {}).get("name")
    if name == "axvm":
        return folder
    if "workspace" not in root:
        raise Unknown(f"{folder}: the package {name} is neither axvm nor a workspace with it")
    named = re.compile(r"^\s*name\s*=\s*\"axvm\"", re.M)
    found = [path.parent for path in manifests_below(folder) if named.search(path.read_text(encoding="utf-8"))]
    found = [path for path in found if manifest(path / "Cargo.toml").get("package", {}).get("name") == "axvm"]
    if len(found) != 1:
        raise Unknown(
            f"{folder}: {len(found)} packages axvm in this workspace, and there should be one. "
            "Where axvm comes from the registry, copy it, and patch crates-io with the copy"
        )
    return found[0]


def check_version(axvm):
    version = manifest(axvm / "Cargo.toml")["package"].get("version")
    if not isinstance(version, str) or not VERSIONS.fullmatch(version):
        raise Unknown(
            f"{axvm}: axvm {version}. Known are 0.8.x; 0.7 takes x86_vcpu by a patch of crates-io (docs/swap.md)"
        )
    return version


# ---- Whether the crate has what this axvm uses ---------------------------------------------------------------------


def same(what, theirs, ours):
    for one, other, extra in ("axvm", "x86_vcpu", set(theirs) - set(ours)), ("x86_vcpu", "axvm", set(ours) - set(theirs)):
        if extra:
            raise Unknown(f"{what}: {one} has what {other} lacks: {', '.join(sorted(extra))}")


def compat(name):
    return source(ROOT / "rust-compat/src" / f"{name}.rs")


def exported():
    glue = compat("axvm")
    span = glue.body(r"\bpub use crate::\s*\{", "pub use crate")
    return set(glue.names(r"(\w+)", span)) | set(glue.names(r"\bpub trait (\w+)", (0, len(glue.code))))


def check_names(axvm):
    """Whatever the rest of axvm takes from the module is in the crate."""
    ours = exported()
    for path in sorted((axvm / "src").rglob("*.rs")):
        inside = path.relative_to(axvm).as_posix()
        if inside.startswith(POLICY + "/") or re.match(r"src/arch/(?!x86_64/|mod\.rs|current\.rs)", inside):
            continue
        code = Source(inside, path.read_text(encoding="utf-8")).code
        prefix = r"\b" if inside.startswith(ARCH) else r"\bx86_64::"
        for several, single in re.findall(prefix + r"policy::(?:\{([^}]*)\}|(\w+))", code):
            unknown = set(re.findall(r"\w+", several or single)) - ours
            if unknown:
                raise Unknown(f"{inside}: takes from {POLICY} what x86_vcpu lacks: {', '.join(sorted(unknown))}")


def check_interface(axvm):
    types, runtime = source(axvm / POLICY / "types.rs"), source(axvm / POLICY / "runtime.rs")
    host = source(axvm / POLICY / "host.rs")
    for enum, ours in ("X86VmExit", "exit"), ("X86VcpuError", "status"):
        same(enum, types.variants(enum), compat(ours).variants(enum))
    trait, glue = r"\bpub trait X86HostOps\b", compat("axvm")
    methods = [file.names(r"\bfn (\w+)", file.body(trait, "X86HostOps")) for file in (host, glue)]
    same("X86HostOps", *methods)
    vcpu, mine = r"\bimpl<[^{]*> X86Vcpu<[^{]*>\s*\{", compat("vcpu")
    lacking = set(runtime.names(FUNCTION, runtime.body(vcpu, "impl X86Vcpu")))
    lacking -= set(mine.names(FUNCTION, (0, len(mine.code))))
    if lacking:
        raise Unknown(f"{POLICY}/runtime.rs: methods of X86Vcpu that x86_vcpu lacks: {', '.join(sorted(lacking))}")


# ---- What changes --------------------------------------------------------------------------------------------------


def cut(text, *spans):
    """The text without these spans. A text in the place of one is its third member."""
    for start, end, *instead in sorted(spans, reverse=True):
        text = text[:start] + "".join(instead) + text[end:]
    return text


def new_vcpu(module):
    """A vCPU is made of its numbers and configuration: whatever allocates memory for it goes, and the arguments too."""
    what = "AxvmX86Vcpu::new"
    implementation = module.body(r"\bimpl VmArchVcpuOps for AxvmX86Vcpu\b", "impl VmArchVcpuOps")
    body = module.body(r"\bfn new\b", what, *implementation)
    call = module.one(r"\bX86Vcpu::new_with_config\(", what, *body)
    opening = call.end() - 1
    arguments = module.split(opening + 1, module.closing(opening))
    if len(arguments) != 5:
        module.fail(f"{what}: new_with_config has {len(arguments)} arguments, and there should be five")
    result = module.split(*body, ";")[-1]
    if not result[0] <= call.start() < result[1]:
        module.fail(f"{what}: new_with_config is not in its last expression")
    kept = ", ".join(module.text[begin:end] for begin, end in arguments[:3])
    return (body[0], result[0], "\n        "), (opening + 1, module.closing(opening), kept)


def change_module(axvm):
    module = source(axvm / MODULE, MODULE)
    argument = module.one(r"(\bX86Vcpu<\s*AxvmX86HostOps)\s*,\s*control_memory::ControlPages\s*>", "AxvmX86Vcpu")
    text = cut(
        module.text,
        module.item(r"\bmod control_memory\b", "mod control_memory"),
        (argument.end(1), argument.end() - 1),
        *new_vcpu(module),
        module.item(r"\bstruct AxvmX86PerCpu\b", "struct AxvmX86PerCpu"),
        module.item(r"\bimpl VmArchPerCpuOps for AxvmX86PerCpu\b", "impl VmArchPerCpuOps"),
    )
    left = re.search(r"\b(control_memory|ControlPages|ax_cpu::virtualization)\b", Source(MODULE, text).code)
    if left:
        module.fail(f"{left.group()} is also used where nothing is known to change")
    return re.sub(r"\n{3,}", "\n\n", text)


def change_manifest(axvm):
    path = axvm / "Cargo.toml"
    ours = manifest(path).get("target", {}).get(TARGET.strip("'"), {}).get("dependencies", {})
    if "x86_vlapic" not in ours or "x86_vcpu" in ours:
        raise Unknown(f"{path}: x86_64 should need x86_vlapic, and not x86_vcpu")
    return (
        path.read_text(encoding="utf-8").rstrip("\n") + f"\n\n[target.{TARGET}.dependencies.x86_vcpu]\n"
        f'path = "{ROOT}/rust-compat"\nfeatures = ["axvm"]\n'
    )


def change_workspace(folder):
    """Where the workspace has x86_vlapic itself, the crate takes that one, too: its types must be the same."""
    path = folder / "Cargo.toml"
    root = manifest(path)
    vlapic = root.get("workspace", {}).get("dependencies", {}).get("x86_vlapic")
    if not isinstance(vlapic, dict) or "path" not in vlapic:
        return {}
    patched = root.get("patch", {}).get("crates-io", {}).get("x86_vlapic")
    if patched is not None:
        return {}
    text = path.read_text(encoding="utf-8").rstrip("\n")
    return {"Cargo.toml": f'{text}\n\n[patch.crates-io.x86_vlapic]\npath = "{vlapic["path"]}"\n'}


def changes(folder):
    """The version of axvm, and what each file in the folder becomes: a text, or None for one that goes."""
    axvm = find_axvm(folder)
    version = check_version(axvm)
    if (axvm / f"{POLICY}.rs").exists():
        raise Unknown(f"{axvm}: there is {POLICY}.rs already")
    check_interface(axvm)
    check_names(axvm)
    changed = {path.relative_to(axvm).as_posix(): None for path in sorted((axvm / POLICY).rglob("*")) if path.is_file()}
    changed |= {
        MEMORY: None,
        f"{POLICY}.rs": Path(__file__).with_suffix(".rs").read_text(encoding="utf-8"),
        MODULE: change_module(axvm),
        "Cargo.toml": change_manifest(axvm),
    }
    source(axvm / MEMORY, MEMORY)
    above = axvm.relative_to(folder)
    changed = {(above / path).as_posix(): text for path, text in changed.items()}
    return version, change_workspace(folder) | changed
