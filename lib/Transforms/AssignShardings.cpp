// SPDX-License-Identifier: Apache-2.0
// tp-assign-shardings: gather (ProblemBuilder), decide (Solver), write down. The decision is one
// strategy per op and one sharding per weight and entry result; everything else follows from the
// ops' rules.

#include "CallSpec.h"
#include "MemoryFrontier.h"
#include "MeshSpec.h"
#include "OpPrice.h"
#include "ProblemBuilder.h"
#include "ShardingReport.h"
#include "tenon/Transforms/MemorySpec.h"
#include "tenon/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

#include "llvm/Support/raw_ostream.h"

#include <chrono>

namespace tenon {
#define GEN_PASS_DEF_ASSIGNSHARDINGSPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

std::string tenon::checkOptions(const AssignShardingsPassOptions &options) {
  std::string error;
  if (!parseMemory(options.memory, error))
    return error;
  if (!options.strategy.empty() && options.strategy != "megatron" && options.strategy != "hf")
    return "unknown strategy '" + options.strategy + "'; expected megatron or hf";
  if (!parseCalls(options.calls, error))
    return error;
  if (!(options.solveSeconds > 0))
    return "expected solve-seconds above 0, found " + std::to_string(options.solveSeconds);
  if (!options.pins.empty() && !readPins(options.pins, error))
    return error;
  if (!cost::loadMachine(options.machine, error) ||
      (!options.mesh.empty() && !parseMesh(options.mesh, error)))
    return error;
  return "";
}

namespace {

/// Of the search under a memory limit: rounds, not seconds, so that a plan does not depend on the
/// machine that compiles it.
constexpr int64_t kSearchRounds = 200;

/// The solver's own choice where pins were given.
struct Unpinned {
  double objective;
  int64_t weightBytes;
};

struct AssignShardings : tenon::impl::AssignShardingsPassBase<AssignShardings> {
  using AssignShardingsPassBase::AssignShardingsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    AssignShardingsPassOptions given;
    given.mesh = mesh;
    given.machine = machine;
    given.memory = memory;
    given.pins = pins;
    given.strategy = strategy;
    given.calls = calls;
    given.solveSeconds = solveSeconds;
    std::string why = checkOptions(given);
    if (!why.empty()) {
      emitError(UnknownLoc::get(&getContext())) << why;
      return signalPassFailure();
    }
    std::optional<sharding::Mesh> wanted = readMesh();
    if (!wanted)
      return signalPassFailure();
    const sharding::Mesh &mesh = *wanted;
    cost::CostModel model(*cost::loadMachine(machine, why));
    ReshardPrices prices(mesh, model);
    solver::SearchLimits limits;
    limits.rounds = kSearchRounds;
    limits.seconds = solveSeconds;
    FailureOr<BuildOptions> options = readOptions(module, mesh);
    if (failed(options))
      return signalPassFailure();
    auto build = [&](const BuildOptions &with) {
      return buildProblem(module, mesh, model, prices, with);
    };

