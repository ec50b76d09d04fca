// SPDX-License-Identifier: Apache-2.0
// tp-opt: the compiler on files. MLIR's opt driver with Tenon's dialects and passes, plus three
// forms of its own:
//   tp-opt model.mlir --tp-compile="mesh=tp:2" --emit=plan -o model.plan   compile and write a plan
//   file tp-opt model.plan --to-text                                           a plan file as text
//   tp-opt model.mlir --tp-compile="mesh=tp:2" --tp-report                 the table of choices on
//   stderr

#include "tenon/Dialect/Plan/IR/PlanDialect.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"
#include "tenon/Pipelines/Pipelines.h"
#include "tenon/Target/PlanEmitter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

namespace {

/// Leaves nothing to print: after the plan is written, its text would go nowhere.
struct DiscardModule : PassWrapper<DiscardModule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DiscardModule)
  void runOnOperation() override { getOperation().getBody()->clear(); }
};

/// Tenon's own options, taken out of the command line before MLIR's driver reads it.
struct OwnOptions {
  std::string emit;
  bool toText = false;
  bool report = false;
};

OwnOptions takeOwnOptions(std::vector<std::string> &arguments) {
  OwnOptions own;
  std::vector<std::string> rest;
  for (const std::string &argument : arguments) {
    StringRef text(argument);
    StringRef bare = text.starts_with("--") ? text.drop_front(1) : text;
    if (bare.consume_front("-emit="))
      own.emit = bare.str();
    else if (bare == "-to-text")
      own.toText = true;
    else if (bare == "-tp-report" || bare == "-tp-report=table")
      own.report = true;
    else
      rest.push_back(argument);
  }
  if (own.report)
    for (std::string &argument : rest)
      if (StringRef(argument).ltrim('-').starts_with("tp-compile"))
        argument += StringRef(argument).contains('=') ? " report=true" : "=report=true";
  arguments = std::move(rest);
  return own;
}

int usage(const Twine &message) {
  llvm::errs() << "tp-opt: " << message << "\n";
  return 2;
}

int run(int argc, char **argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  OwnOptions own = takeOwnOptions(arguments);
  if (!own.emit.empty() && own.emit != "plan")
    return usage("unknown --emit=" + own.emit + "; expected --emit=plan");
  bool hasOutput = llvm::any_of(arguments, [](StringRef a) {
    return a == "-o" || a.starts_with("-o=") || a.starts_with("--o=");
  });
  if (!own.emit.empty() && !hasOutput)
    return usage("--emit=plan needs -o FILE");
  if (!own.emit.empty() &&
      llvm::any_of(arguments, [](StringRef a) { return a.ltrim('-').starts_with("split-input"); }))
    return usage("--emit=plan writes one file and excludes --split-input-file");
  if (!own.emit.empty())
    for (StringRef argument : arguments)
      if (argument.ltrim('-').starts_with("tp-compile") &&
          (argument.contains("=to=") || argument.contains(" to=")))
        return usage("--emit=plan excludes to=");

  std::vector<char *> pointers;
  for (std::string &argument : arguments)
    pointers.push_back(argument.data());
  DialectRegistry registry;
  registry.insert<func::FuncDialect, ml_program::MLProgramDialect, tenon::tp::TPDialect,
                  tenon::plan::PlanDialect>();
  tenon::registerTenonPasses();
  auto [input, output] = registerAndParseCLIOptions(
      static_cast<int>(pointers.size()), pointers.data(), "Tenon's compiler\n", registry);

  if (own.toText) {
    MLIRContext context(registry);
    context.loadAllAvailableDialects();
    OwningOpRef<ModuleOp> module = tenon::importPlanFile(input, &context);
    if (!module)
      return 3;
    std::string error;
    auto file = openOutputFile(output, &error);
    if (!file)
      return usage(error);
    module->print(file->os());
    file->os() << '\n';
    file->keep();
    return 0;
  }

  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  std::string error;
  auto buffer = openInputFile(input, &error);
  if (!buffer)
    return usage(error);
  if (own.emit.empty()) {
    auto file = openOutputFile(output, &error);
    if (!file)
      return usage(error);
    if (failed(MlirOptMain(file->os(), std::move(buffer), registry, config)))
      return 3;
    file->keep();
    return 0;
  }
  MlirOptMainConfig emitting = config;
  std::string planFile = output;
  emitting.setPassPipelineSetupFn([config, planFile](PassManager &manager) -> LogicalResult {
    if (failed(config.setupPassPipeline(manager)))
      return failure();
    manager.addPass(tenon::createPlanEmitPass(planFile));
    manager.addPass(std::make_unique<DiscardModule>());
    return success();
  });
  return failed(MlirOptMain(llvm::nulls(), std::move(buffer), registry, emitting)) ? 3 : 0;
}

} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return run(argc, argv);
}
