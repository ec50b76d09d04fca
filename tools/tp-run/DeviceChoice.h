// SPDX-License-Identifier: Apache-2.0
// DeviceChoice: which device a rank runs on, from the options to the made device: the CPU with its
// threads, or a GPU by the rank's place on its host. What must be equal on all ranks goes into the
// handshake.
#pragma once

#include "Options.h"

#include "tenon/runtime/Communicator.h"
#include "tenon/runtime/CudaDevice.h"
#include "tenon/runtime/exec/Agreement.h"
#include "tenon/runtime/exec/FaultInjection.h"

#include <memory>
#include <optional>
#include <string>

namespace tenon::tprun {

class DeviceChoice {
public:
  DeviceChoice(const Options &options, const runtime::FaultInjection &faults, bool local)
      : options_(options), faults_(faults), local_(local) {}

  /// Opens what the device needs. Fails with Code::Plan without it.
  Status open();
  /// Collective: takes this rank's threads, or its GPU. `ranksHere` share the host.
  Status place(runtime::Communicator &world, const std::string &host, int ranksHere);
  /// What the handshake compares; after place().
  runtime::HandshakeFields fields() const;

  /// Ranks that share the device's memory, and how much of it is left; -1 when nobody knows.
  int sharers() const { return sharers_; }
  Expected<int64_t> availableMemory() const;

  /// The device, with this rank's faults around it.
  Expected<std::unique_ptr<runtime::Device>> make() const;

  bool cuda() const { return options_.device == "cuda"; }
  int threads() const { return cpu_.threads; }
  /// Whether steps are to be replayed: a single step has nothing to replay.
  bool graph() const;

private:
  Status placeOnGpu(runtime::Communicator &world, const std::string &host);

  const Options &options_;
  const runtime::FaultInjection &faults_;
  bool local_;
  runtime::CpuOptions cpu_;
  std::unique_ptr<runtime::Cuda> library_;
  std::vector<runtime::Gpu> gpus_;
  runtime::CudaOptions gpu_;
  int sharers_ = 1;
};

} // namespace tenon::tprun
