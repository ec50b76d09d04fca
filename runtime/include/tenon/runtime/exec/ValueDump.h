// SPDX-License-Identifier: Apache-2.0
// ValueDump: what every op of one step wrote, per rank, for finding the first difference between
// two runs
// (`tenon compare A B`). DIR/rank0/00012.c.npy holds operand `c` of op 12 on rank 0 (bf16 and f16
// widened to f32), DIR/outputs/NAME.npy the global outputs, DIR/index.json lists them in order of
// execution.
#pragma once

#include "tenon/runtime/exec/Executor.h"

#include <string>
#include <vector>

namespace tenon::runtime {

class ValueDump {
public:
  /// Makes DIR/rankN. Fails with Code::Plan.
  static Expected<std::unique_ptr<ValueDump>> create(const std::string &directory, int rank);
  /// Writes the results of an op; to be called as Executor's afterOp.
  Status write(Executor &executor, int op);
  /// Collective: rank 0 writes the index and the outputs.
  Status finish(const plan::Plan &plan, const plan::Entry &entry, const std::string &digest,
                const std::vector<HostArray> &outputs, Communicator &mesh);

private:
  ValueDump(std::string directory, int rank) : directory_(std::move(directory)), rank_(rank) {}
  std::string directory_;
  int rank_;
  std::string lines_; ///< JSON objects, one a line.
};

} // namespace tenon::runtime
