// SPDX-License-Identifier: Apache-2.0

#include "ProblemBuilder.h"

#include "OpPrice.h"

#include "tenon/runtime/plan/Blocks.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using sharding::AxisList;
using sharding::Sharding;
using solver::kInfinity;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

ml_program::GlobalOp tenon::globalOf(Value value, SymbolTable &symbols) {
  auto load = value.getDefiningOp<ml_program::GlobalLoadConstOp>();
  return load ? symbols.lookup<ml_program::GlobalOp>(load.getGlobal().getLeafReference())
              : ml_program::GlobalOp();
}

sharding::ReshardGraph &ReshardPrices::graphOf(RankedTensorType type) {
  std::unique_ptr<sharding::ReshardGraph> &graph = graphs[type];
  if (!graph) {
    std::vector<int64_t> shape(type.getShape().begin(), type.getShape().end());
    graph = std::make_unique<sharding::ReshardGraph>(
        shape, mesh, model.stepPrice(shape, mesh, elementBytes(type.getElementType())));
  }
  return *graph;
}

double ReshardPrices::seconds(RankedTensorType type, const Sharding &from, const Sharding &to) {
  return from == to ? 0 : graphOf(type).seconds(from, to);
}

std::optional<sharding::ReshardPath> ReshardPrices::path(RankedTensorType type,
                                                         const Sharding &from, const Sharding &to) {
  return graphOf(type).path(from, to);
}

namespace {

/// Of a value whose reshards are priced once: q, k, v, gate and up of a parallel block, and more.
constexpr size_t kSharedUsers = 8;

bool isElementwise(Operation *op) {
  return isa<UnaryOp, BinaryOp, CompareOp, SelectOp, ConvertOp>(op);
}

/// True when the value has one use and is made by an op with a rule: an elementwise user fuses with
/// it.
bool fusesInto(Value operand) {
  Operation *producer = operand.getDefiningOp();
  return producer && isa<ShardableOpInterface>(producer) && !isa<ConstantOp>(producer) &&
         operand.hasOneUse();
}

class ProblemBuilder {
public:
  ProblemBuilder(ModuleOp module, const sharding::Mesh &mesh, const cost::CostModel &model,
                 ReshardPrices &prices, const BuildOptions &options)
      : module(module), mesh(mesh), model(model), prices(prices), options(options),
        symbols(module) {}

  FailureOr<BuiltProblem> build() {
    if (options.baseline == BuildOptions::Baseline::HuggingFace)
      configPlan = layerPlan(module).value_or(std::vector<NamedPin>());
    if (failed(checkCalls()))
      return failure();
    for (auto function : module.getOps<func::FuncOp>())
      for (Operation &op : function.getBody().front())
        if (failed(addOp(&op)))
          return failure();
    if (failed(checkAxes()))
      return failure();
    for (auto [index, pin] : llvm::enumerate(options.pins))
      if (!pinned.contains(index))
        return emitError(module.getLoc())
                   << "pins: the pattern '" << pin.pattern
                   << "' names no matmul with a weight, no lookup and no norm that its style "
                      "speaks of",
               failure();
    if (failed(addWeights()))
      return failure();
    for (auto function : module.getOps<func::FuncOp>())
      if (failed(addValues(function)))
        return failure();
    if (options.memoryLimit != solver::kNoLimit)
      addMemory();
    return std::move(built);
  }

private:
  LogicalResult checkCalls();
  LogicalResult checkAxes();
  /// How often the op runs.
  double callsOf(Operation *op);
  LogicalResult addOp(Operation *op);
  FailureOr<std::shared_ptr<StrategyTable>> tableOf(Operation *op);
  LogicalResult applyPins(Operation *op, Variable &variable);
  LogicalResult applyNamedPins(Operation *op, Variable &variable);
  std::optional<PinStyle> baselineStyle(Operation *op, StringRef layer);
  LogicalResult addWeights();
  LogicalResult addWeight(ml_program::GlobalOp global, ArrayRef<OpOperand *> uses,
                          WeightRequirement &requirement);
  LogicalResult addValues(func::FuncOp function);
  LogicalResult addValue(Value value, const std::vector<Sharding> &forms, int producer);
  int addResultVariable(OpOperand &use, const std::vector<Sharding> &forms, func::FuncOp function);
  /// Shardings that strategy after strategy of the variable demands of this operand.
  std::vector<Sharding> demands(OpOperand &use);
  int addVariable(Variable variable, std::vector<double> costs, std::string name);
  bool feedsKeysOrValues(Value value);
  void addMemory();
  int64_t localBytes(Type type, const Sharding &sharding);

