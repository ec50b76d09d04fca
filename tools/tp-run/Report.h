// SPDX-License-Identifier: Apache-2.0
// What tp-run prints and writes about a run.
#pragma once

#include "Run.h"

namespace tenon::tools {

/// The lines on stderr: at most 12, or all tables with --report.
void printReport(const plan::Plan &plan, const plan::Entry &entry, const RunReport &report, const Options &options);
/// The --json file. Fails with Code::Device when it cannot be written.
Status writeJson(const plan::Plan &plan, const plan::Entry &entry, const RunReport &report, const Options &options);
/// Name, type, shape and the first 16 elements, on stdout.
void printOutput(const std::string &name, const runtime::HostTensor &tensor);
/// Bytes of a collective that one rank sends in the ring form.
double ringBytes(const plan::Plan &plan, const plan::Entry &entry, const plan::Collective &collective);

} // namespace tenon::tools
