// SPDX-License-Identifier: Apache-2.0

#include "tenon/Pipelines/Pipelines.h"

#include "tenon/Conversion/TPToPlan.h"
#include "tenon/Dialect/Plan/Transforms/Passes.h"
#include "tenon/Target/PlanEmitter.h"
#include "tenon/Transforms/MemorySpec.h"
#include "tenon/Transforms/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace tenon;

namespace {

/// Writes the module to DIR/N-phase.mlir.
struct DumpPhase : PassWrapper<DumpPhase, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DumpPhase)
  DumpPhase(std::string directory, std::string name)
      : directory(std::move(directory)), name(std::move(name)) {}
  StringRef getArgument() const override { return "tp-dump-phase"; }
  StringRef getDescription() const override { return "Write the module after a phase to a file"; }

  void runOnOperation() override {
    std::error_code error = llvm::sys::fs::create_directories(directory);
    llvm::SmallString<128> path(directory);
    llvm::sys::path::append(path, name);
    if (!error) {
      llvm::raw_fd_ostream os(path, error);
      if (!error) {
        OpPrintingFlags flags;
        flags.enableDebugInfo(true, false);
        getOperation()->print(os, flags);
        os << '\n';
        os.close();
        error = os.error();
      }
    }
    if (error) {
      emitError(getOperation().getLoc()) << "cannot write '" << path << "': " << error.message();
      signalPassFailure();
    }
  }

  std::string directory, name;
};

/// Canonicalize, CSE and symbol-DCE: after raising and after the optimisations.
void addCleanup(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createSymbolDCEPass());
}

} // namespace

LogicalResult tenon::buildCompilePipeline(OpPassManager &manager, const CompileOptions &options) {
  static constexpr StringRef phases[] = {"graph", "sharded",   "resharded", "collective",
                                         "local", "optimized", "plan"};
  const StringRef *last = llvm::find(phases, options.to.getValue());
  if (last == std::end(phases)) {
    llvm::errs() << "tp-compile: unknown phase '" << options.to << "'; the phases are "
                 << llvm::join(ArrayRef<StringRef>(phases), ", ") << "\n";
    return failure();
  }
  AssignShardingsPassOptions assign;
  assign.mesh = options.mesh;
  assign.machine = options.machine;
  assign.memory = options.memory;
  for (const std::string &axis : options.replicateOver)
    assign.replicateOver.push_back(axis);
  assign.pins = options.pins;
  assign.strategy = options.strategy;
  assign.dumpProblem = options.dumpProblem;
  assign.report = options.report;
  assign.pareto = options.pareto;
  assign.calls = options.calls;
  assign.solveSeconds = options.solveSeconds;
  if (std::string why = checkOptions(assign); !why.empty()) {
    llvm::errs() << "tp-compile: " << why << "\n";
    return failure();
  }

  int number = 0;
  auto endOf = [&](StringRef phase) {
    if (!options.dumpDir.empty())
      manager.addPass(std::make_unique<DumpPhase>(options.dumpDir, std::to_string(number) + "-" +
                                                                       phase.str() + ".mlir"));
    return phases[number++] == *last;
  };

  manager.addPass(createRaisePass());
  addCleanup(manager);
  manager.addPass(createVerifyGraphPass());
  if (endOf("graph"))
    return success();

  manager.addPass(createAssignShardingsPass(assign));
  if (endOf("sharded"))
    return success();

  manager.addPass(createInsertReshardsPass());
  manager.addPass(createVerifyShardingPass());
  if (endOf("resharded"))
    return success();

  manager.addPass(createLowerReshardsPass({options.machine}));
  manager.addPass(createVerifyShardingPass());
  if (endOf("collective"))
    return success();

  manager.addPass(createLocalizePass());
  manager.addPass(createVerifyLocalPass());
  if (endOf("local"))
    return success();

  manager.addPass(createMergeMatmulsPass());
  manager.addPass(createFusePass());
  addCleanup(manager);
  manager.addPass(createVerifyLocalPass());
  if (endOf("optimized"))
    return success();

  manager.addPass(createConvertTPToPlanPass({options.machine}));
  manager.addPass(plan::createScheduleStreamsPass());
  plan::AssignBuffersPassOptions buffers;
  std::string error;
  if (const auto demand = parseMemory(options.memory, error);
      demand && demand->limit != std::numeric_limits<int64_t>::max())
    buffers.memoryLimit = demand->limit;
  manager.addPass(plan::createAssignBuffersPass(buffers));
  endOf("plan");
  return success();
}

void tenon::registerTenonPasses() {
  registerTenonTransformsPasses();
  registerConvertTPToPlanPass();
  plan::registerPlanPasses();
  registerPlanTargetPasses();
  registerCanonicalizerPass();
  registerCSEPass();
  registerSymbolDCEPass();
  // Not PassPipelineRegistration: its builders cannot fail.
  registerPassPipeline(
      "tp-compile", "Compile a graph for every rank of a mesh, up to a phase",
      [](OpPassManager &manager, StringRef text, function_ref<LogicalResult(const Twine &)>) {
        CompileOptions options;
        return success(succeeded(options.parseFromString(text)) &&
                       succeeded(buildCompilePipeline(manager, options)));
      },
      [](function_ref<void(const detail::PassOptions &)> show) { show(CompileOptions()); });
}