  ModuleOp module;
  const sharding::Mesh &mesh;
  const cost::CostModel &model;
  ReshardPrices &prices;
  const BuildOptions &options;
  SymbolTable symbols;
  BuiltProblem built;
  llvm::DenseMap<OpOperand *, int> resultVariables;
  std::vector<NamedPin> configPlan;   ///< For strategy=hf.
  llvm::SmallDenseSet<size_t> pinned; ///< Indices of named pins that pinned something.
  std::map<std::vector<const void *>, std::shared_ptr<StrategyTable>> tables;
};

LogicalResult ProblemBuilder::checkCalls() {
  if (options.calls.empty())
    return success();
  auto entries = module.getOps<func::FuncOp>();
  for (const auto &[name, count] : options.calls)
    if (llvm::none_of(entries, [&, &name = name](func::FuncOp f) { return f.getName() == name; }))
      return emitError(module.getLoc())
             << "calls: the module has no entry '" << name << "'; it has "
             << llvm::join(llvm::map_range(entries, [](func::FuncOp f) { return f.getName(); }),
                           ", ");
  for (func::FuncOp entry : entries)
    if (!options.calls.count(entry.getName().str()))
      return entry.emitOpError() << "is missing in calls; name every entry or none";
  return success();
}

/// An axis that nothing can be cut over would leave every rank with the same work.
LogicalResult ProblemBuilder::checkAxes() {
  if (built.variables.empty())
    return success();
  for (auto [index, axis] : llvm::enumerate(mesh.axes)) {
    auto uses = [axis = static_cast<int>(index)](const sharding::Strategy &strategy) {
      return llvm::any_of(strategy.factorAxes, [&](const sharding::AxisList &axes) {
        return llvm::is_contained(axes, axis);
      });
    };
    if (axis.size > 1 && llvm::none_of(built.variables, [&](const Variable &variable) {
          return llvm::any_of(variable.table->strategies, uses);
        }))
      return emitError(module.getLoc())
             << "the mesh axis " << axis.name << " of " << axis.size
             << " ranks cuts nothing: no op has a dimension of so many elements that may be cut";
  }
  return success();
}

double ProblemBuilder::callsOf(Operation *op) {
  if (options.calls.empty())
    return 1;
  auto function = dyn_cast<func::FuncOp>(op);
  return options.calls.at(
      (function ? function : op->getParentOfType<func::FuncOp>()).getName().str());
}

int ProblemBuilder::addVariable(Variable variable, std::vector<double> costs, std::string name) {
  int index = static_cast<int>(built.variables.size());
  built.variables.push_back(std::move(variable));
  built.problem.nodes.push_back({std::move(name), std::move(costs)});
  return index;
}

FailureOr<std::shared_ptr<StrategyTable>> ProblemBuilder::tableOf(Operation *op) {
  std::vector<const void *> key{op->getName().getAsOpaquePointer(),
                                op->getPropertiesAsAttribute().getAsOpaquePointer()};
  for (Value operand : op->getOperands())
    key.push_back(operand.getType().getAsOpaquePointer());
  for (Type type : op->getResultTypes())
    key.push_back(type.getAsOpaquePointer());
  bool fused = false;
  if (isElementwise(op))
    for (Value operand : op->getOperands())
      fused |= fusesInto(operand) && operand.getType() == op->getResult(0).getType();
  key.push_back(fused ? this : nullptr);
  std::shared_ptr<StrategyTable> &table = tables[key];
  if (table)
    return table;

  auto shardable = cast<ShardableOpInterface>(op);
  table = std::make_shared<StrategyTable>();
  table->rule = shardable.getShardingRule();
  auto strategies = sharding::enumerateStrategies(table->rule, mesh);
  if (!strategies)
    return op->emitOpError() << "has more strategies on this mesh than can be enumerated",
           failure();
  table->strategies = std::move(*strategies);
  for (const sharding::Strategy &strategy : table->strategies) {
    auto &operands = table->operands.emplace_back();
    auto &results = table->results.emplace_back();
    SmallVector<RankedTensorType> operandTypes, resultTypes;
    double others = 0;
    for (unsigned i = 0; i < op->getNumOperands(); ++i) {
      operands.push_back(sharding::operandSharding(table->rule, strategy, i));
      operandTypes.push_back(localType(typeOf(op->getOperand(i)), operands.back(), mesh));
      if (op->getOperand(i).getType() != op->getResult(0).getType())
        others += static_cast<double>(operandTypes.back().getNumElements()) *
                  static_cast<double>(elementBytes(operandTypes.back().getElementType()));
    }
    for (unsigned i = 0; i < op->getNumResults(); ++i) {
      results.push_back(sharding::resultSharding(table->rule, strategy, i));
      resultTypes.push_back(localType(typeOf(op->getResult(i)), results.back(), mesh));
    }
    double whole = opSeconds(op, operandTypes, resultTypes, model);
    double inside = fused ? model.copySeconds(others) : whole;
    table->seconds.push_back(std::min(whole, inside));
    table->unfused.push_back(fused ? std::max(0.0, whole - inside) : 0);
  }
  return table;
}

LogicalResult ProblemBuilder::applyPins(Operation *op, Variable &variable) {
  StrategyTable &table = *variable.table;
  auto error = [&]() { return op->emitOpError(); };
  if (auto pin = op->getAttrOfType<StrategyAttr>(kStrategyAttr)) {
    FailureOr<sharding::Strategy> strategy = toStrategy(pin, table.rule, mesh, error);
    if (failed(strategy))
      return failure();
    auto it = llvm::find(table.strategies, *strategy);
    if (it == table.strategies.end())
      return op->emitOpError() << "pins the strategy " << pin
                               << ", which is not among its legal ones";
    variable.allowed = {static_cast<int>(it - table.strategies.begin())};
  }
  if (auto pin = op->getAttrOfType<ShardingAttr>(kShardingAttr)) {
    FailureOr<Sharding> wanted = toSharding(pin, typeOf(op->getResult(0)).getRank(), mesh, error);
    if (failed(wanted))
      return failure();
    llvm::erase_if(variable.allowed, [&](int s) { return table.results[s][0] != *wanted; });
    if (variable.allowed.empty())
      return op->emitOpError() << "pins its result to " << pin << ", which no legal strategy gives";
  }
  return success();
}

LogicalResult ProblemBuilder::applyNamedPins(Operation *op, Variable &variable) {
  auto narrow = [&](PinStyle style, const Twine &what) -> FailureOr<bool> {
    const std::optional<std::vector<int>> wanted =
        strategiesOf(op, style, variable.table->rule, variable.table->strategies, mesh);
    if (!wanted)
      return false;
    llvm::erase_if(variable.allowed, [&](int s) { return !llvm::is_contained(*wanted, s); });
    if (variable.allowed.empty())
      return op->emitOpError() << "cannot follow " << what
                               << ": no legal strategy cuts it so, or another pin forbids it",
             failure();
    return true;
  };
  const std::string layer = layerOf(op);
  for (auto [index, pin] : llvm::enumerate(options.pins))
    if (matches(pin.pattern, layer)) {
      FailureOr<bool> done = narrow(pin.style, "the pin '" + pin.pattern + "'");
      if (failed(done))
        return failure();
      if (*done) {
        pinned.insert(index);
        return success();
      }
    }
  std::optional<PinStyle> style = baselineStyle(op, layer);
  if (!style)
    return success();
  // What cannot be cut so (a vocabulary of one row, say) is replicated in such plans.
  std::optional<std::vector<int>> wanted =
      strategiesOf(op, *style, variable.table->rule, variable.table->strategies, mesh);
  if (wanted && wanted->empty())
    style = PinStyle::Replicated;
  return failure(failed(narrow(*style, "the hand-made plan")));
}

/// What the hand-made plan says about the op.
std::optional<PinStyle> ProblemBuilder::baselineStyle(Operation *op, StringRef layer) {
  switch (options.baseline) {
  case BuildOptions::Baseline::None:
    return std::nullopt;
  case BuildOptions::Baseline::Megatron:
    return megatronStyle(op);
  case BuildOptions::Baseline::HuggingFace:
    for (const NamedPin &pin : configPlan)
      if (matches(pin.pattern, layer))
        return pin.style;
    // What such a plan does not name is whole on every rank; lookups are left to the memory demand.
    return isa<LayerNormOp, RmsNormOp>(op) ? megatronStyle(op) : std::nullopt;
  }
  llvm_unreachable("every plan is handled");
}

LogicalResult ProblemBuilder::addOp(Operation *op) {
  if (isa<func::ReturnOp, ml_program::GlobalLoadConstOp>(op))
    return success();
  if (!isa<ShardableOpInterface>(op))
    return op->emitOpError()
           << "has no sharding rule, so it cannot be distributed; expected ops of the tp dialect";
  FailureOr<std::shared_ptr<StrategyTable>> table = tableOf(op);
  if (failed(table))
    return failure();
  Variable variable;
  variable.op = op;
  variable.table = *table;
  variable.allowed.resize((*table)->strategies.size());
  std::iota(variable.allowed.begin(), variable.allowed.end(), 0);
  if (failed(applyPins(op, variable)) || failed(applyNamedPins(op, variable)))
    return failure();
  std::vector<double> costs;
  for (int s : variable.allowed)
    costs.push_back(callsOf(op) * (*table)->seconds[s]);
  built.variableOf[op] =
      addVariable(std::move(variable), std::move(costs), op->getName().getStringRef().str());
  return success();
}

std::vector<Sharding> ProblemBuilder::demands(OpOperand &use) {
  const Variable &variable = built.variables[built.variableOf.lookup(use.getOwner())];
  std::vector<Sharding> result;
  for (int s : variable.allowed)
    result.push_back(variable.table->operands[s][use.getOperandNumber()]);
  return result;
}

bool ProblemBuilder::feedsKeysOrValues(Value value) {
  for (int depth = 0; depth < 12; ++depth) {
    for (OpOperand &use : value.getUses())
      if (auto attention = dyn_cast<AttentionOp>(use.getOwner()))
        if (use.get() == attention.getK() || use.get() == attention.getV())
          return true;
    if (!value.hasOneUse())
      return false;
    Operation *user = *value.getUsers().begin();
    if (!isa<UnaryOp, BinaryOp, ConvertOp, RopeOp, RmsNormOp, LayerNormOp, TransposeOp>(user))
      return false;
    value = user->getResult(0);
  }
  return false;
}

/// Dimension of the weight that becomes the KV heads (g) of a projection [b,t,g,d], or -1.
static int headDim(OpOperand &use) {
  auto matmul = dyn_cast<MatMulOp>(use.getOwner());
  if (!matmul)
    return -1;
  FailureOr<Einsum> einsum = parseEinsum(matmul.getEinsum());
  if (failed(einsum) || einsum->result.size() != 4)
    return -1;
  const std::string &term = use.getOperandNumber() == 0 ? einsum->lhs : einsum->rhs;
  size_t position = term.find(einsum->result[2]);
  return position == std::string::npos ? -1 : static_cast<int>(position);
}

LogicalResult ProblemBuilder::addWeights() {
  // Users of each global over all entries, in program order.
  llvm::MapVector<Operation *, SmallVector<OpOperand *>> uses;
  for (auto function : module.getOps<func::FuncOp>())
    for (auto load : function.getOps<ml_program::GlobalLoadConstOp>()) {
      ml_program::GlobalOp global = globalOf(load.getResult(), symbols);
      if (!global)
        return load.emitOpError() << "reads an unknown global " << load.getGlobal();
      for (OpOperand &use : load.getResult().getUses())
        uses[global].push_back(&use);
    }
  // memory=shard: the smallest weights that together hold at most 2 % are free, equal sizes
  // together. First those that no matmul or lookup reads: tables and masks have dimensions of size
  // 1 where values are cut, and would dictate the cut of what they meet.
  std::map<std::pair<bool, double>, std::vector<Operation *>> bySize;
  double total = 0, spent = 0;
  for (auto &[global, list] : uses) {
    auto type = cast<RankedTensorType>(cast<ml_program::GlobalOp>(global).getType());
    double bytes = static_cast<double>(type.getNumElements()) * elementBytes(type.getElementType());
    const bool isFactor = llvm::any_of(
        list, [](OpOperand *use) { return isa<MatMulOp, EmbeddingOp>(use->getOwner()); });
    bySize[{isFactor, bytes}].push_back(global);
    total += bytes;
    built.weights[global] = {};
  }
  for (auto &[key, globals] : bySize) {
    spent += key.second * static_cast<double>(globals.size());
    if (spent > 0.02 * total)
      break;
    for (Operation *global : globals)
      built.weights[global].free = true;
  }
  for (auto &[global, list] : uses)
    if (failed(addWeight(cast<ml_program::GlobalOp>(global), list, built.weights[global])))
      return failure();
  return success();
}

LogicalResult ProblemBuilder::addWeight(ml_program::GlobalOp global, ArrayRef<OpOperand *> uses,
                                        WeightRequirement &requirement) {
  auto type = cast<RankedTensorType>(global.getType());
  auto error = [&]() { return global.emitOpError(); };
  auto reachable = [&](const Sharding &from, const Sharding &to) {
    if (from == to)
      return true;
    if (!std::isfinite(prices.seconds(type, from, to)))
      return false;
    auto path = prices.path(type, from, to);
    return path && !path->communicates();
  };

  // Candidates: what users demand, and replicated. A partial weight only serves a sum.
  std::vector<Sharding> candidates{Sharding::replicated(type.getRank())};
  std::vector<std::vector<Sharding>> demanded;
  for (OpOperand *use : uses) {
    if (isa<func::ReturnOp>(use->getOwner()))
      return error() << "a weight cannot be returned";
    demanded.push_back(demands(*use));
    const Variable &user = built.variables[built.variableOf.lookup(use->getOwner())];
    for (const Sharding &demand : demanded.back())
      if ((demand.partial.empty() || user.table->rule.linearity == sharding::Linearity::Sum) &&
          llvm::find(candidates, demand) == candidates.end())
        candidates.push_back(demand);
    requirement.kvProjection |=
        isa<MatMulOp>(use->getOwner()) && feedsKeysOrValues(use->getOwner()->getResult(0));
  }
  llvm::erase_if(candidates, [&](const Sharding &candidate) {
    return llvm::any_of(demanded, [&](const std::vector<Sharding> &list) {
      return llvm::none_of(list,
                           [&](const Sharding &demand) { return reachable(candidate, demand); });
    });
  });
  if (auto pin = global->getAttrOfType<ShardingAttr>(kShardingAttr)) {
    FailureOr<Sharding> wanted = toSharding(pin, type.getRank(), mesh, error);
    if (failed(wanted))
      return failure();
    llvm::erase_if(candidates, [&](const Sharding &candidate) { return candidate != *wanted; });
    if (candidates.empty())
      return error() << "pins this weight to " << pin << ", which its users cannot read";
  } else if (!requirement.free && options.shardWeights) {
    // Every axis that divides work must be used in the dimensions; else as many as can be.
    auto used = [&](const Sharding &candidate) {
      int64_t product = 1;
      for (const AxisList &axes : candidate.dims)
        for (int axis : axes)
          if (llvm::find(options.replicateOver, axis) == options.replicateOver.end())
            product *= mesh.axes[axis].size;
      return product;
    };
    int64_t all = 1, best = 1;
    for (auto [index, axis] : llvm::enumerate(mesh.axes))
      if (llvm::find(options.replicateOver, static_cast<int>(index)) == options.replicateOver.end())
        all *= axis.size;
    for (const Sharding &candidate : candidates)
      best = std::max(best, used(candidate));
    int64_t needed = best;
    if (requirement.kvProjection) {
      // A projection into KV heads needs only the axes that its head dimension can take.
      int64_t heads = 1;
      if (int dim = headDim(*uses.front()); dim >= 0)
        for (const Sharding &candidate : candidates)
          heads = std::max(heads, mesh.size(candidate.dims[dim]));
      needed = std::min(needed, heads);
    }
    requirement.relaxed = needed < all;
    llvm::erase_if(candidates, [&](const Sharding &candidate) { return used(candidate) < needed; });
  }
  if (candidates.empty())
    return error() << "no sharding of this weight serves all of its users";

  Variable variable;
  variable.kind = Variable::Kind::Weight;
  variable.op = global;
  variable.shardings = candidates;
  int index = addVariable(std::move(variable), std::vector<double>(candidates.size(), 0.0),
                          global.getSymName().str());
  built.variableOf[global] = index;

  for (auto [use, list] : llvm::zip_equal(uses, demanded)) {
    int user = built.variableOf.lookup(use->getOwner());
    const double calls = callsOf(use->getOwner());
    solver::Edge edge{std::min(index, user), std::max(index, user), {}};
    auto cost = [&](size_t candidate, size_t strategy) {
      return reachable(candidates[candidate], list[strategy])
                 ? calls * prices.seconds(type, candidates[candidate], list[strategy])
                 : kInfinity;
    };
    if (index < user)
      for (size_t c = 0; c < candidates.size(); ++c)
        for (size_t s = 0; s < list.size(); ++s)
          edge.costs.push_back(cost(c, s));
    else
      for (size_t s = 0; s < list.size(); ++s)
        for (size_t c = 0; c < candidates.size(); ++c)
          edge.costs.push_back(cost(c, s));
    built.problem.edges.push_back(std::move(edge));
  }
  return success();
}

int ProblemBuilder::addResultVariable(OpOperand &use, const std::vector<Sharding> &forms,
                                      func::FuncOp function) {
  // A result may stay sharded, never partial.
  Variable variable;
  variable.kind = Variable::Kind::Result;
  variable.op = use.getOwner();
  variable.resultNumber = use.getOperandNumber();
  auto add = [&](Sharding form) {
    form.partial.clear();
    form.reduction = sharding::Reduction::Sum;
    if (llvm::find(variable.shardings, form) == variable.shardings.end())
      variable.shardings.push_back(std::move(form));
  };
  add(Sharding::replicated(typeOf(use.get()).getRank()));
  for (const Sharding &form : forms)
    add(form);
  if (auto pin =
          function.getResultAttrOfType<ShardingAttr>(use.getOperandNumber(), kShardingAttr)) {
    FailureOr<Sharding> wanted = toSharding(pin, typeOf(use.get()).getRank(), mesh,
                                            [&]() { return function.emitOpError(); });
    if (failed(wanted))
      return -1;
    if (!wanted->partial.empty())
      return function.emitOpError()
                 << "result " << use.getOperandNumber() << " is pinned to a partial sharding",
             -1;
    variable.shardings = {*wanted};
  }
  std::vector<double> costs(variable.shardings.size(), 0.0);
  int index = addVariable(std::move(variable), std::move(costs), "result");
  resultVariables[&use] = index;
  return index;
}

LogicalResult ProblemBuilder::addValues(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    Sharding form = Sharding::replicated(typeOf(argument).getRank());
    if (auto pin =
            function.getArgAttrOfType<ShardingAttr>(argument.getArgNumber(), kShardingAttr)) {
      FailureOr<Sharding> wanted =
          toSharding(pin, form.dims.size(), mesh, [&]() { return function.emitOpError(); });
      if (failed(wanted))
        return failure();
      if (!wanted->partial.empty())
        return function.emitOpError()
               << "argument " << argument.getArgNumber() << " is pinned to a partial sharding";
      form = *wanted;
    }
    if (failed(addValue(argument, {form}, -1)))
      return failure();
  }
  for (Operation &op : function.getBody().front()) {
    if (!isa<ShardableOpInterface>(op))
      continue;
    int variable = built.variableOf.lookup(&op);
    for (OpResult result : op.getResults()) {
      std::vector<Sharding> forms;
      for (int s : built.variables[variable].allowed)
        forms.push_back(built.variables[variable].table->results[s][result.getResultNumber()]);
      if (failed(addValue(result, forms, variable)))
        return failure();
    }
  }
  return success();
}

