// SPDX-License-Identifier: Apache-2.0

#include "RaiseWeights.h"
#include "RaiseGraph.h"
#include "ViewRelation.h"

#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

static RankedTensorType typeOf(ml_program::GlobalOp global) {
  return cast<RankedTensorType>(global.getType());
}

/// Dimensions of size 1 get the stride that a row-major neighbour would give them, so that equal
/// views are equal attributes.
static SmallVector<int64_t> withUnitStrides(ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  SmallVector<int64_t> result(strides);
  int64_t next = 1;
  for (int i = static_cast<int>(sizes.size()) - 1; i >= 0; --i) {
    if (sizes[i] == 1)
      result[i] = next;
    next = sizes[i] * result[i];
  }
  return result;
}

FailureOr<WeightViews> WeightViews::create(ModuleOp module, std::set<std::string> whole) {
  WeightViews weights(module, std::move(whole));
  for (auto global : module.getOps<ml_program::GlobalOp>()) {
    auto type = dyn_cast<RankedTensorType>(global.getType());
    if (!type || !type.hasStaticShape())
      return global.emitError() << "expected a global with a static shape, found "
                                << global.getType(),
             failure();
    weights.globals[global.getSymNameAttr()] = global;
    auto view = global->getAttrOfType<ViewAttr>(kViewAttr);
    if (!view) {
      auto key = global->getAttrOfType<StringAttr>(kKeyAttr);
      if (!key)
        return global.emitError() << "expected " << kKeyAttr << " or " << kViewAttr
                                  << " on a global, found neither",
               failure();
      view = ViewAttr::get(module.getContext(), key.getValue(), type.getShape(), 0, type.getShape(),
                           withUnitStrides(type.getShape(), mlir::computeStrides(type.getShape())));
      global->setAttr(kViewAttr, view);
      global->removeAttr(kKeyAttr);
    }
    weights.byView.try_emplace({view, type.getElementType()}, global);
  }
  return weights;
}

ml_program::GlobalOp WeightViews::globalOf(Value value) {
  auto load = value.getDefiningOp<ml_program::GlobalLoadConstOp>();
  return load ? globals.lookup(load.getGlobal().getLeafReference()) : ml_program::GlobalOp();
}
ViewAttr WeightViews::viewOf(Value load) {
  return globalOf(load)->getAttrOfType<ViewAttr>(kViewAttr);
}

Value WeightViews::load(Value load, int64_t offset, ArrayRef<int64_t> sizes,
                        ArrayRef<int64_t> strides) {
  ml_program::GlobalOp source = globalOf(load);
  ViewAttr whole = viewOf(load);
  auto view = ViewAttr::get(module.getContext(), whole.getKey(), whole.getShape(), offset, sizes,
                            withUnitStrides(sizes, strides));
  RankedTensorType type = typeWith(load, sizes);
  ml_program::GlobalOp &global = byView[{view, type.getElementType()}];
  if (!global) {
    OpBuilder builder(source);
    // A name that no checkpoint has; finish() gives the last one.
    auto known = baseOf.find(source);
    std::string base = known != baseOf.end() ? known->second : source.getSymName().str();
    std::string name = base + "'" + std::to_string(created++);
    global = cast<ml_program::GlobalOp>(builder.clone(*source));
    baseOf[global] = base;
    global->removeAttr(kEqualHalvesAttr);
    global.setSymName(name);
    global.setType(type);
    global.setValueAttr(ml_program::ExternAttr::get(module.getContext(), type));
    global->setAttr(kViewAttr, view);
    globals[global.getSymNameAttr()] = global;
  }
  OpBuilder builder(load.getDefiningOp());
  return ml_program::GlobalLoadConstOp::create(builder, load.getLoc(), type,
                                               SymbolRefAttr::get(global.getSymNameAttr()));
}

namespace {

/// Cuts the dense dimensions of a view where both a and b are cut; where the cuts do not nest (6 =
/// 2*3 = 3*2), only where they agree.
SmallVector<std::pair<int64_t, int64_t>> commonGrouping(const DenseView &dense,
                                                        ArrayRef<ViewAttr> views) {
  SmallVector<std::pair<int64_t, int64_t>> result;
  for (auto [size, stride] : dense.dims) {
    // Strides at which some view cuts this dimension, minor to major.
    SmallVector<int64_t> cuts;
    for (ViewAttr view : views)
      for (auto [n, s] : llvm::zip_equal(view.getSizes(), view.getStrides()))
        if (n != 1 && s > stride && s < size * stride)
          cuts.push_back(s);
    llvm::sort(cuts);
    cuts.erase(llvm::unique(cuts), cuts.end());
    auto nest = [&] {
      int64_t last = stride;
      for (int64_t cut : cuts) {
        if (cut % last != 0)
          return false;
        last = cut;
      }
      return size * stride % last == 0;
    };
    if (!nest())
      llvm::erase_if(cuts, [&](int64_t cut) {
        return llvm::any_of(
            views, [&](ViewAttr view) { return !llvm::is_contained(view.getStrides(), cut); });
      });
    int64_t end = size * stride;
    for (int64_t cut : llvm::reverse(cuts)) {
      result.push_back({end / cut, cut});
      end = cut;
    }
    result.push_back({end / stride, stride});
  }
  return result;
}

} // namespace

