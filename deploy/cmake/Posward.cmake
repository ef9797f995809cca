# How every Posward target is built: one place for flags, one function per kind of target.
include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # _GNU_SOURCE interfaces: SEQPACKET peers, posix_spawn actions, memfd
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

set(POSWARD_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")
option(POSWARD_TESTS "Build the tests, the fuzz targets and the benchmarks" ON)
option(POSWARD_COVERAGE "Count line coverage with gcov" OFF)
option(POSWARD_FUZZ "Build the libFuzzer targets (clang only)" OFF)

add_library(posward_flags INTERFACE)
target_compile_definitions(posward_flags INTERFACE _GNU_SOURCE POSWARD_VERSION="${PROJECT_VERSION}")
target_compile_options(posward_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wundef -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wformat=2 -Wwrite-strings -Wswitch-enum -Wno-missing-field-initializers
  -fstack-protector-strong -fno-common)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(posward_flags INTERFACE -Wno-format-truncation) # notes and log lines are cut on purpose
endif()
target_link_options(posward_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(POSWARD_SANITIZE)
  target_compile_options(posward_flags INTERFACE -fsanitize=${POSWARD_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(posward_flags INTERFACE -fsanitize=${POSWARD_SANITIZE})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(posward_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(POSWARD_FUZZ)
  target_compile_options(posward_flags INTERFACE -fsanitize=fuzzer-no-link) # the fuzzer steers by the libraries' coverage
endif()
if(POSWARD_COVERAGE)
  target_compile_options(posward_flags INTERFACE --coverage)
  target_link_options(posward_flags INTERFACE --coverage)
endif()

# posward_library(NAME SOURCES file... [LINKS target...] [PRIVATE_LINKS target...])
# A static library posward::NAME. LINKS are libraries that NAME's headers include; PRIVATE_LINKS are its own affair.
# Headers are included by their path from the folders given here: the source root and proto/.
function(posward_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(posward_${name} STATIC ${ARG_SOURCES})
  add_library(posward::${name} ALIAS posward_${name})
  target_include_directories(posward_${name} PUBLIC "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/proto")
  target_link_libraries(posward_${name} PUBLIC ${ARG_LINKS} PRIVATE posward_flags ${ARG_PRIVATE_LINKS})
endfunction()

# posward_program(NAME SOURCES file... LINKS target...): an installed executable.
function(posward_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/proto")
  target_link_libraries(${name} PRIVATE posward_flags ${ARG_LINKS})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# posward_test(NAME SOURCES file... LINKS target... [TIMEOUT seconds] [LABELS label...]): a Check suite run by CTest;
# exit status 77 says that it had nothing to test.
function(posward_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/proto")
  target_link_libraries(${name} PRIVATE posward_flags ${ARG_LINKS} posward::test_suite PkgConfig::check)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/bin")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" SKIP_RETURN_CODE 77
    ENVIRONMENT "POSWARD_SOURCE=${CMAKE_SOURCE_DIR};POSWARD_BUILD=${CMAKE_BINARY_DIR}")
endfunction()

# posward_fuzz(NAME SOURCES file... LINKS target...): a libFuzzer target, under the fuzz preset only. As a test it runs
# for a bounded number of inputs from tests/fuzz/seeds/NAME; for a long run call the binary with a corpus folder.
function(posward_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  if(NOT POSWARD_FUZZ)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/proto")
  target_link_libraries(${name} PRIVATE posward_flags ${ARG_LINKS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  set(corpus "${CMAKE_BINARY_DIR}/corpus/${name}")
  file(MAKE_DIRECTORY "${corpus}")
  set(seeds "${CMAKE_SOURCE_DIR}/tests/fuzz/seeds/${name}")
  if(NOT IS_DIRECTORY "${seeds}")
    message(FATAL_ERROR "fuzz target ${name} has no seeds in ${seeds}")
  endif()
  add_test(NAME ${name} COMMAND ${name} -runs=20000 -max_total_time=20 -timeout=10 "${corpus}" "${seeds}")
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()

pkg_check_modules(protobuf-c REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(grpc REQUIRED IMPORTED_TARGET grpc)
pkg_check_modules(p11-kit REQUIRED IMPORTED_TARGET p11-kit-1)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(libmicrohttpd REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(nettle REQUIRED IMPORTED_TARGET hogweed nettle gmp)
pkg_check_modules(libcrypto REQUIRED IMPORTED_TARGET libcrypto)
if(POSWARD_TESTS)
  pkg_check_modules(check REQUIRED IMPORTED_TARGET check)
endif()

# posward_messages(NAME ROOT dir SYMBOL name HEADER path PROTOS import-path... [LINKS target...])
# A static library posward::NAME of protobuf-c's generated code, and the descriptor set of all PROTOS with their imports
# as the array SYMBOL that HEADER (in the source tree) declares. Import paths are relative to ROOT or /usr/include.
# "#include <dir>/<name>.pb-c.h" finds the generated headers. Generated code is not held to our warnings.
function(posward_messages name)
  cmake_parse_arguments(ARG "" "ROOT;SYMBOL;HEADER" "PROTOS;LINKS" ${ARGN})
  find_program(PROTOC_C protoc-c REQUIRED)
  find_program(PROTOC protoc REQUIRED)
  set(out "${CMAKE_BINARY_DIR}/generated/${name}")
  file(MAKE_DIRECTORY "${out}")
  set(inputs)
  set(sources)
  set(headers)
  foreach(proto IN LISTS ARG_PROTOS)
    set(input "${ARG_ROOT}/${proto}")
    if(NOT EXISTS "${input}")
      set(input "/usr/include/${proto}")
    endif()
    list(APPEND inputs "${input}")
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem "${proto}")
    list(APPEND sources "${out}/${stem}.c")
    list(APPEND headers "${out}/${stem}.h")
  endforeach()
  # One run for all: files that import each other change together.
  add_custom_command(OUTPUT ${sources} ${headers}
    COMMAND ${PROTOC_C} -I "${ARG_ROOT}" -I /usr/include --c_out=${out} ${ARG_PROTOS}
    DEPENDS ${inputs} VERBATIM COMMENT "protoc-c: ${name}")
  add_custom_command(OUTPUT "${out}/${name}.desc"
    COMMAND ${PROTOC} -I "${ARG_ROOT}" -I /usr/include --include_imports
      --descriptor_set_out=${out}/${name}.desc ${ARG_PROTOS}
    DEPENDS ${inputs} VERBATIM COMMENT "protoc: descriptor set ${name}")
  set(embed "${CMAKE_SOURCE_DIR}/deploy/cmake/EmbedBytes.cmake")
  add_custom_command(OUTPUT "${out}/${name}_descriptors.c"
    COMMAND ${CMAKE_COMMAND} -DINPUT=${out}/${name}.desc -DOUTPUT=${out}/${name}_descriptors.c
      -DHEADER=${ARG_HEADER} -DSYMBOL=${ARG_SYMBOL} -P ${embed}
    DEPENDS "${out}/${name}.desc" "${embed}" VERBATIM)
  add_library(posward_${name} STATIC ${sources} ${headers} "${out}/${name}_descriptors.c")
  add_library(posward::${name} ALIAS posward_${name})
  target_include_directories(posward_${name} SYSTEM PUBLIC "${out}")
  target_include_directories(posward_${name} PUBLIC "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/proto")
  target_compile_options(posward_${name} PRIVATE -w)
  if(POSWARD_SANITIZE)
    target_compile_options(posward_${name} PRIVATE -fsanitize=${POSWARD_SANITIZE} -fno-omit-frame-pointer)
  endif()
  target_link_libraries(posward_${name} PUBLIC PkgConfig::protobuf-c ${ARG_LINKS})
endfunction()
