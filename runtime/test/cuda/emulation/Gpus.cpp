// SPDX-License-Identifier: Apache-2.0
// Gpus: what the emulated GPUs say of themselves, errors by name, and launches.
// TENON_EMULATION_GPUS (8), TENON_EMULATION_MEMORY (bytes per GPU, 4 GiB),
// TENON_EMULATION_CAPABILITY (9.0), TENON_EMULATION_PROCESSORS (8) and TENON_EMULATION_DRIVER=none
// describe the machine. They are read first of all and again by cudaGetDeviceCount() and
// cudaDriverGetVersion(), nowhere else: a rank may change the environment while others run.
#include "CudaPlatform.h"
#include "Emulation.h"

#include <cstdio>
#include <cstdlib>
#include <map>

namespace tenon::emulation {
namespace {

constexpr size_t kSharedDefault = 48 << 10, kSharedMost = 227 << 10;

thread_local cudaError_t lastError = cudaSuccess;
thread_local int gpu = 0;

std::mutex functionsMutex;
std::map<const void *, size_t> &sharedLimits() {
  static auto *all = new std::map<const void *, size_t>;
  return *all;
}

struct Machine {
  std::atomic<bool> driver = true;
  std::atomic<int> gpus = 8, major = 9, minor = 0, processors = 8;
  std::atomic<size_t> memory = 0;
  Machine() { read(); }
  void read() {
    const char *text = std::getenv("TENON_EMULATION_DRIVER");
    driver = !text || std::strcmp(text, "none") != 0;
    gpus = int(setting("TENON_EMULATION_GPUS", 8));
    memory = size_t(setting("TENON_EMULATION_MEMORY", int64_t(4) << 30));
    processors = int(setting("TENON_EMULATION_PROCESSORS", 8));
    text = std::getenv("TENON_EMULATION_CAPABILITY");
    int first = 9, second = 0;
    if (text)
      (void)std::sscanf(text, "%d.%d", &first, &second);
    major = first, minor = second;
  }
};

Machine &machine() {
  static Machine *one = new Machine;
  return *one;
}

} // namespace

int64_t setting(const char *name, int64_t otherwise) {
  const char *text = std::getenv(name);
  return text && *text ? std::strtoll(text, nullptr, 10) : otherwise;
}

cudaError_t fail(cudaError_t error) {
  if (error != cudaSuccess)
    lastError = error;
  return error;
}

int gpuCount() { return machine().gpus; }
size_t memoryOfGpu() { return machine().memory; }

cudaError_t driver() {
  if (!machine().driver)
    return cudaErrorInsufficientDriver;
  return gpuCount() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

int currentGpu() { return gpu; }

cudaUUID_t uuidOf(int ordinal) {
  cudaUUID_t uuid = {};
  std::memcpy(uuid.bytes, "\x7e\x60\x5e\x00\x00\x00\x40\x00\x80\x00\x00\x00\x00\x00\x00", 15);
  uuid.bytes[15] = char(ordinal + 1);
  return uuid;
}

cudaError_t launchGrid(const void *kernel, dim3 grid, dim3 block, size_t sharedBytes,
                       cudaStream_t stream, std::function<void()> thread) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!kernel)
    return fail(cudaErrorInvalidDeviceFunction);
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return fail(cudaErrorInvalidConfiguration);
  if (!block.x || !block.y || !block.z || block.x > 1024 || block.y > 1024 || block.z > 64 ||
      size_t(block.x) * block.y * block.z > 1024)
    return fail(cudaErrorInvalidConfiguration);
  size_t most = kSharedDefault;
  {
    std::lock_guard lock(functionsMutex);
    if (auto found = sharedLimits().find(kernel); found != sharedLimits().end())
      most = std::max(most, found->second);
  }
  if (sharedBytes > most)
    return fail(cudaErrorInvalidValue);
  return enqueueCall(
      stream, [=, thread = std::move(thread)] { runGrid(grid, block, sharedBytes, thread); });
}

} // namespace tenon::emulation

using namespace tenon::emulation;

cudaError_t cudaGetLastError() {
  cudaError_t error = lastError;
  lastError = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return lastError; }

namespace {

struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};

#define TENON_ERROR(name, text) {name, #name, text}
constexpr ErrorText kErrors[] = {
    TENON_ERROR(cudaSuccess, "no error"),
    TENON_ERROR(cudaErrorInvalidValue, "invalid argument"),
    TENON_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    TENON_ERROR(cudaErrorInitializationError, "initialization error"),
    TENON_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    TENON_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    TENON_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    TENON_ERROR(cudaErrorInsufficientDriver,
                "CUDA driver version is insufficient for CUDA runtime version"),
    TENON_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    TENON_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    TENON_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    TENON_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    TENON_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    TENON_ERROR(cudaErrorNotReady, "device not ready"),
    TENON_ERROR(cudaErrorNotSupported, "operation not supported"),
    TENON_ERROR(cudaErrorStreamCaptureUnsupported,
                "operation not permitted when stream is capturing"),
    TENON_ERROR(cudaErrorStreamCaptureInvalidated,
                "operation failed due to a previous error during capture"),
    TENON_ERROR(cudaErrorStreamCaptureMerge,
                "operation would result in a merge of separate capture sequences"),
    TENON_ERROR(cudaErrorStreamCaptureUnmatched,
                "capture was not ended in the same stream as it began"),
    TENON_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    TENON_ERROR(cudaErrorStreamCaptureIsolation,
                "dependency created on uncaptured work in another stream"),
    TENON_ERROR(cudaErrorStreamCaptureImplicit,
                "operation would make the legacy stream depend on a capturing blocking stream"),
    TENON_ERROR(cudaErrorCapturedEvent,
                "operation not permitted on an event last recorded in a capturing stream"),
    TENON_ERROR(cudaErrorStreamCaptureWrongThread,
                "attempt to terminate a thread-local capture sequence from another thread"),
};
#undef TENON_ERROR

} // namespace

