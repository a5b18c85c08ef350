# The target restate::restate: directories of the two headers, and the libraries that restate.h uses.
# One of your C files defines RESTATE_IMPLEMENTATION and includes restate.h.
#
# The same file works where `make install` puts it and where it lies in the sources:
#     find_package(restate)                                          # installed
#     find_package(restate PATHS DIR-OF-restate.h/examples/cmake)    # copied, submodule, FetchContent
#
# Before it, as you like: set(restate_WITHOUT_SERVER ON) and set(restate_WITHOUT_CJSON ON), for
# programs that define RESTATE_NO_SERVER and RESTATE_NO_CJSON.
#
# For typed services there are restate_PROTO_DIR, which has restate/options.proto, and the program
# restate::protoc-gen-restate, as in examples/shop/CMakeLists.txt. What lies in the sources is compiled;
# when cross-compiling, it is one that this machine has.
include(CMakeFindDependencyMacro)

# In the sources, or in a prefix, of which lib/ARCHITECTURE may be the directory of libraries.
set(restate_here "${CMAKE_CURRENT_LIST_DIR}")
find_path(restate_INCLUDE_DIR restate.h NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
    PATHS "${restate_here}/../.." "${restate_here}/../../../include" "${restate_here}/../../../../include")
find_path(restate_PROTO_DIR restate/options.proto NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
    PATHS "${restate_here}/../../proto" "${restate_INCLUDE_DIR}")
find_path(restate_NANOPB_INCLUDE_DIR pb.h PATH_SUFFIXES nanopb)
find_library(restate_NANOPB_LIBRARY NAMES protobuf-nanopb)
set(restate_FOUND TRUE)
foreach(restate_what restate_INCLUDE_DIR restate_NANOPB_INCLUDE_DIR restate_NANOPB_LIBRARY)
    if(NOT ${restate_what})
        set(restate_FOUND FALSE)
        set(restate_NOT_FOUND_MESSAGE
            "${restate_what} is not set: where is restate.h, or nanopb (Debian: libnanopb-dev)?")
    endif()
endforeach()

set(restate_MODULES)
if(NOT restate_WITHOUT_SERVER)
    list(APPEND restate_MODULES libnghttp2)
endif()
if(NOT restate_WITHOUT_CJSON)
    list(APPEND restate_MODULES libcjson)
endif()
set(restate_LIBRARIES ${restate_NANOPB_LIBRARY})
find_dependency(Threads)
list(APPEND restate_LIBRARIES Threads::Threads)
if(restate_MODULES)
    find_dependency(PkgConfig)
    pkg_check_modules(restate_DEPS QUIET IMPORTED_TARGET ${restate_MODULES})
    if(TARGET PkgConfig::restate_DEPS)
        list(APPEND restate_LIBRARIES PkgConfig::restate_DEPS)
    else()
        set(restate_FOUND FALSE)
        set(restate_NOT_FOUND_MESSAGE
            "restate.h needs ${restate_MODULES} (Debian: libnghttp2-dev libcjson-dev)")
    endif()
endif()

if(restate_FOUND AND NOT TARGET restate::restate)
    add_library(restate::restate INTERFACE IMPORTED)
    set_target_properties(restate::restate PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${restate_INCLUDE_DIR};${restate_NANOPB_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${restate_LIBRARIES}")
endif()

set(restate_plugin_source "${restate_here}/../../proto/protoc-gen-restate.c")
if(NOT TARGET restate::protoc-gen-restate)
    if(EXISTS "${restate_plugin_source}" AND NOT CMAKE_CROSSCOMPILING)
        add_executable(protoc-gen-restate EXCLUDE_FROM_ALL "${restate_plugin_source}")
        add_executable(restate::protoc-gen-restate ALIAS protoc-gen-restate)
    else()
        find_program(restate_PLUGIN protoc-gen-restate HINTS "${restate_INCLUDE_DIR}/../bin")
        if(restate_PLUGIN)
            add_executable(restate::protoc-gen-restate IMPORTED)
            set_target_properties(restate::protoc-gen-restate PROPERTIES IMPORTED_LOCATION "${restate_PLUGIN}")
        endif()
    endif()
endif()