int64_t ProblemBuilder::localBytes(Type type, const Sharding &sharding) {
  auto tensor = cast<RankedTensorType>(type);
  return localType(tensor, sharding, mesh).getNumElements() * elementBytes(tensor.getElementType());
}

/// True for ops whose result is a view of an operand.
static bool isView(Operation *op) { return isa<ReshapeOp, TransposeOp, BroadcastOp, SliceOp>(op); }

/// Weights and arguments live throughout. A result lives from its op to the last use of it or of a
/// view of it, and while an op runs, its operands are counted a second time, as copies that a
/// reshard or a transpose makes. Fusion, writing in place and packing make the plan need less.
void ProblemBuilder::addMemory() {
  built.problem.memoryLimit = options.memoryLimit;
  llvm::DenseMap<Operation *, int32_t> time;
  int32_t now = 0;
  for (auto function : module.getOps<func::FuncOp>())
    for (Operation &op : function.getBody().front())
      time[&op] = now++;
  std::function<int32_t(Value)> lastUse = [&](Value value) {
    int32_t last = time.lookup(value.getDefiningOp());
    for (Operation *user : value.getUsers())
      last = std::max(last, isView(user) ? lastUse(user->getResult(0)) : time.lookup(user));
    return last;
  };
  int64_t arguments = 0;
  for (auto function : module.getOps<func::FuncOp>())
    for (Type type : function.getArgumentTypes())
      arguments += localBytes(type, Sharding::replicated(cast<RankedTensorType>(type).getRank()));
  if (!built.variables.empty())
    built.problem.uses.push_back(
        {0, 0, now, std::vector<int64_t>(built.problem.nodes.front().costs.size(), arguments)});
  for (auto [index, variable] : llvm::enumerate(built.variables)) {
    const auto node = static_cast<int32_t>(index);
    if (variable.kind == Variable::Kind::Result)
      continue;
    if (variable.kind == Variable::Kind::Weight) {
      solver::MemoryUse use{node, 0, now, {}};
      for (const Sharding &sharding : variable.shardings)
        use.bytes.push_back(
            localBytes(cast<ml_program::GlobalOp>(variable.op).getType(), sharding));
      built.problem.uses.push_back(std::move(use));
      continue;
    }
    if (isFree(variable.op))
      continue;
    solver::MemoryUse copies{node, time.lookup(variable.op), time.lookup(variable.op) + 1, {}};
    for (int s : variable.allowed) {
      int64_t &bytes = copies.bytes.emplace_back(0);
      for (OpOperand &operand : variable.op->getOpOperands())
        if (!globalOf(operand.get(), symbols))
          bytes += localBytes(operand.get().getType(),
                              variable.table->operands[s][operand.getOperandNumber()]);
    }
    built.problem.uses.push_back(std::move(copies));
    for (OpResult result : variable.op->getResults()) {
      solver::MemoryUse use{node, time.lookup(variable.op), lastUse(result) + 1, {}};
      for (int s : variable.allowed)
        use.bytes.push_back(
            localBytes(result.getType(), variable.table->results[s][result.getResultNumber()]));
      built.problem.uses.push_back(std::move(use));
    }
  }
}

