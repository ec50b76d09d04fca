// SPDX-License-Identifier: Apache-2.0
// tp-opt: the compiler on files. MLIR's opt driver with Tenon's dialects and passes, plus five
// forms of its own:
//   tp-opt model.mlir --tp-compile="mesh=tp:2" --emit=plan -o model.plan   compile and write a plan
//   tp-opt model.plan --to-text                                            a plan file as text
//   tp-opt model.plan --to-json                                            the same for programs
//   tp-opt model.mlir --tp-compile="mesh=tp:2" --tp-report                 the table of choices
//   tp-opt --print-machine=h100-sxm                                        a machine file
//
// Exit codes: 0 done; 2 the command line is at fault (unknown option or phase, malformed mesh, a
// file that cannot be opened); 3 the input is (parse error, unsupported op, contradicting pins, a
// corrupt plan file).

#include "tenon/Cost/MachineModel.h"
#include "tenon/Dialect/Plan/IR/PlanDialect.h"
#include "tenon/Dialect/TP/IR/TPDialect.h"
#include "tenon/Pipelines/Pipelines.h"
#include "tenon/Target/PlanEmitter.h"
#include "tenon/Target/PlanJson.h"
#include "tenon/runtime/plan/PlanWriter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
namespace cl = llvm::cl;

namespace {

constexpr int kUsage = 2, kBadInput = 3;

cl::OptionCategory tenonOptions("Tenon options");
cl::opt<std::string> inputPath(cl::Positional, cl::desc("<input file>"), cl::init("-"),
                               cl::cat(tenonOptions));
cl::opt<std::string> outputPath("o", cl::desc("Output file"), cl::value_desc("file"), cl::init("-"),
                                cl::cat(tenonOptions));
cl::opt<std::string> emitKind("emit",
                              cl::desc("plan: write the plan to the file of -o instead of text"),
                              cl::value_desc("plan"), cl::cat(tenonOptions));
cl::opt<bool> toText("to-text", cl::desc("The input is a plan file; print it as text"),
                     cl::cat(tenonOptions));
cl::opt<bool> toJson("to-json", cl::desc("The input is a plan file; print what it holds as JSON"),
                     cl::cat(tenonOptions));
cl::opt<std::string> printMachine("print-machine",
                                  cl::desc("Print a machine file, shipped or given, and stop"),
                                  cl::value_desc("name or file"), cl::cat(tenonOptions));
cl::opt<std::string> tpReport(
    "tp-report", cl::ValueOptional,
    cl::desc("Print the table of choices and their runner-ups to stderr; =pareto: time against "
             "memory"),
    cl::value_desc("pareto"), cl::cat(tenonOptions));

/// Leaves nothing to print: after the plan is written, its text would go nowhere.
struct DiscardModule : PassWrapper<DiscardModule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DiscardModule)
  void runOnOperation() override { getOperation().getBody()->clear(); }
};

int usage(const Twine &message) {
  llvm::errs() << "tp-opt: " << message << "\n";
  return kUsage;
}

/// libLLVM brings several hundred options of its code generators, which do nothing here: they stay
/// out of --help. To be called before MLIR registers its own.
void hideForeignOptions() {
  for (auto &[name, option] : cl::getRegisteredOptions())
    if (llvm::is_contained(option->Categories, &cl::getGeneralCategory()))
      option->setHiddenFlag(cl::Hidden);
}

/// --tp-report is an option of the pipeline, which wants to be told by its own text.
std::vector<std::string> withReport(int argc, char **argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  auto add = [&](StringRef option) {
    for (std::string &argument : arguments)
      if (StringRef(argument).ltrim('-').starts_with("tp-compile"))
        argument += ((StringRef(argument).contains('=') ? " " : "=") + option).str();
  };
  for (size_t i = 0; i < arguments.size(); ++i) {
    StringRef text = StringRef(arguments[i]).ltrim('-');
    if (text == "tp-report")
      add("report=true");
    else if (text == "tp-report=pareto")
      add("pareto=true");
  }
  return arguments;
}

