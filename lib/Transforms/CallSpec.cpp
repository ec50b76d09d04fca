// SPDX-License-Identifier: Apache-2.0
#include "CallSpec.h"

#include "llvm/ADT/SmallVector.h"

#include <cmath>

using namespace tenon;

std::optional<std::map<std::string, double>> tenon::parseCalls(llvm::StringRef text,
                                                               std::string &error) {
  std::map<std::string, double> calls;
  llvm::SmallVector<llvm::StringRef> parts;
  text.split(parts, ',', -1, /*KeepEmpty=*/!text.empty());
  for (llvm::StringRef part : parts) {
    auto [name, number] = part.rsplit(':');
    double count = 0;
    if (name.empty() || number.getAsDouble(count) || !std::isfinite(count) || count <= 0) {
      error = "expected calls=ENTRY:COUNT,... with positive counts, found '" + part.str() + "'";
      return std::nullopt;
    }
    if (!calls.emplace(name.str(), count).second) {
      error = "calls names the entry '" + name.str() + "' twice";
      return std::nullopt;
    }
  }
  return calls;
}
