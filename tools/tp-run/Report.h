// SPDX-License-Identifier: Apache-2.0
// Report: what a run tells about itself: a few lines, tables, JSON, a trace. All of it is made from
// RunFacts, which rank 0 fills.
#pragma once

#include "Options.h"

#include "tenon/runtime/exec/Executor.h"
#include "tenon/runtime/exec/StepTimes.h"

#include <map>
#include <string>
#include <vector>

namespace tenon::tprun {

/// What one rank tells the others about itself.
struct RankFacts {
  std::string host;
  int64_t weightBytes = 0, arenaBytes = 0, workspaceBytes = 0, paddingBytes = 0, copiedBytes = 0;
  double loadSeconds = 0, prepareSeconds = 0;
  /// The last step: op times relative to the monotonic clock.
  std::vector<runtime::OpTime> lastStep;
};

struct OutputCheck {
  std::string name;
  bool equal = true;
  double maxError = 0;
};

struct RunFacts {
  const plan::Plan *plan = nullptr;
  const plan::Entry *entry = nullptr; ///< Resolved for rank 0.
  std::string planPath, digest, device, transport;
  int threads = 1;
  bool timed = false; ///< False for a dry run.
  runtime::DeviceLimits limits;
  bool tf32 = false;
  std::vector<RankFacts> ranks;
  runtime::StepSummary steps;
  int64_t warmup = 0;
  double assemblySeconds = 0;
  int64_t assemblyBytes = 0;
  int64_t randomWeights = 0;
  /// Per op, on rank 0: median over the timed steps, in seconds.
  std::vector<double> opSeconds, opWaitSeconds, opCommunicationSeconds;
  std::vector<OutputCheck> checks;
};

/// One collective of a step.
struct CollectiveFacts {
  int op = 0;
  std::string kind;
  std::vector<std::string> axes;
  int64_t bytes = 0;       ///< What one rank sends in the ring form.
  int64_t tensorBytes = 0; ///< The full tensor.
  std::string type, location, cause;
  double predictedUs = 0, measuredUs = 0, waitUs = 0;
  /// busbw over algbw, as nccl-tests has it: with p ranks 2(p-1)/p for all_reduce, (p-1)/p for
  /// all_gather, reduce_scatter and all_to_all, 1 for broadcast.
  double busFactor = 0;
  /// In GB/s: the full tensor over the measured time, and that times busFactor; 0 when not
  /// measured.
  double algbw() const;
  double busbw() const;
};
std::vector<CollectiveFacts> collectivesOf(const RunFacts &facts);

/// Per op of the entry, in us: the least that its arithmetic and memory traffic take within the
/// limits of the device. 0 for collectives, which the network bounds. Empty when the limits are
/// unknown.
std::vector<double> boundsUs(const RunFacts &facts);

/// How far the cost model is from what was measured, over ops and collectives of at least a
/// microsecond; waits do not count.
struct ModelError {
  size_t ops = 0;
  double median = 0; ///< Of |predicted - measured| / measured.
  int worst = -1;    ///< The op whose prediction misses the most microseconds.
  double worstPredictedUs = 0, worstMeasuredUs = 0;
};
ModelError modelError(const RunFacts &facts);

/// At most 13 lines.
std::string shortReport(const RunFacts &facts);
/// Tables: ops grouped by layer, collectives.
std::string longReport(const RunFacts &facts);
std::string jsonReport(const RunFacts &facts);
std::string chromeTrace(const RunFacts &facts);

} // namespace tenon::tprun
