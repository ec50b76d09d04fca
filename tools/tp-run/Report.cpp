// SPDX-License-Identifier: Apache-2.0
#include "Report.h"

#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/exec/OpWork.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <numeric>
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

double busFactorOf(plan::CollectiveKind kind, int64_t p) {
  const double others = double(p - 1) / double(p);
  switch (kind) {
  case plan::CollectiveKind::AllReduce:
    return 2 * others;
  case plan::CollectiveKind::AllGather:
  case plan::CollectiveKind::ReduceScatter:
  case plan::CollectiveKind::AllToAll:
    return others;
  case plan::CollectiveKind::Broadcast:
    return 1;
  }
  return 0;
}

/// "1.7", or "-" for what has no bound.
std::string timesBound(double measured, double bound) {
  return bound > 0 ? format("%.1f", measured / bound) : "-";
}

} // namespace

double CollectiveFacts::algbw() const {
  return measuredUs > 0 ? double(tensorBytes) / measuredUs * 1e-3 : 0;
}
double CollectiveFacts::busbw() const { return algbw() * busFactor; }

std::vector<double> boundsUs(const RunFacts &facts) {
  std::vector<double> bounds;
  if (facts.limits.bytesPerSecond <= 0)
    return bounds;
  for (const plan::Op &op : facts.entry->ops)
    bounds.push_back(std::holds_alternative<plan::Collective>(op.body)
                         ? 0
                         : runtime::boundSeconds(*facts.entry, op, facts.limits, facts.tf32) * 1e6);
  return bounds;
}

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
    fact.busFactor = busFactorOf(collective->kind, p);
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

ModelError modelError(const RunFacts &facts) {
  ModelError result;
  std::vector<double> errors;
  double most = -1;
  for (size_t i = 0; i < std::min(facts.opSeconds.size(), facts.entry->ops.size()); ++i) {
    const plan::Op &op = facts.entry->ops[i];
    const bool collective = std::holds_alternative<plan::Collective>(op.body);
    const double measured =
        1e6 * (collective && facts.opCommunicationSeconds[i] > 0 ? facts.opCommunicationSeconds[i]
                                                                 : facts.opSeconds[i]);
    if (op.predictedUs <= 0 || measured < 1)
      continue;
    const double missed = std::abs(op.predictedUs - measured);
    errors.push_back(missed / measured);
    if (missed <= most)
      continue;
    most = missed;
    result.worst = int(i);
    result.worstPredictedUs = op.predictedUs;
    result.worstMeasuredUs = measured;
  }
  result.ops = errors.size();
  if (!errors.empty())
    result.median = runtime::medianOf(errors);
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
  text += format("steps      %lld after %lld  median %.3f ms  min %.3f ms  predicted %.3f ms",
                 (long long)steps.steps, (long long)facts.warmup, steps.median * 1e3,
                 steps.min * 1e3, facts.entry->predictedUs * 1e-3);
  if (std::vector<double> bounds = boundsUs(facts); !bounds.empty())
    text += format("  bound %.3f ms", std::accumulate(bounds.begin(), bounds.end(), 0.0) * 1e-3);
  text += "\n";
  std::vector<CollectiveFacts> collectives = collectivesOf(facts);
  std::stable_sort(collectives.begin(), collectives.end(),
                   [](const CollectiveFacts &a, const CollectiveFacts &b) {
                     return a.measuredUs > b.measuredUs;
                   });
  for (size_t i = 0; i < std::min<size_t>(3, collectives.size()); ++i) {
    const CollectiveFacts &c = collectives[i];
    text += format("collective %s over %s  %s  %.1f us  busbw %.2f GB/s  %s\n", c.kind.c_str(),
                   joined(c.axes, ",").c_str(), readableBytes(c.bytes).c_str(), c.measuredUs,
                   c.busbw(), c.location.c_str());
  }
  double total = steps.median > 0 ? steps.median / 100 : 1;
  text += format("split      compute %.1f %%  communication %.1f %%  wait %.1f %%  (rank %d)\n",
                 steps.compute / total, steps.communication / total, steps.wait / total,
                 steps.slowestRank);
  if (const ModelError error = modelError(facts); error.worst >= 0) {
    const plan::Op &op = facts.entry->ops[size_t(error.worst)];
    text += format("model      median error %.0f %% of %zu ops; worst: %s of %.60s, predicted "
                   "%.1f us, measured %.1f\n",
                   100 * error.median, error.ops, plan::opName(op),
                   op.location.empty() ? "-" : op.location.c_str(), error.worstPredictedUs,
                   error.worstMeasuredUs);
  }
  for (size_t i = 0; i < std::min<size_t>(2, facts.checks.size()); ++i)
    text += format("expected   %s: max error %.3g\n", facts.checks[i].name.c_str(),
                   facts.checks[i].maxError);
  return text;
}

