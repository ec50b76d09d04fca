// SPDX-License-Identifier: Apache-2.0
// CudaLibrary: what libTenonCuda.so shows to the program that opens it: GPUs, versions, devices.
#include "CudaDevice.h"

#include <cstdio>

namespace tenon::runtime::cuda {
namespace {

/// 13000 is "13.0".
std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string uuidText(const cudaUUID_t &uuid) {
  std::string text = "GPU-";
  char digits[3];
  for (char byte : uuid.bytes) {
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

class Library : public Cuda {
public:
  std::vector<std::pair<std::string, std::string>> versions() override {
    int driver = 0, runtime = 0, nccl = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    (void)ncclGetVersion(&nccl);
    return {{"cuda driver", versionText(driver)},
            {"cuda runtime", versionText(runtime)},
            {"cublaslt", std::to_string(cublasLtGetVersion())},
            {"nccl", std::to_string(nccl)}};
  }

  Expected<std::vector<Gpu>> gpus() override {
    int driver = 0, runtime = 0, count = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
      return Status(Code::Plan, "--device=cuda: no CUDA driver");
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver)
      return Status(Code::Plan, "--device=cuda: the CUDA driver is too old: expected one for " +
                                    versionText(runtime) + ", found one for " +
                                    versionText(driver));
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
      return Status(Code::Plan, "--device=cuda: no GPU is visible");
    if (Status status = statusOf(error, "--device=cuda"); !status)
      return Status(Code::Plan, status.message());
    std::vector<Gpu> gpus;
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      cudaDeviceProp properties = {};
      if (Status status = statusOf(cudaGetDeviceProperties(&properties, ordinal), "GPU"); !status)
        return status;
      Gpu gpu;
      gpu.uuid = uuidText(properties.uuid);
      gpu.name = properties.name;
      gpu.major = properties.major;
      gpu.minor = properties.minor;
      gpu.totalBytes = int64_t(properties.totalGlobalMem);
      gpus.push_back(std::move(gpu));
    }
    return gpus;
  }

  Expected<int64_t> freeBytes(int gpu) override {
    size_t free = 0, total = 0;
    Status status = statusOf(cudaSetDevice(gpu), "cudaSetDevice");
    if (status)
      status = statusOf(cudaMemGetInfo(&free, &total), "memory of the GPU");
    if (!status)
      return status;
    return int64_t(free);
  }

  Expected<std::unique_ptr<Device>> makeDevice(const CudaOptions &options) override {
    auto device = std::make_unique<CudaDevice>(options);
    if (Status status = device->open(); !status)
      return status;
    return std::unique_ptr<Device>(std::move(device));
  }
};

} // namespace
} // namespace tenon::runtime::cuda

/// The one symbol of the library; the caller owns the result.
extern "C" __attribute__((visibility("default"))) tenon::runtime::Cuda *tenonMakeCuda() {
  return new tenon::runtime::cuda::Library();
}
