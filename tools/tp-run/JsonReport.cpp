// SPDX-License-Identifier: Apache-2.0
// The report for programs: JSON with a schema number, and the last step in Chrome's trace format.
#include "Report.h"

#include "tenon/runtime/plan/Access.h"
#include "tenon/runtime/plan/PlanWriter.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

namespace tenon::tprun {

using nlohmann::ordered_json;

std::string jsonReport(const RunFacts &facts) {
  const plan::Plan &plan = *facts.plan;
  ordered_json report;
  report["schema"] = 1;
  report["plan"] = facts.planPath;
  report["plan_digest"] = facts.digest;
  report["model"] = plan.model;
  report["entry"] = facts.entry->name;
  report["ranks"] = facts.ranks.size();
  report["mesh"] = ordered_json::array();
  for (const plan::MeshAxis &axis : plan.mesh)
    report["mesh"].push_back({{"name", axis.name}, {"size", axis.size}, {"parent", axis.parent}});
  report["device"] = facts.device;
  report["transport"] = facts.transport;
  report["threads_per_rank"] = facts.threads;
  report["versions"] = {{"tp-run", TENON_VERSION},
                        {"plan_format", plan::formatNumber},
                        {"plan_producer", plan.producer},
                        {"machine", plan.machine},
                        {"compiler", __VERSION__}};
  int64_t padding = 0;
  for (const char *key : {"hosts", "weights_bytes_per_rank", "arena_bytes_per_rank",
                          "workspace_bytes_per_rank", "load_seconds_per_rank"})
    report[key] = ordered_json::array();
  for (const RankFacts &rank : facts.ranks) {
    report["hosts"].push_back(rank.host);
    report["weights_bytes_per_rank"].push_back(rank.weightBytes);
    report["arena_bytes_per_rank"].push_back(rank.arenaBytes);
    report["workspace_bytes_per_rank"].push_back(rank.workspaceBytes);
    report["load_seconds_per_rank"].push_back(rank.loadSeconds);
    padding += rank.paddingBytes;
  }
  report["weights_bytes_unsharded"] = plan.weightsBytesUnsharded;
  report["padding_bytes"] = padding;
  report["arena_live_bytes_bound"] = facts.entry->liveBytesBound;
  report["predicted_ms"] = facts.entry->predictedUs * 1e-3;
  report["steps"] = facts.steps.steps;
  report["warmup"] = facts.warmup;
  const std::vector<double> bounds = boundsUs(facts);
  if (facts.timed)
    report["time_ms"] = {{"min", facts.steps.min * 1e3},
                         {"median", facts.steps.median * 1e3},
                         {"compute", facts.steps.compute * 1e3},
                         {"communication", facts.steps.communication * 1e3},
                         {"wait", facts.steps.wait * 1e3},
                         {"predicted", facts.entry->predictedUs * 1e-3},
                         {"slowest_rank", facts.steps.slowestRank}};
  if (facts.timed && !bounds.empty())
    report["time_ms"]["bound"] = std::accumulate(bounds.begin(), bounds.end(), 0.0) * 1e-3;
  report["collectives"] = ordered_json::array();
  for (const CollectiveFacts &c : collectivesOf(facts))
    report["collectives"].push_back({{"op", c.op},
                                     {"kind", c.kind},
                                     {"axes", c.axes},
                                     {"type", c.type},
                                     {"bytes", c.bytes},
                                     {"tensor_bytes", c.tensorBytes},
                                     {"location", c.location},
                                     {"cause", c.cause},
                                     {"predicted_us", c.predictedUs},
                                     {"measured_us", c.measuredUs},
                                     {"wait_us", c.waitUs},
                                     {"algbw_gb_per_s", c.algbw()},
                                     {"busbw_gb_per_s", c.busbw()}});
  report["ops"] = ordered_json::array();
  for (size_t i = 0; i < facts.entry->ops.size(); ++i) {
    const plan::Op &op = facts.entry->ops[i];
    report["ops"].push_back(
        {{"op", i},
         {"name", plan::opName(op)},
         {"location", op.location},
         {"stream", op.stream},
         {"predicted_us", op.predictedUs},
         {"measured_us", i < facts.opSeconds.size() ? facts.opSeconds[i] * 1e6 : 0.0}});
    if (bounds.empty() || bounds[i] <= 0)
      continue;
    ordered_json &fact = report["ops"].back();
    fact["bound_us"] = bounds[i];
    fact["x_of_bound"] = double(fact["measured_us"]) / bounds[i];
  }
  if (const ModelError error = modelError(facts); error.worst >= 0)
    report["model_error"] = {{"ops", error.ops},
                             {"median", error.median},
                             {"worst_op", error.worst},
                             {"worst_predicted_us", error.worstPredictedUs},
                             {"worst_measured_us", error.worstMeasuredUs}};
  report["output_assembly"] = {{"bytes", facts.assemblyBytes}, {"ms", facts.assemblySeconds * 1e3}};
  report["expected_outputs"] = ordered_json::array();
  for (const OutputCheck &check : facts.checks)
    report["expected_outputs"].push_back(
        {{"name", check.name}, {"equal", check.equal}, {"max_error", check.maxError}});
  report["certificate"] = ordered_json::parse(plan.certificate, nullptr, false);
  if (report["certificate"].is_discarded())
    report["certificate"] = plan.certificate;
  return report.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string chromeTrace(const RunFacts &facts) {
  ordered_json events = ordered_json::array();
  double start = std::numeric_limits<double>::infinity();
  for (const RankFacts &rank : facts.ranks)
    for (const runtime::OpTime &time : rank.lastStep)
      if (time.begin > 0)
        start = std::min(start, time.begin);
  auto us = [&](double seconds) { return (seconds - start) * 1e6; };
  for (size_t rank = 0; rank < facts.ranks.size(); ++rank) {
    events.push_back(
        {{"name", "process_name"},
         {"ph", "M"},
         {"pid", rank},
         {"args", {{"name", "rank " + std::to_string(rank) + " on " + facts.ranks[rank].host}}}});
    const std::vector<runtime::OpTime> &times = facts.ranks[rank].lastStep;
    for (size_t i = 0; i < std::min(times.size(), facts.entry->ops.size()); ++i) {
      const plan::Op &op = facts.entry->ops[i];
      const runtime::OpTime &time = times[i];
      if (time.begin <= 0)
        continue;
      auto add = [&](const std::string &name, double begin, double end) {
        events.push_back(
            {{"name", name},
             {"cat", op.stream == 1 ? "communication" : "compute"},
             {"ph", "X"},
             {"pid", rank},
             {"tid", op.stream},
             {"ts", us(begin)},
             {"dur", (end - begin) * 1e6},
             {"args", {{"op", i}, {"location", op.location}, {"predicted_us", op.predictedUs}}}});
      };
      std::string name = plan::opName(op);
      if (std::holds_alternative<plan::Collective>(op.body) && time.collective.left > 0) {
        add(name + " (wait)", time.collective.entered, time.collective.ready);
        add(name, time.collective.ready, time.collective.left);
      } else {
        add(name, time.begin, time.end);
      }
    }
  }
  ordered_json trace = {{"displayTimeUnit", "ms"}, {"traceEvents", events}};
  return trace.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

} // namespace tenon::tprun