    // What the hand-made plan is compared with: the same problem without its pins.
    std::optional<Unpinned> free;
    if (options->baseline != BuildOptions::Baseline::None || !options->pins.empty()) {
      BuildOptions without = *options;
      without.baseline = BuildOptions::Baseline::None;
      without.pins.clear();
      FailureOr<BuiltProblem> unpinned = build(without);
      if (failed(unpinned))
        return signalPassFailure();
      if (solver::Solution solution = solver::solve(unpinned->problem, limits); solution.feasible)
        free = Unpinned{solution.objective, weightBytes(*unpinned, solution, mesh)};
    }
    FailureOr<BuiltProblem> built = build(*options);
    if (failed(built))
      return signalPassFailure();
    if (std::string why = solver::check(built->problem); !why.empty()) {
      emitError(module.getLoc()) << "the sharding problem is malformed: " << why;
      return signalPassFailure();
    }
    if (!dumpProblem.empty() && failed(saveProblem(module, built->problem)))
      return signalPassFailure();
    auto start = std::chrono::steady_clock::now();
    solver::Solution solution = solver::solve(built->problem, limits);
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!solution.feasible && options->memoryLimit != solver::kNoLimit) {
      explainMemory(module, *built, options->memoryLimit);
      return signalPassFailure();
    }
    if (!solution.feasible) {
      emitError(module.getLoc())
          << "no assignment satisfies the pins and the demand that weights are sharded over every "
             "axis "
             "(memory=shard); drop a pin, name an axis in replicate-over, or use memory=none";
      return signalPassFailure();
    }
    // The engine's own sum against the definition: two ways to one number.
    const double slack = 1e-9 * std::abs(solution.objective) + 1e-15;
    if (solution.rawBound > solution.objective + slack ||
        (solution.exact && solution.rawBound < solution.objective - slack)) {
      emitError(module.getLoc()) << "the solver's bound " << solution.rawBound
                                 << " contradicts the cost of its choice " << solution.objective;
      return signalPassFailure();
    }
    if (pareto) {
      // Before the choices are written: they would be pins.
      BuildOptions limited = *options;
      limited.shardWeights = false;
      limited.memoryLimit = solver::kNoLimit - 1; // Any: that the uses are there.
      FailureOr<BuiltProblem> whole = build(limited);
      if (failed(whole))
        return signalPassFailure();
      printFrontier(memoryFrontier(std::move(whole->problem), limits), llvm::errs());
    }
    write(module, mesh, *built, solution, model, seconds, free);
    const std::vector<solver::RunnerUp> runners = solver::runnerUps(built->problem, solution);
    module->setAttr(kChoicesAttr,
                    StringAttr::get(&getContext(), choicesJson(*built, solution, runners, mesh)));
    explain(*built, solution, runners, mesh, report);
  }

private:
  /// What the options, checked before, ask of the problem.
  FailureOr<BuildOptions> readOptions(ModuleOp module, const sharding::Mesh &mesh) {
    std::string error;
    BuildOptions options;
    const MemoryDemand demand = *parseMemory(memory, error);
    options.shardWeights = demand.shardWeights;
    options.memoryLimit = demand.limit;
    options.calls = *parseCalls(calls, error);
    if (!pins.empty())
      options.pins = *readPins(pins, error);
    options.baseline = strategy == "megatron" ? BuildOptions::Baseline::Megatron
                       : strategy == "hf"     ? BuildOptions::Baseline::HuggingFace
                                              : BuildOptions::Baseline::None;
    if (strategy == "hf" && !layerPlan(module))
      return emitError(module.getLoc())
                 << "strategy=hf needs the plan of the model's config, " << kLayerPlanAttr
                 << " on the module; the config of this model has none",
             failure();
    for (const std::string &axis : replicateOver) {
      FailureOr<sharding::AxisList> axes =
          toAxes(ArrayAttr::get(&getContext(), StringAttr::get(&getContext(), axis)), mesh,
                 [&] { return emitError(module.getLoc()); });
      if (failed(axes))
        return failure();
      llvm::append_range(options.replicateOver, *axes);
    }
    return options;
  }

  LogicalResult saveProblem(ModuleOp module, const solver::ShardingProblem &problem) {
    std::error_code error;
    llvm::raw_fd_ostream file(dumpProblem, error);
    if (!error) {
      file << solver::toJson(problem) << '\n';
      file.close();
      error = file.error();
      file.clear_error();
    }
    if (error)
      return emitError(module.getLoc())
             << "cannot write '" << dumpProblem << "': " << error.message();
    return success();
  }

  /// True when the users' axes, of which a mesh may hold parts, agree in name and size.
  static bool sameUserAxes(const sharding::Mesh &a, const sharding::Mesh &b) {
    auto axes = [](const sharding::Mesh &mesh) {
      std::vector<std::pair<std::string, int64_t>> result;
      for (const sharding::MeshAxis &axis : mesh.axes)
        if (!result.empty() && result.back().first == axis.parent)
          result.back().second *= axis.size;
        else
          result.emplace_back(axis.parent, axis.size);
      return result;
    };
    return axes(a) == axes(b);
  }

  std::optional<sharding::Mesh> readMesh() {
    ModuleOp module = getOperation();
    std::optional<sharding::Mesh> given;
    std::string error;
    if (!mesh.empty())
      given = parseMesh(mesh, error);
    if (MeshOp op = findMesh(module)) {
      std::optional<sharding::Mesh> own = toMesh(op);
      if (own && given && !sameUserAxes(*own, *given)) {
        op.emitOpError() << "the module has this mesh, and mesh=" << mesh << " is another";
        return std::nullopt;
      }
      return own;
    }
    if (!given) {
      emitError(UnknownLoc::get(&getContext()))
          << "expected mesh=AXIS:SIZE,... such as mesh=tp:2, found none";
      return std::nullopt;
    }
    return splitMesh(*given, module);
  }

