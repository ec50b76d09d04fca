// SPDX-License-Identifier: Apache-2.0
// CallSpec: how often each entry of a module runs, for the choice of the weight layout that they
// share: calls=forward_s128:1,forward_s1:128.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <map>
#include <optional>
#include <string>

namespace tenon {

/// Parses NAME:COUNT,... with positive counts; an empty text gives an empty map. On failure returns
/// nullopt and says what is wrong.
std::optional<std::map<std::string, double>> parseCalls(llvm::StringRef text, std::string &error);

} // namespace tenon
