// SPDX-License-Identifier: Apache-2.0
// Writes the first corpus of plan-fuzzer into a folder: the plans of the tests.
#include "PlanBuilder.h"
#include "tenon/runtime/plan/PlanWriter.h"

#include <cstdio>
#include <filesystem>
#include <string>

using namespace tenon;

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: plan-corpus FOLDER\n");
    return 2;
  }
  std::error_code error;
  std::filesystem::create_directories(argv[1], error);
  for (int64_t ranks : {1, 2, 3, 4}) {
    std::string base = std::string(argv[1]) + "/";
    std::string suffix = "-" + std::to_string(ranks) + ".plan";
    for (const auto &[plan, name] : {std::pair(plan::test::mlpPlan(ranks), "mlp"),
                                     std::pair(plan::test::allOpsPlan(ranks), "all-ops")}) {
      Status status = plan::writeFile(plan, base + name + suffix);
      if (!status.ok()) {
        std::fprintf(stderr, "%s\n", status.message().c_str());
        return int(status.code());
      }
    }
  }
  return 0;
}
