# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts of this folder: the compiler that the hypervisors need, and their sources.

# Their releases use unstable features as they were at that time.
TOOLCHAIN=${X86VCPU_NIGHTLY:-nightly-2026-09-10}
patch="patch.crates-io.x86_vcpu.path='$ROOT/rust-compat'"
export CARGO_TERM_COLOR=never
unset RUSTFLAGS CARGO_BUILD_TARGET RUSTUP_TOOLCHAIN

passed=0 failed=0

# A file of the script's own.
file() { # name
	echo "$work/${0##*/}-$1"
}

# check NAME COMMAND...: one line; the end of the command's output if it fails.
check() {
	local name=$1
	shift
	if "$@" >"$(file output)" 2>&1 </dev/null; then
		passed=$((passed + 1))
		echo "ok   $name"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		tail -n 60 "$(file output)" | sed 's/^/    /'
		return 1
	fi
}

# Installs it if it is missing.
has_toolchain() {
	command -v rustup || {
		echo "no rustup (https://rustup.rs): scripts/setup --rust installs it where there is no cargo"
		return 1
	}
	rustup run "$TOOLCHAIN" rustc --version || rustup toolchain install "$TOOLCHAIN" --profile minimal || {
		echo "rustup cannot install $TOOLCHAIN; without it nothing here can be built. X86VCPU_NIGHTLY names another."
		return 1
	}
	rustup component add --toolchain "$TOOLCHAIN" rust-src || {
		echo "rustup cannot install rust-src of $TOOLCHAIN; X86VCPU_NIGHTLY names another toolchain."
		return 1
	}
}

# unpack CRATE VERSION FOLDER: the registry's sources, to be changed.
unpack() {
	local fetch=$work/fetch-$1 source
	[ ! -d "$3" ] || return 0
	mkdir -p "$fetch/src" "$(dirname "$3")" && : >"$fetch/src/lib.rs" &&
		printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
			"$1" "$2" >"$fetch/Cargo.toml" &&
		(cd "$fetch" && cargo "+$TOOLCHAIN" fetch && cargo "+$TOOLCHAIN" metadata --format-version 1 >"$fetch/metadata") &&
		source=$(python3 -c 'import json, os, sys
for package in json.load(open(sys.argv[1]))["packages"]:
    if [package["name"], package["version"]] == sys.argv[2:]:
        print(os.path.dirname(package["manifest_path"]))' "$fetch/metadata" "$1" "$2") &&
		[ -d "$source" ] && rm -rf "$3.new" && cp -r "$source" "$3.new" && mv "$3.new" "$3"
}

totals() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" != 0 ]
}
