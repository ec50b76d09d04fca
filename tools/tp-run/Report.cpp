// SPDX-License-Identifier: Apache-2.0
#include "Report.h"

#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <set>

namespace tenon::tprun {

using runtime::readableBytes;

namespace {

__attribute__((format(printf, 1, 2))) std::string format(const char *pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  std::string text(size_t(std::max(0, std::vsnprintf(nullptr, 0, pattern, arguments))), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::string joined(const std::vector<std::string> &parts, const char *between) {
  std::string text;
  for (const std::string &part : parts)
    text += (text.empty() ? "" : between) + part;
  return text;
}

std::string meshText(const plan::Plan &plan) {
  std::string text;
  for (const plan::MeshAxis &axis : plan.mesh)
    text += (text.empty() ? "" : " ") + axis.name + "=" + std::to_string(axis.size);
  return text.empty() ? "one rank" : text;
}

/// Bytes per second of `bytes` in `us`, in GB/s.
double gigabytesPerSecond(int64_t bytes, double us) {
  return us > 0 ? double(bytes) / us * 1e-3 : 0;
}

} // namespace

std::vector<CollectiveFacts> collectivesOf(const RunFacts &facts) {
  std::vector<CollectiveFacts> result;
  for (size_t i = 0; i < facts.entry->ops.size(); ++i) {
    const plan::Op &op = facts.entry->ops[i];
    const auto *collective = std::get_if<plan::Collective>(&op.body);
    if (!collective)
      continue;
    CollectiveFacts fact;
    int64_t p = 1;
    for (int32_t axis : collective->axes)
      p *= facts.plan->mesh[size_t(axis)].size;
    plan::DataType type = facts.entry->buffers[size_t(collective->x.buffer)].type;
    int64_t n = plan::elements(collective->x) * plan::byteWidth(type);
    if (collective->kind == plan::CollectiveKind::AllGather)
      n *= p;
    fact.op = int(i);
    fact.kind = plan::opName(op);
    fact.axes = runtime::axisNames(*facts.plan, collective->axes);
    fact.tensorBytes = n;
    fact.bytes = (collective->kind == plan::CollectiveKind::AllReduce ? 2 : 1) * n * (p - 1) / p;
    fact.type = plan::name(type);
    fact.location = op.location;
    fact.cause = collective->cause;
    fact.predictedUs = op.predictedUs;
    if (i < facts.opCommunicationSeconds.size()) {
      fact.measuredUs = facts.opCommunicationSeconds[i] * 1e6;
      fact.waitUs = facts.opWaitSeconds[i] * 1e6;
    }
    result.push_back(std::move(fact));
  }
  return result;
}

std::string shortReport(const RunFacts &facts) {
  const plan::Plan &plan = *facts.plan;
  std::set<std::string> hosts;
  for (const RankFacts &rank : facts.ranks)
    hosts.insert(rank.host);
  std::string text;
  text += format("plan       %s  %s  sha256 %.16s\n", facts.planPath.c_str(),
                 facts.entry->name.c_str(), facts.digest.c_str());
  text += format("mesh       %s  %zu rank%s on %zu host%s  %s  %s  %d thread%s per rank\n",
                 meshText(plan).c_str(), facts.ranks.size(), facts.ranks.size() == 1 ? "" : "s",
                 hosts.size(), hosts.size() == 1 ? "" : "s", facts.device.c_str(),
                 facts.transport.c_str(), facts.threads, facts.threads == 1 ? "" : "s");
  int64_t held = 0, load = 0, workspace = 0;
  double loadSeconds = 0, prepareSeconds = 0;
  for (const RankFacts &rank : facts.ranks) {
    held = std::max(held, rank.weightBytes);
    load += rank.copiedBytes;
    workspace = std::max(workspace, rank.workspaceBytes);
    loadSeconds = std::max(loadSeconds, rank.loadSeconds);
    prepareSeconds = std::max(prepareSeconds, rank.prepareSeconds);
  }
  text +=
      format("memory     per rank: weights %s planned, %s held; arena %s; workspace %s\n",
             readableBytes(runtime::plannedWeightBytes(plan)).c_str(),
             facts.timed ? readableBytes(held).c_str() : "none",
             readableBytes(runtime::arenaBytes(plan)).c_str(), readableBytes(workspace).c_str());
  if (!facts.timed)
    return text + "dry run    nothing was loaded and nothing was run\n";
  text += format(
      "load       %s in %.2f s%s, prepared in %.2f s\n", readableBytes(load).c_str(), loadSeconds,
      facts.randomWeights ? format(" (%lld random)", (long long)facts.randomWeights).c_str() : "",
      prepareSeconds);
  const runtime::StepSummary &steps = facts.steps;
  text += format("steps      %lld after %lld  median %.3f ms  min %.3f ms  predicted %.3f ms\n",
                 (long long)steps.steps, (long long)facts.warmup, steps.median * 1e3,
                 steps.min * 1e3, facts.entry->predictedUs * 1e-3);
  std::vector<CollectiveFacts> collectives = collectivesOf(facts);
  std::stable_sort(collectives.begin(), collectives.end(),
                   [](const CollectiveFacts &a, const CollectiveFacts &b) {
                     return a.measuredUs > b.measuredUs;
                   });
  for (size_t i = 0; i < std::min<size_t>(3, collectives.size()); ++i) {
    const CollectiveFacts &c = collectives[i];
    text += format("collective %s over %s  %s  %.1f us  busbw %.2f GB/s  %s\n", c.kind.c_str(),
                   joined(c.axes, ",").c_str(), readableBytes(c.bytes).c_str(), c.measuredUs,
                   gigabytesPerSecond(c.bytes, c.measuredUs), c.location.c_str());
  }
  double total = steps.median > 0 ? steps.median / 100 : 1;
  text += format("split      compute %.1f %%  communication %.1f %%  wait %.1f %%  (rank %d)\n",
                 steps.compute / total, steps.communication / total, steps.wait / total,
                 steps.slowestRank);
  for (size_t i = 0; i < std::min<size_t>(2, facts.checks.size()); ++i)
    text += format("expected   %s: max error %.3g\n", facts.checks[i].name.c_str(),
                   facts.checks[i].maxError);
  return text;
}

std::string longReport(const RunFacts &facts) {
  if (!facts.timed)
    return "";
  std::string text = format("\n%-44s %5s %12s %12s  %s\n", "layer", "ops", "predicted us",
                            "measured us", "ops in it");
  struct Layer {
    std::string name;
    int64_t ops = 0;
    double predicted = 0, measured = 0;
    std::vector<std::string> kinds;
  };
  std::vector<Layer> layers;
  for (size_t i = 0; i < facts.entry->ops.size(); ++i) {
    const plan::Op &op = facts.entry->ops[i];
    if (std::holds_alternative<plan::Record>(op.body) ||
        std::holds_alternative<plan::Wait>(op.body))
      continue;
    if (layers.empty() || layers.back().name != op.location)
      layers.push_back({op.location, 0, 0, 0, {}});
    Layer &layer = layers.back();
    ++layer.ops;
    layer.predicted += op.predictedUs;
    layer.measured += facts.opSeconds[i] * 1e6;
    layer.kinds.push_back(plan::opName(op));
  }
  for (const Layer &layer : layers)
    text += format("%-44s %5lld %12.1f %12.1f  %.300s\n",
                   layer.name.empty() ? "-" : layer.name.c_str(), (long long)layer.ops,
                   layer.predicted, layer.measured, joined(layer.kinds, " ").c_str());

  // Collectives of one kind, group and size together.
  struct Row {
    CollectiveFacts first;
    int64_t count = 0;
    double predicted = 0, measured = 0, wait = 0;
  };
  std::vector<Row> rows;
  for (const CollectiveFacts &c : collectivesOf(facts)) {
    auto same = std::find_if(rows.begin(), rows.end(), [&](const Row &row) {
      return row.first.kind == c.kind && row.first.axes == c.axes && row.first.bytes == c.bytes &&
             row.first.type == c.type;
    });
    if (same == rows.end())
      same = rows.insert(rows.end(), Row{c});
    ++same->count;
    same->predicted += c.predictedUs;
    same->measured += c.measuredUs;
    same->wait += c.waitUs;
  }
  text += format("\n%-16s %-10s %6s %12s %6s %12s %12s %10s %10s %10s\n", "collective", "axes",
                 "type", "tensor", "count", "predicted us", "measured us", "wait us", "algbw GB/s",
                 "busbw GB/s");
  for (const Row &row : rows)
    text += format("%-16s %-10s %6s %12lld %6lld %12.1f %12.1f %10.1f %10.2f %10.2f\n",
                   row.first.kind.c_str(), joined(row.first.axes, ",").c_str(),
                   row.first.type.c_str(), (long long)row.first.tensorBytes, (long long)row.count,
                   row.predicted / double(row.count), row.measured / double(row.count),
                   row.wait / double(row.count),
                   gigabytesPerSecond(row.first.tensorBytes * row.count, row.measured),
                   gigabytesPerSecond(row.first.bytes * row.count, row.measured));
  if (facts.assemblyBytes)
    text +=
        format("\noutputs    assembled from blocks: %s per rank in %.3f ms, not part of a step\n",
               readableBytes(facts.assemblyBytes).c_str(), facts.assemblySeconds * 1e3);
  text += format("certificate %s\n", facts.plan->certificate.c_str());
  return text;
}

} // namespace tenon::tprun