int printPlan(StringRef bytes, DialectRegistry &registry, raw_ostream &os) {
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  if (toJson) {
    FailureOr<tenon::plan::Plan> plan = tenon::readPlanFile(bytes, inputPath, &context);
    if (failed(plan))
      return kBadInput;
    tenon::writeJson(*plan, os);
    return 0;
  }
  OwningOpRef<ModuleOp> module = tenon::importPlanFile(bytes, inputPath, &context);
  if (!module)
    return kBadInput;
  module->print(os);
  os << '\n';
  return 0;
}

int run(int argc, char **argv) {
  hideForeignOptions();
  DialectRegistry registry;
  registry.insert<func::FuncDialect, ml_program::MLProgramDialect, tenon::tp::TPDialect,
                  tenon::plan::PlanDialect>();
  tenon::registerTenonPasses();
  std::string header = registerCLIOptions("Tenon's compiler\n", registry);
  std::vector<std::string> arguments = withReport(argc, argv);
  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());
  if (!cl::ParseCommandLineOptions(int(pointers.size()), pointers.data(), header, &llvm::errs()))
    return kUsage;
  if (printMachine.getNumOccurrences() > 0) {
    std::string error;
    auto machine = tenon::cost::loadMachine(printMachine, error);
    if (!machine)
      return usage(error);
    llvm::outs() << StringRef(machine->text).rtrim() << '\n';
    return 0;
  }
  const bool emits = !emitKind.empty();
  if (!tpReport.empty() && tpReport != "pareto")
    return usage("unknown --tp-report=" + tpReport +
                 "; expected --tp-report or --tp-report=pareto");
  if (tpReport.getNumOccurrences() > 0 && llvm::none_of(arguments, [](StringRef argument) {
        return argument.ltrim('-').starts_with("tp-compile");
      }))
    return usage("--tp-report goes with --tp-compile");
  if (emits && emitKind != "plan")
    return usage("unknown --emit=" + emitKind + "; expected --emit=plan");
  if (emits && (outputPath.getNumOccurrences() == 0 || outputPath == "-"))
    return usage("--emit=plan needs -o FILE");
  if (toText && toJson)
    return usage("--to-text excludes --to-json");
  if (emits && (toText || toJson))
    return usage("--emit=plan excludes --to-text and --to-json");
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  if (emits && !config.inputSplitMarker().empty())
    return usage("--emit=plan writes one file and excludes --split-input-file");
  if (emits)
    for (StringRef argument : arguments)
      if (argument.ltrim('-').starts_with("tp-compile") &&
          (argument.contains("=to=") || argument.contains(" to=")))
        return usage("--emit=plan excludes to=");
  // A pipeline that cannot be built is a fault of the command line; said before any work.
  {
    MLIRContext context(registry);
    PassManager trial(&context);
    if (failed(config.setupPassPipeline(trial)))
      return kUsage;
  }

  std::string error;
  auto buffer = openInputFile(inputPath, &error);
  if (!buffer)
    return usage(error);
  const bool isPlan = buffer->getBuffer().starts_with(tenon::plan::fileMagic);
  if (isPlan && !toText && !toJson)
    return usage(inputPath + " is a plan file; --to-text or --to-json prints it");
  if (emits) {
    std::string path = outputPath;
    MlirOptMainConfig emitting = config;
    emitting.setPassPipelineSetupFn([config, path](PassManager &manager) -> LogicalResult {
      if (failed(config.setupPassPipeline(manager)))
        return failure();
      manager.addPass(tenon::createPlanEmitPass(path));
      manager.addPass(std::make_unique<DiscardModule>());
      return success();
    });
    return failed(MlirOptMain(llvm::nulls(), std::move(buffer), registry, emitting)) ? kBadInput
                                                                                     : 0;
  }
  auto file = openOutputFile(outputPath, &error);
  if (!file)
    return usage(error);
  int code = toText || toJson ? printPlan(buffer->getBuffer(), registry, file->os())
             : failed(MlirOptMain(file->os(), std::move(buffer), registry, config)) ? kBadInput
                                                                                    : 0;
  if (code == 0)
    file->keep();
  return code;
}

} // namespace

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return run(argc, argv);
}
