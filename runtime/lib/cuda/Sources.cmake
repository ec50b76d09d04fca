# SPDX-License-Identifier: Apache-2.0
# The sources of the CUDA device: libTenonCuda compiles them with the toolkit, the tests' emulation
# with the host compiler.
set(TENON_CUDA_HOST_SOURCES
    Connections.cpp
    CudaDevice.cpp
    CudaLibrary.cpp
    Errors.cpp
    Expression.cpp
    MatMul.cpp
    MatMulAlgorithms.cpp
    Nccl.cpp
    Progress.cpp
    Staging.cpp
    Take.cpp)
set(TENON_CUDA_KERNEL_SOURCES
    Attention.cu
    Copy.cu
    Elementwise.cu
    Epilogue.cu
    Fill.cu
    GatherRows.cu
    Norm.cu
    Reduce.cu
    Rope.cu
    Softmax.cu)
list(TRANSFORM TENON_CUDA_HOST_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(TRANSFORM TENON_CUDA_KERNEL_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
