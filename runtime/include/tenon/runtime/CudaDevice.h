// SPDX-License-Identifier: Apache-2.0
// CudaDevice: the CUDA device as the rest of the runtime sees it. It lives in a library of its own,
// libTenonCuda.so, opened only when a run asks for a GPU: tp-run starts without CUDA, and the same
// build serves machines with and without it.
#pragma once

#include "tenon/runtime/Device.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tenon::runtime {

/// One GPU that this process may use.
struct Gpu {
  std::string uuid; ///< "GPU-..." or the PCI bus id: the same for every process of the node.
  std::string name;
  int major = 0, minor = 0; ///< Compute capability.
  int64_t totalBytes = 0;
};

/// How collectives travel: NCCL; through host memory and MPI; or NCCL where it works on all ranks,
/// else through the host.
enum class GpuCollectives { Auto, Nccl, Host };

struct CudaOptions {
  int gpu = 0; ///< Index into gpus().
  bool tf32 = false;
  bool reduceF32 = false;      ///< bf16 and f16 sums travel and add as f32.
  bool oversubscribed = false; ///< Several ranks share the GPU.
  bool lone = false;           ///< No peers: collectives copy.
  GpuCollectives collectives = GpuCollectives::Auto;
  /// Where algorithms and compiled expressions are kept between runs; empty for nowhere.
  std::string cacheFolder;
};

/// The opened library.
class Cuda {
public:
  virtual ~Cuda() = default;
  /// Versions that must be equal on all ranks: {"cuda driver", "13.0"}, {"nccl", "2.28.9"}, ...
  virtual std::vector<std::pair<std::string, std::string>> versions() = 0;
  /// Visible GPUs by ordinal. Fails with Code::Plan without a driver, with one that is too old, and
  /// without a GPU.
  virtual Expected<std::vector<Gpu>> gpus() = 0;
  /// Memory of one GPU that nobody holds. Starts the GPU's context, so only of the rank's own.
  virtual Expected<int64_t> freeBytes(int gpu) = 0;
  /// Fails with Code::Plan when the GPU is too old for the kernels, else with what CUDA says.
  /// Several ranks that are threads of one process each make their own.
  virtual Expected<std::unique_ptr<Device>> makeDevice(const CudaOptions &options) = 0;
};

/// Opens `name` (a file name) beside the running program or in ../lib. Fails with Code::Plan when
/// this build has no such library, or when a library it needs is not there. It stays open.
Expected<std::unique_ptr<Cuda>> openCuda(const std::string &name = "libTenonCuda.so");

} // namespace tenon::runtime
