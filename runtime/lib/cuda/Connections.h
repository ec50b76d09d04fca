// SPDX-License-Identifier: Apache-2.0
// Connections: what carries the collectives of one rank. Three ways: NCCL, one communicator per
// group; host memory and the groups' own communicators, where NCCL cannot connect the ranks; and
// alone, where a rank runs without peers and every collective copies its own data.
#pragma once

#include "Nccl.h"
#include "Work.h"

#include "tenon/runtime/CudaDevice.h"

#include <functional>
#include <map>
#include <memory>

namespace tenon::runtime::cuda {

/// Waits for a stream, polling, and returns the first failure.
using WaitForStream = std::function<Status(cudaStream_t)>;

class Connections {
public:
  using Groups = std::map<plan::Axes, std::unique_ptr<Communicator>>;

  /// Collective over `mesh`. All ranks take the same way: with Auto NCCL, if it connects every
  /// group and adds up right on every rank. Fails with Code::Device.
  Status connect(const CudaOptions &options, Communicator &mesh, const Groups &groups);

  /// "nccl", "host" or "none".
  const char *name() const;

  /// Memory for the arena: what NCCL can register, where it is in use. Fails with Code::Memory.
  Expected<std::byte *> allocateArena(int64_t bytes);
  /// False when the memory did not come from allocateArena().
  bool releaseArena(std::byte *memory);

  /// Binds a collective. `wait` is for the way through host memory.
  PreparedWork prepare(const plan::Collective &op, const Binding &binding, Context &context,
                       WaitForStream wait);
  /// Whether a collective is over when its enqueue() returns.
  bool blocks() const { return way_ == Way::Host; }

  /// Failures that came in the background.
  Status poll();

private:
  enum class Way { Nccl, Host, Alone };
  Status connectNccl(const Groups &groups);

  Way way_ = Way::Alone;
  bool registers_ = false;
  std::map<plan::Axes, std::unique_ptr<NcclCommunicator>> nccl_;
  std::byte *arena_ = nullptr;
  /// f32 copies of what travels as f32; collectives run one after another.
  Scratch scratch_;
};

/// The environment that lets several ranks of one machine share a GPU: NCCL takes each for a host
/// of its own and connects them over loopback. Must be called before NCCL is used.
void setOversubscribedEnvironment(int rank);

} // namespace tenon::runtime::cuda
