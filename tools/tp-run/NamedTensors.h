// SPDX-License-Identifier: Apache-2.0
// NamedTensors: the tensors that options name: inputs and references read and checked before any
// work, outputs printed, written and compared after it. Every mistake is Code::Usage and names the
// option or the file.
#pragma once

#include "Options.h"
#include "Report.h"

#include "tenon/runtime/exec/HostArray.h"
#include "tenon/runtime/plan/Plan.h"

#include <vector>

namespace tenon::tprun {

/// Checks the names that --input, --output and --expected-output give against the entry.
Status checkNames(const plan::Entry &entry, const Options &options);

/// Checks that the files that options name can be written after the work.
Status checkPlaces(const Options &options);

/// Reads, draws and checks the inputs, in the entry's order; global shapes.
Expected<std::vector<runtime::HostArray>> makeInputs(const plan::Entry &entry,
                                                     const Options &options);

/// Reads the references, in the order of --expected-output. Shapes must be the outputs', and floats
/// stand against floats, integers against integers, of any width.
Expected<std::vector<runtime::HostArray>> readReferences(const plan::Entry &entry,
                                                         const Options &options);

/// Writes the outputs that --output names; without any, and not quiet, prints each: name, type,
/// shape and the first 16 elements.
Status showOutputs(const plan::Entry &entry, const Options &options,
                   const std::vector<runtime::HostArray> &outputs);

/// Compares outputs with their references and notes every result in `checks`. Code::Differs, with
/// the worst element, for the first that differs.
Status compareOutputs(const plan::Entry &entry, const Options &options,
                      const std::vector<runtime::HostArray> &outputs,
                      const std::vector<runtime::HostArray> &references,
                      std::vector<OutputCheck> &checks);

} // namespace tenon::tprun
