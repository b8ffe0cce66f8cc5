# SPDX-License-Identifier: Apache-2.0
# cmake -DBIN=image.bin -DROM=image.rom -DELF=image.elf -DSTUB=rom.S -DCC=cc -DOBJCOPY=objcopy -DNM=nm -P make-rom.cmake
# Wraps a flat image into a ROM of the smallest size that machines take: a power of two from 64 KiB on.
file(SIZE ${BIN} payload)
set(size 65536)
math(EXPR need "${payload} + 256")
while(size LESS need)
  math(EXPR size "${size} * 2")
endwhile()
if(size GREATER 2097152)
  message(FATAL_ERROR "${BIN}: ${payload} bytes do not fit into a ROM of 2 MiB")
endif()
math(EXPR base "0x100000000 - ${size}" OUTPUT_FORMAT HEXADECIMAL)
execute_process(COMMAND ${NM} ${ELF} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "([0-9a-f]+) T _start\n" _ "${symbols}")
set(entry "$0x${CMAKE_MATCH_1}")
execute_process(
  COMMAND ${CC} -nostdlib -static -Wl,-Ttext=${base} -Wl,-e,0 -Wl,--build-id=none -DROM_SIZE=${size}
          -DPAYLOAD_SIZE=${payload} "-DPAYLOAD=\"${BIN}\"" -DENTRY_OFFSET=${entry} ${STUB} -o ${ROM}.o
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${OBJCOPY} -O binary -j .text ${ROM}.o ${ROM} COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE ${ROM}.o)
