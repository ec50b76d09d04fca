// SPDX-License-Identifier: Apache-2.0
#include "Compiled.h"

namespace tenon::runtime::cuda {
namespace {

class Nothing : public CompiledKernels {
public:
  Expected<const CompiledKernel *> get(const std::string &, Context &) override {
    return static_cast<const CompiledKernel *>(nullptr);
  }
};

} // namespace

std::shared_ptr<CompiledKernels> makeCompiledKernels() { return std::make_shared<Nothing>(); }

} // namespace tenon::runtime::cuda
