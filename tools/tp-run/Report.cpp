// SPDX-License-Identifier: Apache-2.0
#include "Report.h"

#include "tenon/runtime/plan/Access.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <map>
#include <numeric>
#include <unistd.h>

namespace tenon::tools {

using nlohmann::json;

static const char *kindName(plan::CollectiveKind kind) {
  static constexpr const char *names[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"};
  return names[static_cast<int>(kind)];
}

static int64_t groupSize(const plan::Plan &plan, const plan::Axes &axes) {
  int64_t size = 1;
  for (int32_t axis : axes)
    size *= plan.mesh[axis].size;
  return size;
}

double ringBytes(const plan::Plan &plan, const plan::Entry &entry, const plan::Collective &collective) {
  const double p = static_cast<double>(groupSize(plan, collective.axes)), share = (p - 1) / p;
  const double width = static_cast<double>(plan::byteWidth(entry.buffers[collective.x.buffer].type));
  const double x = static_cast<double>(plan::elements(collective.x)) * width, out = static_cast<double>(plan::elements(collective.out)) * width;
  switch (collective.kind) {
  case plan::CollectiveKind::AllReduce:
    return 2 * share * x;
  case plan::CollectiveKind::AllGather:
    return share * out;
  case plan::CollectiveKind::ReduceScatter:
  case plan::CollectiveKind::AllToAll:
    return share * x;
  case plan::CollectiveKind::Broadcast:
    return x;
  }
  return 0;
}

namespace {

struct CollectiveLine {
  std::string kind, axes, location, cause;
  double bytes = 0, predictedUs = 0, measuredUs = 0;
};

std::vector<CollectiveLine> collectiveLines(const plan::Plan &plan, const plan::Entry &entry, const RunReport &report) {
  std::vector<CollectiveLine> lines;
  for (size_t i = 0; i < entry.ops.size(); ++i) {
    const auto *collective = std::get_if<plan::Collective>(&entry.ops[i].body);
    if (!collective)
      continue;
    CollectiveLine line;
    line.kind = kindName(collective->kind);
    // Parts of one user axis are reported under it.
    std::vector<std::string> names;
    for (int32_t axis : collective->axes)
      if (names.empty() || names.back() != plan.mesh[axis].parent)
        names.push_back(plan.mesh[axis].parent);
    const int64_t all = groupSize(plan, collective->axes);
    int64_t whole = 1;
    for (const plan::MeshAxis &axis : plan.mesh)
      if (std::find(names.begin(), names.end(), axis.parent) != names.end())
        whole *= axis.size;
    if (all != whole) {
      names.clear();
      for (int32_t axis : collective->axes)
        names.push_back(plan.mesh[axis].name);
    }
    for (const std::string &name : names)
      line.axes += (line.axes.empty() ? "" : ",") + name;
    line.location = entry.ops[i].location;
    line.cause = collective->cause;
    line.bytes = ringBytes(plan, entry, *collective);
    line.predictedUs = entry.ops[i].predictedUs;
    if (i < report.collectiveTimes.size())
      line.measuredUs = (report.collectiveTimes[i].left - report.collectiveTimes[i].ready) * 1e6;
    lines.push_back(line);
  }
  return lines;
}

double median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

int64_t heldWeights(const plan::Plan &plan) {
  int64_t bytes = 0;
  for (const plan::Weight &weight : plan.weights)
    bytes += weight.elements * plan::byteWidth(weight.type);
  return bytes;
}

/// Bytes of every rank's weight buffers that are padding: block sizes less owned lengths.
int64_t paddingBytes(const plan::Plan &plan) {
  int64_t padding = 0;
  for (const plan::Weight &weight : plan.weights)
    for (const plan::WeightPart &part : weight.parts) {
      // Over all coordinates of the part's axes: blocks * p - n elements along each cut dimension.
      double held = 1, owned = 1, copies = 1;
      for (size_t d = 0; d < part.view.sizes.size(); ++d) {
        int64_t block = part.view.sizes[d], p = 1;
        for (int32_t axis : part.dimAxes[d]) {
          block = (block + plan.mesh[axis].size - 1) / plan.mesh[axis].size;
          p *= plan.mesh[axis].size;
        }
        held *= static_cast<double>(block * p);
        owned *= static_cast<double>(part.view.sizes[d]);
        copies *= static_cast<double>(p);
      }
      const double groups = static_cast<double>(plan::worldSize(plan)) / copies;
      padding += static_cast<int64_t>((held - owned) * groups) * plan::byteWidth(weight.type);
    }
  return padding;
}

} // namespace

void printOutput(const std::string &name, const runtime::HostTensor &tensor) {
  std::printf("%s: %s =", name.c_str(), describe(tensor).c_str());
  const int64_t shown = std::min<int64_t>(tensor.elements(), 16);
  for (int64_t i = 0; i < shown; ++i)
    std::printf(" %.6g", tensor.at(i));
  std::printf("%s\n", shown < tensor.elements() ? " ..." : "");
}

void printReport(const plan::Plan &plan, const plan::Entry &entry, const RunReport &report, const Options &options) {
  std::fprintf(stderr, "plan: %s, %s, entry %s, digest %.16s\n", options.plan.c_str(), plan.model.c_str(), entry.name.c_str(), report.digest.c_str());
  std::string mesh;
  for (const plan::MeshAxis &axis : plan.mesh)
    mesh += (mesh.empty() ? "" : " x ") + axis.name + "=" + std::to_string(axis.size);
  std::fprintf(stderr, "mesh: %s, %" PRId64 " ranks (%s), device %s, %d thread(s) per rank\n", mesh.c_str(), plan::worldSize(plan),
               options.localRanks ? "threads" : "processes", report.device.c_str(), options.threads);
  const int64_t weights = report.weightsBytes.empty() ? 0 : *std::max_element(report.weightsBytes.begin(), report.weightsBytes.end());
  std::fprintf(stderr, "memory per rank: weights %.4f GiB (planned %.4f), arena %.4f GiB, workspace %.4f GiB\n", gib(weights), gib(heldWeights(plan)),
               gib(entry.arenaBytes), gib(report.workspaceBytes.empty() ? 0 : report.workspaceBytes.front()));
  std::fprintf(stderr, "load: %.2f s\n", report.loadSeconds);
  if (report.stepSeconds.empty())
    return;
  const double med = median(report.stepSeconds) * 1e3, least = *std::min_element(report.stepSeconds.begin(), report.stepSeconds.end()) * 1e3;
  std::fprintf(stderr, "step: min %.3f ms, median %.3f ms over %zu, predicted %.3f ms\n", least, med, report.stepSeconds.size(),
               entry.predictedUs / 1e3);
  std::vector<CollectiveLine> lines = collectiveLines(plan, entry, report);
  std::vector<size_t> order(lines.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lines[a].measuredUs > lines[b].measuredUs; });
  if (!options.report)
    order.resize(std::min<size_t>(order.size(), 3));
  else
    std::sort(order.begin(), order.end());
  for (size_t i : order)
    std::fprintf(stderr, "collective: %-14s %-8s %10.0f B  %9.1f us (predicted %.1f)  busbw %6.2f GB/s  %s\n", lines[i].kind.c_str(),
                 lines[i].axes.c_str(), lines[i].bytes, lines[i].measuredUs, lines[i].predictedUs,
                 lines[i].measuredUs > 0 ? lines[i].bytes / lines[i].measuredUs / 1e3 : 0.0, lines[i].location.c_str());
  const runtime::StepTimes &split = report.medianSplit;
  std::fprintf(stderr, "time: compute %.3f ms, communication %.3f ms, waiting %.3f ms\n", split.compute() * 1e3, split.communication * 1e3,
               split.wait * 1e3);
  if (!options.report)
    return;
  std::map<std::string, std::array<double, 3>> byKind; // Count, measured and predicted microseconds.
  for (size_t i = 0; i < entry.ops.size() && i < report.opSeconds.size(); ++i) {
    auto &line = byKind[plan::opName(entry.ops[i])];
    line[0] += 1;
    line[1] += report.opSeconds[i] * 1e6;
    line[2] += entry.ops[i].predictedUs;
  }
  std::fprintf(stderr, "%-16s %6s %12s %12s\n", "op", "count", "measured us", "predicted us");
  for (const auto &[kind, line] : byKind)
    std::fprintf(stderr, "%-16s %6.0f %12.1f %12.1f\n", kind.c_str(), line[0], line[1], line[2]);
  std::fprintf(stderr, "%-5s %-14s %12s %12s  %s\n", "op", "kind", "measured us", "predicted us", "layer");
  for (size_t i = 0; i < entry.ops.size() && i < report.opSeconds.size(); ++i)
    std::fprintf(stderr, "%-5zu %-14s %12.1f %12.1f  %s\n", i, plan::opName(entry.ops[i]), report.opSeconds[i] * 1e6, entry.ops[i].predictedUs,
                 entry.ops[i].location.c_str());
}

Status writeJson(const plan::Plan &plan, const plan::Entry &entry, const RunReport &report, const Options &options) {
  json root;
  root["schema"] = 1;
  root["version"] = kVersion;
  root["plan"] = options.plan;
  root["model"] = plan.model;
  root["entry"] = entry.name;
  root["ranks"] = plan::worldSize(plan);
  root["transport"] = options.localRanks ? "threads" : "mpi";
  root["device"] = report.device;
  root["threads"] = options.threads;
  root["plan_digest"] = report.digest;
  root["mesh"] = json::array();
  for (const plan::MeshAxis &axis : plan.mesh)
    root["mesh"].push_back({{"name", axis.name}, {"size", axis.size}, {"parent", axis.parent}});
  root["machine"] = plan.machine;
  json certificate = json::parse(plan.certificate, nullptr, false);
  root["certificate"] = certificate.is_discarded() ? json(plan.certificate) : certificate;
  root["weights_bytes_per_rank"] = report.weightsBytes;
  root["weights_bytes_planned"] = heldWeights(plan);
  root["weights_bytes_copied"] = report.copiedBytes;
  root["arena_bytes_per_rank"] = report.arenaBytes;
  root["arena_live_bound"] = entry.liveBytesBound;
  root["workspace_bytes_per_rank"] = report.workspaceBytes;
  root["weights_bytes_unsharded"] = plan.weightsBytesUnsharded;
  root["padding_bytes"] = paddingBytes(plan);
  root["load_s"] = report.loadSeconds;
  root["collectives"] = json::array();
  for (const CollectiveLine &line : collectiveLines(plan, entry, report))
    root["collectives"].push_back({{"kind", line.kind},
                                   {"axes", line.axes},
                                   {"bytes", line.bytes},
                                   {"location", line.location},
                                   {"cause", line.cause},
                                   {"predicted_us", line.predictedUs},
                                   {"measured_us", line.measuredUs}});
  json ops = json::array();
  for (size_t i = 0; i < entry.ops.size(); ++i)
    ops.push_back({{"op", plan::opName(entry.ops[i])},
                   {"location", entry.ops[i].location},
                   {"predicted_us", entry.ops[i].predictedUs},
                   {"measured_us", i < report.opSeconds.size() ? report.opSeconds[i] * 1e6 : 0.0}});
  root["ops"] = ops;
  root["predicted_ms"] = entry.predictedUs / 1e3;
  if (!report.stepSeconds.empty())
    root["time_ms"] = {{"min", *std::min_element(report.stepSeconds.begin(), report.stepSeconds.end()) * 1e3},
                       {"median", median(report.stepSeconds) * 1e3},
                       {"compute", report.medianSplit.compute() * 1e3},
                       {"communication", report.medianSplit.communication * 1e3},
                       {"wait", report.medianSplit.wait * 1e3},
                       {"iters", report.stepSeconds.size()}};
  const std::string temporary = options.json + ".tmp" + std::to_string(getpid());
  std::ofstream file(temporary);
  file << root.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
  file.close();
  if (!file || std::rename(temporary.c_str(), options.json.c_str()) != 0) {
    std::remove(temporary.c_str());
    return Status(Code::Device, "cannot write '" + options.json + "'");
  }
  return {};
}

} // namespace tenon::tools
