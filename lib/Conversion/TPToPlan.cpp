// SPDX-License-Identifier: Apache-2.0
// convert-tp-to-plan: collects the weights of a module, lowers each entry function, and puts the
// plan in the module's place.

#include "tenon/Conversion/TPToPlan.h"

#include "LowerFunction.h"

#include "tenon/Cost/PlanPrice.h"
#include "tenon/Dialect/Plan/IR/PlanTranslation.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace tenon {
#define GEN_PASS_DEF_CONVERTTPTOPLANPASS
#include "tenon/Conversion/Passes.h.inc"
} // namespace tenon

using namespace tenon;

namespace {
/// Turns globals into weights.
class WeightCollector {
public:
  WeightCollector(const sharding::Mesh &mesh, WeightTable &table, plan::Plan &plan)
      : mesh(mesh), table(table), plan(plan) {}

  LogicalResult add(ml_program::GlobalOp global) {
    auto type = cast<RankedTensorType>(global.getType());
    if (global.getIsMutable())
      return global.emitOpError() << "is mutable; a plan has no caches yet";
    plan::Weight weight;
    weight.type = *plan::toDataType(type.getElementType());
    weight.elements = type.getNumElements();
    if (auto parts = global->getAttrOfType<ArrayAttr>(tp::kPartsAttr)) {
      for (Attribute attr : parts) {
        auto part = dyn_cast<DictionaryAttr>(attr);
        auto offset = part ? part.getAs<IntegerAttr>("offset") : IntegerAttr();
        auto strides = part ? part.getAs<DenseI64ArrayAttr>("strides") : DenseI64ArrayAttr();
        if (!offset || !strides)
          return global.emitOpError() << "malformed part " << attr;
        if (failed(addPart(global, weight, part.getAs<tp::ViewAttr>("view"),
                           part.getAs<tp::ShardingAttr>("sharding"), part.getAs<TypeAttr>("stored"),
                           offset.getInt(), strides.asArrayRef().vec())))
          return failure();
      }
    } else if (failed(addPart(global, weight, global->getAttrOfType<tp::ViewAttr>(tp::kViewAttr),
                              global->getAttrOfType<tp::ShardingAttr>(tp::kShardingAttr),
                              global->getAttrOfType<TypeAttr>(tp::kStoredAttr), 0,
                              plan::contiguousStrides(type.getShape())))) {
      return failure();
    }
    weight.name = unique(weight);
    table.numbers[global.getSymName()] = table.weights.size();
    table.weights.push_back(std::move(weight));
    return success();
  }

private:
  LogicalResult addPart(ml_program::GlobalOp global, plan::Weight &weight, tp::ViewAttr view,
                        tp::ShardingAttr sharding, TypeAttr storedType, int64_t offset,
                        std::vector<int64_t> strides) {
    if (!view)
      return global.emitOpError() << "has no " << tp::kViewAttr;
    plan::DataType stored = weight.type;
    if (storedType) {
      FailureOr<plan::DataType> known = plan::toDataType(storedType.getValue());
      if (failed(known))
        return global.emitOpError() << tp::kStoredAttr << " is no type of plans: " << storedType;
      stored = *known;
    }
    auto value = sharding::Sharding::replicated(view.getSizes().size());
    if (sharding) {
      auto parsed = tp::toSharding(sharding, view.getSizes().size(), mesh,
                                   [&] { return global.emitOpError(); });
      if (failed(parsed))
        return failure();
      value = *parsed;
    }
    plan::WeightPart part;
    part.view = {view.getKey().str(),   stored,
                 view.getShape().vec(), view.getOffset(),
                 view.getSizes().vec(), view.getStrides().vec()};
    for (const sharding::AxisList &axes : value.dims)
      part.dimAxes.emplace_back(axes.begin(), axes.end());
    part.partialAxes.assign(value.partial.begin(), value.partial.end());
    part.dstOffset = offset;
    part.dstStrides = std::move(strides);
    int64_t count = 1;
    for (int64_t size : part.view.sizes)
      count *= size;
    plan.weightsBytesUnsharded += count * plan::byteWidth(weight.type);
    weight.parts.push_back(std::move(part));
    return success();
  }

  /// Keys joined with '+'; a number tells views of one tensor apart.
  std::string unique(const plan::Weight &weight) {
    std::string name;
    for (const plan::WeightPart &part : weight.parts)
      name += (name.empty() ? "" : "+") + part.view.key;
    std::string result = name;
    for (int i = 2; !names.insert(result).second; ++i)
      result = name + "#" + std::to_string(i);
    return result;
  }

  const sharding::Mesh &mesh;
  WeightTable &table;
  plan::Plan &plan;
  llvm::StringSet<> names;
};

struct ConvertTPToPlan : tenon::impl::ConvertTPToPlanPassBase<ConvertTPToPlan> {
  using ConvertTPToPlanPassBase::ConvertTPToPlanPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<cost::CostModel> model;
    if (!machine.empty()) {
      std::string why;
      std::optional<cost::MachineModel> loaded = cost::loadMachine(machine, why);
      if (!loaded) {
        emitError(module.getLoc()) << why;
        return signalPassFailure();
      }
      model.emplace(std::move(*loaded));
    }
    plan::Plan plan;
    sharding::Mesh mesh;
    if (tp::MeshOp op = tp::findMesh(module))
      mesh = tp::toMesh(op);
    for (const sharding::MeshAxis &axis : mesh.axes)
      plan.mesh.push_back({axis.name, axis.size, axis.parent});
    plan.producer = "tenon 0.1.0";
    plan.model = text(tp::kModelAttr);
    plan.machine = text(tp::kMachineAttr);
    plan.certificate = text(tp::kCertificateAttr);
    plan.choices = text(tp::kChoicesAttr);

    llvm::StringSet<> loaded;
    module.walk([&](ml_program::GlobalLoadConstOp load) {
      loaded.insert(load.getGlobal().getLeafReference());
    });
    WeightTable weights;
    WeightCollector collector(mesh, weights, plan);
    for (auto global : module.getOps<ml_program::GlobalOp>())
      if (loaded.contains(global.getSymName()) && failed(collector.add(global)))
        return signalPassFailure();
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isPrivate())
        continue;
      FailureOr<plan::Entry> entry = FunctionLowering(function, mesh, weights).run();
      if (failed(entry))
        return signalPassFailure();
      if (model)
        price(*entry, mesh, *model);
      plan.entries.push_back(std::move(*entry));
    }
    plan.weights = std::move(weights.weights);
    if (plan.entries.empty()) {
      emitError(module.getLoc()) << "expected at least one public function";
      return signalPassFailure();
    }

    Block *body = module.getBody();
    body->clear();
    module->setDiscardableAttrs(DictionaryAttr::get(&getContext()));
    plan::importPlan(plan, module);
  }

  static void price(plan::Entry &entry, const sharding::Mesh &mesh, const cost::CostModel &model) {
    entry.predictedUs = 0;
    for (plan::Op &op : entry.ops) {
      if (op.predictedUs == 0)
        op.predictedUs = cost::instructionSeconds(op, entry, mesh, model) * 1e6;
      entry.predictedUs += op.predictedUs;
    }
  }

  std::string text(StringRef name) {
    auto attr = getOperation()->getAttrOfType<StringAttr>(name);
    return attr ? attr.str() : std::string();
  }
};
} // namespace