  /// No plan within the limit: the least that would do, and what fills it.
  void explainMemory(ModuleOp module, const BuiltProblem &built, int64_t limit) {
    const std::vector<int32_t> lean = solver::leastMemory(built.problem);
    InFlightDiagnostic diagnostic = emitError(module.getLoc());
    diagnostic << "no assignment holds at most " << limit << " bytes per rank (memory=" << memory
               << "); the least found is " << solver::peakMemory(built.problem, lean);
    std::vector<std::pair<int64_t, int32_t>> largest;
    for (const solver::MemoryUse &use : built.problem.uses)
      largest.push_back({-use.bytes[lean[use.node]], use.node});
    llvm::sort(largest);
    for (auto [bytes, node] : ArrayRef(largest).take_front(3))
      diagnostic.attachNote(built.variables[node].op->getLoc())
          << built.problem.nodes[node].name << " holds " << -bytes << " of them";
  }

  /// What the pinned plan would gain by the solver's own choices.
  /// A pin may hold a weight on more ranks than the memory demand would, hence the bytes.
  std::string comparison(std::optional<Unpinned> free, int64_t bytes) {
    if (!free)
      return "";
    return llvm::formatv(", \"pinned_by\": \"{0}\", \"free_objective_s\": {1:e9}, "
                         "\"weights_bytes\": {2}, \"free_weights_bytes\": {3}",
                         strategy.empty() ? "pins" : strategy.getValue(), free->objective, bytes,
                         free->weightBytes)
        .str();
  }

  /// Bytes per rank of the weights, padding included.
  static int64_t weightBytes(const BuiltProblem &built, const solver::Solution &solution,
                             const sharding::Mesh &mesh) {
    int64_t sum = 0;
    for (auto [index, variable] : llvm::enumerate(built.variables))
      if (variable.kind == Variable::Kind::Weight) {
        auto type = cast<RankedTensorType>(cast<ml_program::GlobalOp>(variable.op).getType());
        sum += localType(type, variable.shardings[solution.choice[index]], mesh).getNumElements() *
               elementBytes(type.getElementType());
      }
    return sum;
  }

  void write(ModuleOp module, const sharding::Mesh &mesh, const BuiltProblem &built,
             const solver::Solution &solution, const cost::CostModel &model, double seconds,
             std::optional<Unpinned> free) {
    MLIRContext *context = &getContext();
    OpBuilder builder(module.getBodyRegion());
    if (!findMesh(module)) {
      SmallVector<StringRef> names, parents;
      SmallVector<int64_t> sizes;
      for (const sharding::MeshAxis &axis : mesh.axes) {
        names.push_back(axis.name);
        parents.push_back(axis.parent);
        sizes.push_back(axis.size);
      }
      MeshOp::create(builder, module.getLoc(), "mesh", builder.getStrArrayAttr(names), sizes,
                     builder.getStrArrayAttr(parents));
    }
    for (auto [variable, choice] : llvm::zip_equal(built.variables, solution.choice)) {
      switch (variable.kind) {
      case Variable::Kind::Op:
        variable.op->setAttr(kStrategyAttr,
                             toAttr(context, variable.table->strategies[variable.allowed[choice]],
                                    variable.table->rule, mesh));
        variable.op->removeAttr(kShardingAttr);
        break;
      case Variable::Kind::Weight:
        variable.op->setAttr(kShardingAttr, toAttr(context, variable.shardings[choice], mesh));
        break;
      case Variable::Kind::Result:
        variable.op->getParentOfType<func::FuncOp>().setResultAttr(
            variable.resultNumber, kShardingAttr,
            toAttr(context, variable.shardings[choice], mesh));
        break;
      }
    }
    std::string text;
    llvm::raw_string_ostream os(text);
    os << llvm::formatv(
        "{{\"objective_s\": {0:e9}, \"bound_s\": {1:e9}, \"gap\": {2:e3}, \"method\": \"{3}\", "
        "\"covers\": "
        "\"enumerated strategies, this cost model, memory={4}, same-target sharing, before fusion "
        "and scheduling\", "
        "\"variables\": {5}, \"largest_table\": {6}{7}{8}}",
        solution.objective, solution.bound,
        solution.objective > 0 ? (solution.objective - solution.bound) / solution.objective : 0.0,
        solution.method, memory, built.variables.size(), solution.largestTable,
        comparison(free, weightBytes(built, solution, mesh)),
        calls.empty() ? std::string() : ", \"calls\": \"" + calls + "\"");
    module->setAttr(kCertificateAttr, builder.getStringAttr(text));
    module->setAttr(kMachineAttr,
                    builder.getStringAttr(model.machine().name + " " + model.machine().digest()));
    remark::analysis(module.getLoc(),
                     remark::RemarkOpts::name("Certificate").category("tp-assign-shardings"))
        << llvm::formatv("{0} solved in {1:f3} ms", text, seconds * 1e3).str();
    if (report)
      llvm::errs() << "certificate: " << text
                   << "\nsolve: " << llvm::formatv("{0:f3} ms\n", seconds * 1e3);
  }
};

} // namespace