std::string longReport(const RunFacts &facts) {
  if (!facts.timed)
    return "";
  struct Layer {
    std::string name;
    int64_t ops = 0;
    double predicted = 0, measured = 0;
    double bound = 0, measuredOfBound = 0; ///< Of its ops that have a bound.
    std::string kinds;
  };
  const std::vector<double> bounds = boundsUs(facts);
  std::vector<Layer> layers;
  Layer all{"all", 0, 0, 0, 0, 0, ""};
  for (size_t i = 0; i < facts.entry->ops.size(); ++i) {
    const plan::Op &op = facts.entry->ops[i];
    if (std::holds_alternative<plan::Record>(op.body) ||
        std::holds_alternative<plan::Wait>(op.body))
      continue;
    const std::string name = op.location.empty() ? "-" : op.location;
    if (layers.empty() || layers.back().name != name)
      layers.push_back({name, 0, 0, 0, 0, 0, ""});
    for (Layer *layer : {&layers.back(), &all}) {
      ++layer->ops;
      layer->predicted += op.predictedUs;
      layer->measured += facts.opSeconds[i] * 1e6;
      if (!bounds.empty() && bounds[i] > 0) {
        layer->bound += bounds[i];
        layer->measuredOfBound += facts.opSeconds[i] * 1e6;
      }
    }
    std::string &kinds = layers.back().kinds;
    kinds += (kinds.empty() ? "" : " ") + std::string(plan::opName(op));
  }
  layers.push_back(all);
  std::string text = format("\n%-44s %5s %12s %12s", "layer", "ops", "predicted us", "measured us");
  if (!bounds.empty())
    text += format(" %10s %10s", "bound us", "x of bound");
  text += "  ops in it\n";
  for (const Layer &layer : layers) {
    text += format("%-44s %5lld %12.1f %12.1f", layer.name.c_str(), (long long)layer.ops,
                   layer.predicted, layer.measured);
    if (!bounds.empty())
      text += format(" %10.1f %10s", layer.bound,
                     timesBound(layer.measuredOfBound, layer.bound).c_str());
    text += format("  %.300s\n", layer.kinds.c_str());
  }

  // Collectives of one kind, group and size together.
  struct Row {
    CollectiveFacts mean; ///< Times are sums until they are shown.
    int64_t count = 0;
  };
  std::vector<Row> rows;
  for (const CollectiveFacts &c : collectivesOf(facts)) {
    auto same = std::find_if(rows.begin(), rows.end(), [&](const Row &row) {
      return row.mean.kind == c.kind && row.mean.axes == c.axes && row.mean.bytes == c.bytes &&
             row.mean.type == c.type;
    });
    if (same == rows.end()) {
      rows.push_back({c, 1});
      continue;
    }
    ++same->count;
    same->mean.predictedUs += c.predictedUs;
    same->mean.measuredUs += c.measuredUs;
    same->mean.waitUs += c.waitUs;
  }
  text += format("\n%-16s %-10s %6s %12s %6s %12s %12s %10s %10s %10s\n", "collective", "axes",
                 "type", "tensor", "count", "predicted us", "measured us", "wait us", "algbw GB/s",
                 "busbw GB/s");
  for (auto &[mean, count] : rows) {
    for (double *us : {&mean.predictedUs, &mean.measuredUs, &mean.waitUs})
      *us /= double(count);
    text += format("%-16s %-10s %6s %12lld %6lld %12.1f %12.1f %10.1f %10.2f %10.2f\n",
                   mean.kind.c_str(), joined(mean.axes, ",").c_str(), mean.type.c_str(),
                   (long long)mean.tensorBytes, (long long)count, mean.predictedUs, mean.measuredUs,
                   mean.waitUs, mean.algbw(), mean.busbw());
  }
  if (facts.assemblyBytes)
    text +=
        format("\noutputs    assembled from blocks: %s per rank in %.3f ms, not part of a step\n",
               readableBytes(facts.assemblyBytes).c_str(), facts.assemblySeconds * 1e3);
  text += format("certificate %s\n", facts.plan->certificate.c_str());
  return text;
}

} // namespace tenon::tprun