const char *cudaGetErrorName(cudaError_t error) {
  for (const ErrorText &known : kErrors)
    if (known.error == error)
      return known.name;
  return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
  for (const ErrorText &known : kErrors)
    if (known.error == error)
      return known.text;
  return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int *version) {
  if (!version)
    return fail(cudaErrorInvalidValue);
  machine().read();
  // Without a driver this succeeds and says 0.
  *version = driver() == cudaErrorInsufficientDriver ? 0 : CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  if (!version)
    return fail(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
  if (!count)
    return fail(cudaErrorInvalidValue);
  *count = 0;
  machine().read();
  if (cudaError_t error = driver())
    return fail(error);
  *count = gpuCount();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (cudaError_t error = driver())
    return fail(error);
  if (device < 0 || device >= gpuCount())
    return fail(cudaErrorInvalidDevice);
  gpu = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!device)
    return fail(cudaErrorInvalidValue);
  *device = gpu;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!properties)
    return fail(cudaErrorInvalidValue);
  if (device < 0 || device >= gpuCount())
    return fail(cudaErrorInvalidDevice);
  cudaDeviceProp p = {};
  std::snprintf(p.name, sizeof(p.name), "Tenon emulated GPU");
  p.uuid = uuidOf(device);
  p.totalGlobalMem = memoryOfGpu();
  p.sharedMemPerBlock = kSharedDefault;
  p.sharedMemPerBlockOptin = kSharedMost;
  p.sharedMemPerMultiprocessor = 228 << 10;
  p.regsPerBlock = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = machine().major;
  p.minor = machine().minor;
  p.multiProcessorCount = machine().processors;
  p.concurrentKernels = 1;
  p.pciBusID = device + 1;
  p.asyncEngineCount = 3;
  p.unifiedAddressing = 1;
  p.memoryBusWidth = 5120;
  p.l2CacheSize = 50 << 20;
  p.maxThreadsPerMultiProcessor = 2048;
  p.memoryPoolsSupported = 1;
  p.hostNumaId = 0;
  *properties = p;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  if (!value)
    return fail(cudaErrorInvalidValue);
  cudaDeviceProp p;
  if (cudaError_t error = cudaGetDeviceProperties(&p, device))
    return error;
  switch (attribute) {
  case cudaDevAttrMaxThreadsPerBlock:
    return *value = p.maxThreadsPerBlock, cudaSuccess;
  case cudaDevAttrMaxGridDimX:
    return *value = p.maxGridSize[0], cudaSuccess;
  case cudaDevAttrMaxGridDimY:
  case cudaDevAttrMaxGridDimZ:
    return *value = p.maxGridSize[1], cudaSuccess;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    return *value = int(p.sharedMemPerBlock), cudaSuccess;
  case cudaDevAttrWarpSize:
    return *value = p.warpSize, cudaSuccess;
  case cudaDevAttrClockRate:
    return *value = 1980000, cudaSuccess;
  case cudaDevAttrMultiProcessorCount:
    return *value = p.multiProcessorCount, cudaSuccess;
  case cudaDevAttrPciBusId:
    return *value = p.pciBusID, cudaSuccess;
  case cudaDevAttrMemoryClockRate:
    return *value = 2619000, cudaSuccess;
  case cudaDevAttrGlobalMemoryBusWidth:
    return *value = p.memoryBusWidth, cudaSuccess;
  case cudaDevAttrL2CacheSize:
    return *value = p.l2CacheSize, cudaSuccess;
  case cudaDevAttrMaxThreadsPerMultiProcessor:
    return *value = p.maxThreadsPerMultiProcessor, cudaSuccess;
  case cudaDevAttrAsyncEngineCount:
    return *value = p.asyncEngineCount, cudaSuccess;
  case cudaDevAttrComputeCapabilityMajor:
    return *value = p.major, cudaSuccess;
  case cudaDevAttrComputeCapabilityMinor:
    return *value = p.minor, cudaSuccess;
  case cudaDevAttrCooperativeLaunch:
  case cudaDevAttrMemoryPoolsSupported:
    return *value = 1, cudaSuccess;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    return *value = int(p.sharedMemPerBlockOptin), cudaSuccess;
  case cudaDevAttrKernelExecTimeout:
  case cudaDevAttrIntegrated:
  case cudaDevAttrComputeMode:
  case cudaDevAttrPciDeviceId:
  case cudaDevAttrPciDomainId:
  case cudaDevAttrHostNumaId:
    return *value = 0, cudaSuccess;
  }
  return fail(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int device) {
  cudaDeviceProp p;
  if (cudaError_t error = cudaGetDeviceProperties(&p, device))
    return error;
  if (!text || length < 13)
    return fail(cudaErrorInvalidValue);
  std::snprintf(text, size_t(length), "%04x:%02x:%02x.0", unsigned(p.pciDomainID),
                unsigned(p.pciBusID), unsigned(p.pciDeviceID));
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value) {
  if (cudaError_t error = driver())
    return fail(error);
  if (!function)
    return fail(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      size_t(value) > kSharedMost)
    return fail(cudaErrorInvalidValue);
  std::lock_guard lock(functionsMutex);
  sharedLimits()[function] = size_t(value);
  return cudaSuccess;
}
