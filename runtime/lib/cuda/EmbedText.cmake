# SPDX-License-Identifier: Apache-2.0
# Puts the headers that NVRTC reads into the library, as texts.
function(tenon_embed_text target)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/EmbeddedText.cpp)
  set(content "namespace tenon::runtime::cuda {\n")
  foreach(pair cudaPlatformText:platform/CudaPlatform.h valuesText:Values.h
               elementwiseKernelText:ElementwiseKernel.h)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 name)
    list(GET pair 1 file)
    set(file ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} text)
    string(APPEND content "extern const char *const ${name};\n"
                          "const char *const ${name} = R\"tenon(${text})tenon\";\n")
  endforeach()
  string(APPEND content "} // namespace tenon::runtime::cuda\n")
  file(CONFIGURE OUTPUT ${source} CONTENT "${content}" @ONLY)
  target_sources(${target} PRIVATE ${source})
endfunction()