/// Numbers distinct shardings in order of appearance.
static std::vector<int32_t> number(const std::vector<Sharding> &list,
                                   std::vector<Sharding> &distinct) {
  std::vector<int32_t> result;
  for (const Sharding &sharding : list) {
    auto it = llvm::find(distinct, sharding);
    result.push_back(static_cast<int32_t>(it - distinct.begin()));
    if (it == distinct.end())
      distinct.push_back(sharding);
  }
  return result;
}

LogicalResult ProblemBuilder::addValue(Value value, const std::vector<Sharding> &forms,
                                       int producer) {
  RankedTensorType type = typeOf(value);
  struct User {
    int variable;
    std::vector<Sharding> demands;
    const std::vector<double> *unfused;
    std::vector<int> allowed;
  };
  std::vector<User> users;
  llvm::SmallDenseSet<int> seen;
  // Uses come in reverse; a fixed order keeps the problem deterministic.
  SmallVector<OpOperand *> uses;
  for (OpOperand &use : value.getUses())
    uses.push_back(&use);
  std::reverse(uses.begin(), uses.end());
  std::vector<User> again;
  for (OpOperand *use : uses) {
    if (auto ret = dyn_cast<func::ReturnOp>(use->getOwner())) {
      int variable = addResultVariable(*use, forms, ret->getParentOfType<func::FuncOp>());
      if (variable < 0)
        return failure();
      users.push_back({variable, built.variables[variable].shardings, nullptr, {}});
      continue;
    }
    int variable = built.variableOf.lookup(use->getOwner());
    const Variable &user = built.variables[variable];
    const std::vector<double> *unfused =
        isElementwise(use->getOwner()) && value.hasOneUse() ? &user.table->unfused : nullptr;
    (seen.insert(variable).second ? users : again)
        .push_back({variable, demands(*use), unfused, user.allowed});
  }

  const double calls = callsOf(value.getParentBlock()->getParentOp());
  auto price = [&](const User &user, const Sharding &form, size_t strategy) {
    double cost = prices.seconds(type, form, user.demands[strategy]);
    if (user.unfused && form != user.demands[strategy])
      cost += (*user.unfused)[user.allowed[strategy]];
    return calls * cost;
  };
  auto addEdge = [&](const User &user) {
    if (producer < 0) {
      for (size_t s = 0; s < user.demands.size(); ++s)
        built.problem.nodes[user.variable].costs[s] += price(user, forms.front(), s);
      return;
    }
    solver::Edge edge{std::min(producer, user.variable), std::max(producer, user.variable), {}};
    if (producer < user.variable)
      for (const Sharding &form : forms)
        for (size_t s = 0; s < user.demands.size(); ++s)
          edge.costs.push_back(price(user, form, s));
    else
      for (size_t s = 0; s < user.demands.size(); ++s)
        for (const Sharding &form : forms)
          edge.costs.push_back(price(user, form, s));
    built.problem.edges.push_back(std::move(edge));
  };
  for (const User &user : again)
    addEdge(user);
  // Beyond that sharing is not priced: a mask that every layer reads would widen the whole
  // graph.
  if (users.size() < 2 || users.size() > kSharedUsers || producer < 0) {
    for (const User &user : users)
      addEdge(user);
    return success();
  }

  solver::Group group;
  group.producer = producer;
  std::vector<Sharding> distinctForms, targets;
  group.form = number(forms, distinctForms);
  for (const User &user : users)
    group.users.push_back({user.variable, number(user.demands, targets)});
  group.forms = static_cast<int32_t>(distinctForms.size());
  group.targets = static_cast<int32_t>(targets.size());
  for (const Sharding &form : distinctForms)
    for (const Sharding &target : targets)
      group.price.push_back(calls * prices.seconds(type, form, target));
  built.problem.groups.push_back(std::move(group));
  return success();
}

} // namespace

FailureOr<BuiltProblem> tenon::buildProblem(ModuleOp module, const sharding::Mesh &mesh,
                                            const cost::CostModel &model, ReshardPrices &prices,
                                            const BuildOptions &options) {
  return ProblemBuilder(module, mesh, model, prices, options).build();
}
