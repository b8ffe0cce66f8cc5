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

# Debian's cloud kernel, unpacked by scripts/setup; empty when it is not there.
guest_kernel() {
	[ ! -d "$CACHE/linux/boot" ] || find "$CACHE/linux/boot" -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -n 1
}
GUEST_KERNEL=${GUEST_KERNEL:-$(guest_kernel)}
GUEST_MEMTEST=$CACHE/memtest86+/boot/memtest86+x64.bin
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

# build_targets [TARGET...]: configures $BUILD once and builds (everything by default). One at a time.
build_targets() (
	mkdir -p "$BUILD" && exec 9>"$BUILD/.lock" && flock 9 || return
	if [ ! -f "$BUILD/build.ninja" ]; then
		run_quietly cmake -G Ninja -S "$ROOT" -B "$BUILD" || return
	fi
	run_quietly ninja --quiet -C "$BUILD" "$@"
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
