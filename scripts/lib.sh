# SPDX-License-Identifier: Apache-2.0
# Sourced by the other scripts: where things are, and how to build them.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${X86VCPU_BUILD:-$ROOT/build}
if [ -n "${XDG_CACHE_HOME:-}" ]; then
	CACHE=$XDG_CACHE_HOME/x86vcpu
elif [ -n "${HOME:-}" ]; then
	CACHE=$HOME/.cache/x86vcpu
else
	CACHE=$BUILD/cache
fi

# Where rustup puts Rust, if nobody's PATH says so yet.
command -v cargo >/dev/null || [ ! -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ] ||
	PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# newest NAME-PATTERN FOLDER: the file of the highest version there; nothing when there is none.
newest() {
	[ ! -d "$2" ] || find "$2" -name "$1" | sort -V | tail -n 1
}

# The distribution's kernel and memtest86+, unpacked by scripts/setup; empty when they are not there.
guest_kernel() {
	newest 'vmlinuz-*' "$CACHE/linux/boot"
}

guest_memtest() {
	newest '*86+x64*' "$CACHE/memtest86+/boot"
}
GUEST_KERNEL=${GUEST_KERNEL:-$(guest_kernel)}
GUEST_MEMTEST=${GUEST_MEMTEST:-$(guest_memtest)}
GUEST_MACH=$CACHE/gnumach/boot/gnumach-1.8-486.gz

HARDWARE_FONT=$CACHE/console-setup/usr/share/consolefonts/Lat15-VGA16.psf.gz

die() {
	local status=$1
	shift
	echo "$(basename "$0"): $*" >&2
	exit "$status"
}

# run_quietly COMMAND...: shows its output only if it fails.
run_quietly() {
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 </dev/null || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

# show_progress LABEL: standard input has lines "PERCENT TEXT"; shows them in one line of a terminal, or four of a log.
show_progress() {
	local percent text shown=-1 drawn=
	while read -r percent text; do
		if [ -t 2 ]; then
			printf '\r%s: %3d%% %.40s\033[K' "$1" "$percent" "$text" >&2
			drawn=1
		elif [ $((percent / 25)) -gt "$shown" ]; then
			shown=$((percent / 25))
			echo "$1: $percent% $text" >&2
		fi
	done
	[ -z "$drawn" ] || printf '\r\033[K' >&2
}

# Splits ninja's standard output: its steps "[N/ALL] TEXT" are progress, everything goes to the file $1.
ninja_status() {
	awk -v log_file="$1" '
		{ print >>log_file }
		match($0, /^\[[0-9]+\/[0-9]+\]/) {
			split(substr($0, 2, RLENGTH - 2), step, "/")
			if (step[2] < 5)
				next # only looks whether there is something to do
			printf "%d step %d of %d\n", 100 * step[1] / step[2], step[1], step[2]
			fflush()
		}'
}

# run_ninja [TARGET...]: builds in $BUILD; shows progress, and ninja's output only if it fails.
run_ninja() {
	local log status=0
	log=$(mktemp)
	(
		set -o pipefail
		ninja -C "$BUILD" "$@" </dev/null 2>&1 | ninja_status "$log" | show_progress building
	) || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

has_test_libraries() {
	pkg-config --exists check && echo '#include <Zydis/Zydis.h>' | gcc -E -
} >/dev/null 2>&1

# The tests are built where the libraries that they link are installed.
configure() {
	local tests=OFF
	! has_test_libraries || tests=ON
	if [ ! -f "$BUILD/build.ninja" ] || ! grep -q "^X86VCPU_TESTS:BOOL=$tests$" "$BUILD/CMakeCache.txt"; then
		echo "building: configuring $BUILD" >&2
		run_quietly cmake -G Ninja -S "$ROOT" -B "$BUILD" "-DX86VCPU_TESTS=$tests"
	fi
}

# build_targets [TARGET...]: configures $BUILD and builds (everything by default). One at a time.
build_targets() (
	mkdir -p "$BUILD" && exec 9>"$BUILD/.lock" && flock 9 || return
	configure && run_ninja "$@"
)

# build_rust_vmm: examples/rust-vmm, and the ROM that it starts from: $BUILD/rust-vmm.rom.
build_rust_vmm() (
	local cargo=$BUILD/cargo-vmm platform=$ROOT/examples/platform
	local elf=$cargo/x86_64-unknown-none/release/rust-vmm image=$BUILD/rust-vmm.bin rom=$BUILD/rust-vmm.rom
	command -v cargo >/dev/null || die 1 "the VMM in Rust needs cargo: run scripts/setup --rust"
	mkdir -p "$BUILD" && exec 9>"$BUILD/.lock" && flock 9 || return
	cd "$ROOT/examples/rust-vmm" || return
	unset RUSTFLAGS CARGO_BUILD_TARGET
	CARGO_TARGET_DIR=$cargo run_quietly cargo build --quiet --locked --release || return
	[ ! "$rom" -nt "$elf" ] || [ ! "$rom" -nt "$platform/rom.S" ] || return 0
	run_quietly objcopy -O binary -j .text -j .data "$elf" "$image" &&
		run_quietly cmake -DBIN="$image" -DROM="$rom" -DELF="$elf" -DSTUB="$platform/rom.S" -DCC=gcc \
			-DOBJCOPY=objcopy -DNM=nm -P "$platform/make-rom.cmake"
)
