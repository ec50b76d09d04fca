// SPDX-License-Identifier: Apache-2.0
// DeviceMemory: a piece of device memory that is released when its owner goes.
#pragma once

#include "tenon/runtime/Device.h"

#include <utility>

namespace tenon::runtime {

class DeviceMemory {
public:
  DeviceMemory() = default;
  DeviceMemory(Device &device, std::byte *data, int64_t bytes)
      : device_(&device), data_(data), bytes_(bytes) {}
  DeviceMemory(DeviceMemory &&other) noexcept { *this = std::move(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_)
      device_->release(data_);
  }
  /// Zero-filled; at least one byte, so that every buffer has an address. Fails with Code::Memory.
  static Expected<DeviceMemory> allocate(Device &device, int64_t bytes,
                                         MemoryUse use = MemoryUse::Data) {
    Expected<std::byte *> data = device.allocate(bytes > 0 ? bytes : 64, use);
    if (!data)
      return data.status();
    return DeviceMemory(device, *data, bytes);
  }
  std::byte *data() const { return data_; }
  int64_t bytes() const { return bytes_; }

private:
  Device *device_ = nullptr;
  std::byte *data_ = nullptr;
  int64_t bytes_ = 0;
};

} // namespace tenon::runtime
