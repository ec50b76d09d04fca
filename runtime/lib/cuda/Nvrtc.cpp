// SPDX-License-Identifier: Apache-2.0
#include "Compiled.h"

#include "../plan/Sha256.h"
#include "tenon/runtime/AtomicFile.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nvrtc.h>
#include <span>
#include <tuple>
#include <vector>

namespace tenon::runtime::cuda {

/// Texts of the headers that kernels include; made by CMake.
extern const char *const cudaPlatformText;
extern const char *const valuesText;
extern const char *const elementwiseKernelText;

namespace {

/// A file of the cache is the code's digest, then the code: the driver is told no length and would
/// read past the end of a file that was cut short.
using Digest = std::array<std::byte, 32>;

Digest digestOf(std::span<const char> bytes) { return plan::sha256(std::as_bytes(bytes)); }

Status statusOf(nvrtcResult error, const std::string &what) {
  if (error == NVRTC_SUCCESS)
    return Status();
  return Status(Code::Device, what + ": NVRTC: " + nvrtcGetErrorString(error));
}

/// Machine code for one compute capability. Fails with the compiler's words.
Expected<std::vector<char>> compile(const std::string &source, const Context &context) {
  const char *headers[] = {cudaPlatformText, valuesText, elementwiseKernelText};
  const char *names[] = {"CudaPlatform.h", "Values.h", "ElementwiseKernel.h"};
  nvrtcProgram program = nullptr;
  Status status =
      statusOf(nvrtcCreateProgram(&program, source.c_str(), "expression.cu", 3, headers, names),
               "expression");
  if (!status)
    return status;
  const std::string target =
      "--gpu-architecture=sm_" + std::to_string(context.major) + std::to_string(context.minor);
  const char *options[] = {target.c_str(), "--std=c++17", "--device-as-default-execution-space"};
  status = statusOf(nvrtcCompileProgram(program, 3, options), "expression");
  std::vector<char> code;
  if (status) {
    size_t bytes = 0;
    status = statusOf(nvrtcGetCUBINSize(program, &bytes), "expression");
    code.resize(bytes);
    if (status)
      status = statusOf(nvrtcGetCUBIN(program, code.data()), "expression");
  } else {
    size_t bytes = 0;
    (void)nvrtcGetProgramLogSize(program, &bytes);
    std::string log(bytes, '\0');
    if (bytes && nvrtcGetProgramLog(program, log.data()) == NVRTC_SUCCESS)
      status = Status(Code::Device, status.message() + ": " + log.c_str());
  }
  (void)nvrtcDestroyProgram(&program);
  if (!status)
    return status;
  return code;
}

class LoadedKernel : public CompiledKernel {
public:
  ~LoadedKernel() override {
    if (library_)
      (void)cudaLibraryUnload(library_);
  }
  Status load(const std::vector<char> &code) {
    Status status = cuda::statusOf(
        cudaLibraryLoadData(&library_, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "compiled expression");
    return status ? cuda::statusOf(cudaLibraryGetKernel(&kernel_, library_, "tenonKernel"),
                                   "compiled expression")
                  : status;
  }
  cudaError_t launch(dim3 grid, dim3 block, const void *parameter,
                     cudaStream_t stream) const override {
    void *parameters[] = {const_cast<void *>(parameter)};
    return cudaLaunchKernel(reinterpret_cast<const void *>(kernel_), grid, block, parameters, 0,
                            stream);
  }

private:
  cudaLibrary_t library_ = nullptr;
  cudaKernel_t kernel_ = nullptr;
};

class Nvrtc : public CompiledKernels {
public:
  Expected<const CompiledKernel *> get(const std::string &source, Context &context) override {
    std::unique_ptr<LoadedKernel> &kernel = kernels_[source];
    if (kernel)
      return static_cast<const CompiledKernel *>(kernel.get());
    kernel = std::make_unique<LoadedKernel>();
    const std::string file = fileOf(source, context);
    // A damaged file is made anew.
    const std::vector<char> kept = read(file);
    if (!kept.empty() && kernel->load(kept))
      return static_cast<const CompiledKernel *>(kernel.get());
    (void)cudaGetLastError();
    kernel = std::make_unique<LoadedKernel>();
    Expected<std::vector<char>> made = compile(source, context);
    Status status = made ? kernel->load(*made) : made.status();
    if (!status) {
      (void)cudaGetLastError();
      kernels_.erase(source);
      return status;
    }
    keep(file, *made, context);
    return static_cast<const CompiledKernel *>(kernel.get());
  }

private:
  static std::string fileOf(const std::string &source, const Context &context) {
    if (context.cacheFolder.empty())
      return "";
    int major = 0, minor = 0;
    (void)nvrtcVersion(&major, &minor);
    const std::string key = source + valuesText + elementwiseKernelText + cudaPlatformText;
    std::string name;
    for (std::byte byte : plan::sha256(std::as_bytes(std::span(key)))) {
      char digits[3];
      std::snprintf(digits, sizeof(digits), "%02x", unsigned(byte));
      name += digits;
    }
    return context.cacheFolder + "/expression-" + name + "-sm" + std::to_string(context.major) +
           std::to_string(context.minor) + "-nvrtc" + std::to_string(major) + "." +
           std::to_string(minor) + ".cubin";
  }

  // Nothing when there is no such file or it is damaged.
  static std::vector<char> read(const std::string &file) {
    std::ifstream in(file, std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    constexpr size_t kHead = sizeof(Digest);
    if (bytes.size() <= kHead)
      return {};
    const std::vector<char> code(bytes.begin() + kHead, bytes.end());
    const Digest digest = digestOf(code);
    const auto head = std::as_bytes(std::span(bytes)).first(kHead);
    return std::equal(digest.begin(), digest.end(), head.begin()) ? code : std::vector<char>();
  }

  // What cannot be kept is compiled again by the next run.
  static void keep(const std::string &file, const std::vector<char> &code, const Context &context) {
    std::error_code error;
    if (file.empty() || (!std::filesystem::create_directories(context.cacheFolder, error) && error))
      return;
    const Digest digest = digestOf(code);
    std::ignore = writeFileAtomically(file, digest.data(), digest.size(), code.data(), code.size());
  }

  std::map<std::string, std::unique_ptr<LoadedKernel>> kernels_;
};

} // namespace

std::shared_ptr<CompiledKernels> makeCompiledKernels() { return std::make_shared<Nvrtc>(); }

} // namespace tenon::runtime::cuda
