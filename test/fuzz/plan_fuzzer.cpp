// SPDX-License-Identifier: Apache-2.0
// Fuzzes the reader and the verifier: any bytes give a plan or a refusal, and any plan a verdict.
// An accepted plan must survive being written and read again. The input is a plan file whose header
// is repaired first, so that changes reach the payload; an input whose first byte is 0 is taken as
// it is.
#include "tenon/runtime/plan/PlanReader.h"
#include "tenon/runtime/plan/PlanWriter.h"
#include "tenon/runtime/plan/Resolve.h"
#include "tenon/runtime/plan/Verify.h"

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

using namespace tenon;

/// More ranks take time and add nothing.
static constexpr int64_t maxRanks = 64;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  if (size >= plan::headerBytes && data[0] != 0)
    plan::sealHeader(file);
  auto plan = plan::read(file);
  if (!plan)
    return 0;
  bool few = true;
  int64_t ranks = 1;
  for (const plan::MeshAxis &axis : plan->mesh) {
    few = few && axis.size <= maxRanks && (ranks *= axis.size) <= maxRanks;
    if (!few)
      break;
  }
  if (!(few ? plan::verifyAll(*plan) : plan::verify(*plan, 0)).ok())
    return 0;
  // Infallible on an accepted plan; NaN cannot pass the verifier, so equality means what it says.
  for (const plan::Entry &entry : plan->entries)
    (void)plan::resolve(*plan, entry, plan::coordinates(plan->mesh, 0));
  auto again = plan::write(*plan);
  if (!again)
    std::abort();
  auto back = plan::read(*again);
  if (!back || !(*back == *plan))
    std::abort();
  return 0;
}
