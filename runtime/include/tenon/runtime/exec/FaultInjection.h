// SPDX-License-Identifier: Apache-2.0
// FaultInjection: faults that tests put into a run: `--inject=RANK:POINT:KIND`, RANK a number or
// '*'.
//
//   op=K       sleep error exit kill segv abort stop stubborn (ignores SIGTERM, then sleeps);
//              skip; and of a collective: count (one element less), dtype (i32 instead), group
//              (that of another collective). K is the op's index in the entry, or `collectiveN` for
//              the N-th collective from 0; K@S does it in step S only (not skip, count, dtype,
//              group)
//   step=S     sleep error exit kill   before step S, from 0
//   alloc=N    fail         the N-th allocation of device memory, from 0
//   memory=B   limit        B bytes are all that is available
//   handshake  binary isa graph   another value of that field
//   host=NAME  pretend       this rank's node, in the handshake
//   verify     skip
//   capture    fail: a step cannot be captured
//              starve0 starve1: the device favours one stream, for plans that lack an event
//   device     emulated     --device=cuda runs on this processor
//
// Built only with TENON_INJECT; otherwise `parse` refuses everything.
#pragma once

#include "tenon/runtime/Device.h"
#include "tenon/runtime/Status.h"

#include <optional>
#include <string>
#include <vector>

namespace tenon::runtime {

struct Fault {
  int rank = -1; ///< -1: all.
  std::string point;
  std::string argument; ///< Behind '='; empty without one.
  std::string kind;
};

class FaultInjection {
public:
  /// Fails with Code::Usage.
  static Expected<FaultInjection> parse(const std::vector<std::string> &specifications);

  /// The faults of one rank.
  FaultInjection of(int rank) const;
  bool has(const char *point, const char *kind) const;
  std::optional<int64_t> number(const char *point, const char *kind) const;
  std::optional<std::string> text(const char *point, const char *kind) const;

  /// Faults that change the program: marks the skipped ops, and changes what this rank brings to a
  /// collective. Fails with Code::Usage when the op does not exist.
  Status changeOps(plan::Entry &entry, std::vector<bool> &skipped);
  /// Runs at the begin of op `index`: may not return.
  Status atOp(int index, int64_t step) const;
  /// Runs before step `step`: may not return.
  Status atStep(int64_t step) const;
  /// Whether ops must run one by one for these faults.
  bool needsEveryOp() const { return !atOps_.empty(); }
  /// A device whose N-th allocation or whose captures fail, if that is asked for.
  std::unique_ptr<Device> wrap(std::unique_ptr<Device> device) const;

private:
  struct AtOp {
    int op;
    int64_t step; ///< -1: every step.
    std::string kind;
  };
  std::vector<Fault> faults_;
  std::vector<AtOp> atOps_;
};

/// Whether this build knows faults.
extern const bool kFaultInjection;

} // namespace tenon::runtime