void WeightViews::unify(ArrayRef<Loads *> views) {
  SmallVector<ViewAttr> attrs;
  for (Loads *each : views)
    attrs.push_back(each->view);
  ViewAttr first = attrs.front();
  SmallVector<std::pair<int64_t, int64_t>> common = commonGrouping(denseView(first), attrs);
  // One of the views may have this grouping already, with dimensions of size 1 of its own.
  auto isCommon = [&](Loads *each) {
    SmallVector<std::pair<int64_t, int64_t>> dims;
    for (auto [size, stride] : llvm::zip_equal(each->view.getSizes(), each->view.getStrides()))
      if (size != 1)
        dims.push_back({size, stride});
    return dims == common;
  };
  const auto *it = llvm::find_if(views, isCommon);
  ml_program::GlobalOp global = it != views.end() ? (*it)->global : nullptr;
  if (!global) {
    SmallVector<int64_t> sizes, strides;
    for (auto [size, stride] : common) {
      sizes.push_back(size);
      strides.push_back(stride);
    }
    Value loaded =
        load(views.front()->loads.front().getResult(), first.getOffset(), sizes, strides);
    global = globalOf(loaded);
    loaded.getDefiningOp()->erase();
  }
  for (Loads *each : views) {
    if (each->global == global)
      continue;
    for (ml_program::GlobalLoadConstOp &loadOp : each->loads) {
      OpBuilder builder(loadOp);
      auto fresh = ml_program::GlobalLoadConstOp::create(
          builder, loadOp.getLoc(), global.getType(), SymbolRefAttr::get(global.getSymNameAttr()));
      loadOp.getResult().replaceAllUsesWith(
          makeReshape(builder, loadOp.getLoc(), fresh.getResult(), shapeOf(loadOp.getResult())));
      loadOp.erase();
      loadOp = fresh;
    }
  }
  // The first view stands for all of them from here on.
  for (Loads *each : views.drop_front()) {
    llvm::append_range(views.front()->loads, each->loads);
    each->loads.clear();
  }
  views.front()->global = global;
  views.front()->view = global->getAttrOfType<ViewAttr>(kViewAttr);
}

LogicalResult WeightViews::resolveKey(std::vector<Loads> &views) {
  for (Loads &each : views)
    if (typeOf(each.global).getElementType() != typeOf(views.front().global).getElementType())
      return each.global.emitError() << "tensor '" << each.view.getKey() << "' is used as "
                                     << typeOf(views.front().global).getElementType() << " and as "
                                     << typeOf(each.global).getElementType();
  for (size_t i = 0; i < views.size(); ++i) {
    if (views[i].loads.empty())
      continue;
    SmallVector<Loads *> equal{&views[i]};
    for (size_t j = i + 1; j < views.size(); ++j) {
      if (views[j].loads.empty())
        continue;
      switch (relate(views[i].view, views[j].view)) {
      case ViewRelation::Equal:
        equal.push_back(&views[j]);
        break;
      case ViewRelation::Overlapping: {
        if (baseOf.count(views[i].global) || baseOf.count(views[j].global)) {
          conflicts.insert(views[i].view.getKey().str());
          return success();
        }
        InFlightDiagnostic error = views[j].loads.front().emitError()
                                   << "two views of '" << views[i].view.getKey()
                                   << "' share some elements, but not all: " << views[i].view
                                   << " and " << views[j].view;
        error.attachNote(views[i].loads.front().getLoc()) << "the other view is used here";
        return error;
      }
      case ViewRelation::Disjoint:
        break;
      }
    }
    if (equal.size() > 1)
      unify(equal);
  }
  return success();
}

FailureOr<std::set<std::string>> WeightViews::finish() {
  llvm::DenseMap<StringAttr, std::vector<ml_program::GlobalLoadConstOp>> loads;
  module.walk([&](ml_program::GlobalLoadConstOp load) {
    loads[load.getGlobal().getLeafReference()].push_back(load);
  });
  std::map<StringRef, size_t> index;
  std::vector<std::vector<Loads>> keys;
  for (auto global : module.getOps<ml_program::GlobalOp>()) {
    auto it = loads.find(global.getSymNameAttr());
    if (it == loads.end())
      continue;
    auto view = global->getAttrOfType<ViewAttr>(kViewAttr);
    auto [entry, isNew] = index.try_emplace(view.getKey(), keys.size());
    if (isNew)
      keys.emplace_back();
    keys[entry->second].push_back({global, std::move(it->second), view});
  }
  llvm::DenseSet<Operation *> used;
  for (std::vector<Loads> &views : keys) {
    if (failed(resolveKey(views)))
      return failure();
    llvm::erase_if(views, [](const Loads &each) { return each.loads.empty(); });
    llvm::sort(views, [](const Loads &a, const Loads &b) {
      return a.view.getOffset() < b.view.getOffset();
    });
    for (const Loads &each : views)
      used.insert(each.global);
  }
  if (!conflicts.empty())
    return conflicts;
  // Names of globals that go become free before new ones are given.
  llvm::StringSet<> names;
  for (auto global : llvm::make_early_inc_range(module.getOps<ml_program::GlobalOp>()))
    if (!used.contains(global))
      global.erase();
  for (Operation &op : *module.getBody())
    if (auto symbol = dyn_cast<SymbolOpInterface>(op); symbol && !isa<ml_program::GlobalOp>(op))
      names.insert(symbol.getName());
  for (std::vector<Loads> &views : keys)
    for (auto [i, each] : llvm::enumerate(views)) {
      // Only what was made here gets a new name; so raising again changes none.
      std::string base = each.global.getSymName().str();
      if (auto made = baseOf.find(each.global); made != baseOf.end())
        base = made->second + (views.size() > 1 ? "." + std::to_string(i) : "");
      std::string name = base;
      for (int n = 0; !names.insert(name).second; ++n)
        name = base + "_" + std::to_string(n);
      each.global.setSymName(name);
      for (ml_program::GlobalLoadConstOp load : each.loads)
        load.setGlobalAttr(SymbolRefAttr::get(each.global.getSymNameAttr()));
    }
  return conflicts;
}
