# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=... -DOBJECT=... -DCALLS=... -P: fails when OBJECT needs a function that does not match CALLS, as it does when a
# flag in CFLAGS instruments the code.
execute_process(COMMAND ${NM} -u --format=posix ${OBJECT} OUTPUT_VARIABLE undefined COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+ U" undefined "${undefined}")
foreach(name IN LISTS undefined)
  string(REPLACE " U" "" name "${name}")
  if(NOT name MATCHES "^(${CALLS}|x86vcpu_.*|_GLOBAL_OFFSET_TABLE_)$")
    file(REMOVE ${OBJECT})
    message(FATAL_ERROR "the C flags make the library call ${name}, which it must not. X86VCPU_KERNEL "
                        "(docs/porting.md) has the ways in which a kernel may have its code compiled.")
  endif()
endforeach()
