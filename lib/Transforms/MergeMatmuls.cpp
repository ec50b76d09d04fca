// SPDX-License-Identifier: Apache-2.0
// tp-merge-matmuls: matmuls of one input over different weights (q, k and v; gate and up) become
// one matmul over a weight in parts. Each part keeps its own view and sharding, so merging after
// localisation is per block and per head by construction. Merged only where every entry point
// merges the same weights: a weight is held once.
//
// Worked example: x [b,s,k], wq [g,r,d,k], wk [g,d,k] with local sizes 6*64 and 2*64 rows: one
// weight [512, k] with parts at offsets 0 and 384*k, one matmul "bsk,nk->bsn", and slices [0,384)
// and [384,512) of its result.

#include "tenon/Transforms/Passes.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

#include <map>

namespace tenon {
#define GEN_PASS_DEF_MERGEMATMULSPASS
#include "tenon/Transforms/Passes.h.inc"
} // namespace tenon

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }
static int64_t elements(ArrayRef<int64_t> shape) {
  int64_t n = 1;
  for (int64_t size : shape)
    n *= size;
  return n;
}

static SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

namespace {

/// One matmul that may be merged: x [rows.., k..] times a loaded weight whose free dimensions come
/// last in the result.
struct Candidate {
  MatMulOp matmul;
  ml_program::GlobalLoadConstOp weight;
  BinaryOp biasAdd;                   ///< Null without a bias.
  ml_program::GlobalLoadConstOp bias; ///< Null without a bias.
  std::string rows, contracted, free;
  bool freeFirst = false; ///< Weight is [free.., contracted..], else [contracted.., free..].
};

std::optional<Candidate> candidateOf(MatMulOp matmul) {
  FailureOr<Einsum> einsum = parseEinsum(matmul.getEinsum());
  Candidate candidate;
  candidate.matmul = matmul;
  candidate.weight = matmul.getRhs().getDefiningOp<ml_program::GlobalLoadConstOp>();
  if (failed(einsum) || !candidate.weight || !matmul.getRhs().hasOneUse() || matmul.getBias() ||
      matmul.getResidual() || matmul.getActivation() != ActivationKind::None)
    return std::nullopt;
  StringRef lhs(einsum->lhs), rhs(einsum->rhs), result(einsum->result);
  for (char c : lhs)
    (result.contains(c) ? candidate.rows : candidate.contracted).push_back(c);
  for (char c : rhs)
    if (!lhs.contains(c))
      candidate.free.push_back(c);
  if (candidate.free.empty() || lhs != candidate.rows + candidate.contracted ||
      result != candidate.rows + candidate.free)
    return std::nullopt;
  if (rhs == candidate.free + candidate.contracted)
    candidate.freeFirst = true;
  else if (rhs != candidate.contracted + candidate.free)
    return std::nullopt;
  if (matmul.getResult().hasOneUse())
    if (auto add = dyn_cast<BinaryOp>(*matmul.getResult().getUsers().begin());
        add && add.getKind() == BinaryKind::Add) {
      Value other = add.getLhs() == matmul.getResult() ? add.getRhs() : add.getLhs();
      auto load = other.getDefiningOp<ml_program::GlobalLoadConstOp>();
      if (load && other.hasOneUse() &&
          typeOf(other).getShape() ==
              typeOf(matmul.getResult()).getShape().take_back(candidate.free.size())) {
        candidate.biasAdd = add;
        candidate.bias = load;
      }
    }
  return candidate;
}

/// Matmuls that share input, contraction, layout and element type.
using GroupKey = std::tuple<void *, int64_t, bool, bool, const void *>;

struct MergeMatmuls : tenon::impl::MergeMatmulsPassBase<MergeMatmuls> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    made.clear();
    // How often each global is loaded: a weight with other users is left alone.
    llvm::DenseMap<StringAttr, int> loads;
    module.walk(
        [&](ml_program::GlobalLoadConstOp load) { ++loads[load.getGlobal().getLeafReference()]; });

    std::vector<std::vector<Candidate>> groups;
    for (auto function : module.getOps<func::FuncOp>()) {
      std::map<GroupKey, size_t> index;
      std::vector<std::vector<Candidate>> local;
      for (auto matmul : function.getOps<MatMulOp>()) {
        std::optional<Candidate> candidate = candidateOf(matmul);
        if (!candidate)
          continue;
        GroupKey key{matmul.getLhs().getAsOpaquePointer(),
                     static_cast<int64_t>(candidate->contracted.size()), candidate->freeFirst,
                     candidate->bias != nullptr,
                     typeOf(matmul.getResult()).getElementType().getAsOpaquePointer()};
        auto [it, isNew] = index.try_emplace(key, local.size());
        if (isNew)
          local.emplace_back();
        local[it->second].push_back(std::move(*candidate));
      }
      for (auto &group : local)
        if (group.size() > 1)
          groups.push_back(std::move(group));
    }
    // Merge a set of weights only when all of their loads are in groups of this very set.
    std::map<GlobalNames, int> occurrences;
    for (const auto &group : groups)
      ++occurrences[namesOf(weightsOf(group))];
    for (auto &group : groups) {
      int expected = occurrences[namesOf(weightsOf(group))];
      bool complete = llvm::all_of(group, [&](const Candidate &c) {
        auto mergeable = [&](ml_program::GlobalLoadConstOp load) {
          auto global = symbols.lookup<ml_program::GlobalOp>(load.getGlobal().getLeafReference());
          return global && global->hasAttr(kViewAttr) &&
                 loads.lookup(load.getGlobal().getLeafReference()) == expected;
        };
        return mergeable(c.weight) && (!c.bias || mergeable(c.bias));
      });
      if (complete)
        merge(group, symbols);
    }
  }

private:
  using GlobalNames = std::vector<std::string>;

  static SmallVector<ml_program::GlobalLoadConstOp> weightsOf(ArrayRef<Candidate> group) {
    SmallVector<ml_program::GlobalLoadConstOp> loads;
    for (const Candidate &candidate : group)
      loads.push_back(candidate.weight);
    return loads;
  }
  static GlobalNames namesOf(ArrayRef<ml_program::GlobalLoadConstOp> loads) {
    GlobalNames names;
    for (ml_program::GlobalLoadConstOp load : loads)
      names.push_back(load.getGlobal().getLeafReference().str());
    return names;
  }

  /// A global made of the parts' globals; found again when another entry point merges the same
  /// ones.
  ml_program::GlobalOp mergedGlobal(ArrayRef<ml_program::GlobalLoadConstOp> parts,
                                    RankedTensorType type,
                                    ArrayRef<std::pair<int64_t, SmallVector<int64_t>>> places,
                                    SymbolTable &symbols) {
    GlobalNames names = namesOf(parts);
    ml_program::GlobalOp &merged = made[names];
    if (merged)
      return merged;
    OpBuilder builder(&getContext());
    SmallVector<Attribute> dictionaries;
    for (auto [name, place] : llvm::zip_equal(names, places)) {
      auto global = symbols.lookup<ml_program::GlobalOp>(name);
      NamedAttrList list;
      list.set("view", global->getAttr(kViewAttr));
      list.set("sharding", global->getAttr(kShardingAttr));
      list.set("shape",
               builder.getDenseI64ArrayAttr(cast<RankedTensorType>(global.getType()).getShape()));
      list.set("offset", builder.getI64IntegerAttr(place.first));
      list.set("strides", builder.getDenseI64ArrayAttr(place.second));
      if (Attribute stored = global->getAttr(kStoredAttr))
        list.set("stored", stored);
      dictionaries.push_back(list.getDictionary(&getContext()));
    }
    auto first = symbols.lookup<ml_program::GlobalOp>(names.front());
    builder.setInsertionPoint(first);
    merged = ml_program::GlobalOp::create(
        builder, first.getLoc(), llvm::join(names, "+"), type, /*is_mutable=*/false,
        ml_program::ExternAttr::get(&getContext(), type), builder.getStringAttr("private"));
    merged->setAttr(kPartsAttr, builder.getArrayAttr(dictionaries));
    symbols.insert(merged); // Renames it where a global has this name.
    return merged;
  }

  /// Merged globals by the names of their parts.
  std::map<GlobalNames, ml_program::GlobalOp> made;

  using Place = std::pair<int64_t, SmallVector<int64_t>>; ///< Offset and strides.

  /// The loads of a group and where each lies in the merged weight: rows of [n, k..], or columns of
  /// [k.., n]; elements of the bias.
  struct Layout {
    SmallVector<ml_program::GlobalLoadConstOp> weights, biases;
    SmallVector<Place> places, biasPlaces;
    SmallVector<int64_t> widths; ///< Free elements of each part.
    int64_t total = 0;
  };

  static Layout layOut(ArrayRef<Candidate> group, int64_t depth) {
    Layout layout;
    for (const Candidate &candidate : group)
      layout.total += layout.widths.emplace_back(
          elements(typeOf(const_cast<Candidate &>(candidate).matmul.getResult())
                       .getShape()
                       .drop_front(candidate.rows.size())));
    int64_t offset = 0;
    for (auto [part, width] : llvm::zip_equal(group, layout.widths)) {
      Candidate candidate = part;
      ArrayRef<int64_t> block = typeOf(candidate.weight.getResult()).getShape();
      SmallVector<int64_t> strides(block.size());
      int64_t stride = 1;
      for (size_t i = block.size(); i-- > 0;) {
        strides[i] = stride;
        stride *= block[i];
        if (!candidate.freeFirst && i == candidate.contracted.size())
          stride = layout.total; // Rows of the other weights lie between two contracted positions.
      }
      layout.places.push_back({candidate.freeFirst ? offset * depth : offset, strides});
      layout.weights.push_back(candidate.weight);
      if (candidate.bias) {
        layout.biasPlaces.push_back(
            {offset, rowMajorStrides(typeOf(candidate.bias.getResult()).getShape())});
        layout.biases.push_back(candidate.bias);
      }
      offset += width;
    }
    return layout;
  }

  /// Gives each matmul's users their part of the merged result, and erases the matmuls.
  static void handOut(ArrayRef<Candidate> group, ArrayRef<int64_t> widths, Value merged,
                      OpBuilder &builder) {
    auto type = typeOf(merged);
    int64_t offset = 0;
    for (auto [part, width] : llvm::zip_equal(group, widths)) {
      Candidate candidate = part;
      SmallVector<int64_t> offsets(type.getRank(), 0), sizes(type.getShape()),
          strides(type.getRank(), 1);
      offsets.back() = offset;
      sizes.back() = width;
      offset += width;
      Location loc = candidate.matmul.getLoc();
      Value slice =
          SliceOp::create(builder, loc, RankedTensorType::get(sizes, type.getElementType()), merged,
                          offsets, sizes, strides);
      Operation *last =
          candidate.biasAdd ? candidate.biasAdd.getOperation() : candidate.matmul.getOperation();
      last->getResult(0).replaceAllUsesWith(
          ReshapeOp::create(builder, loc, last->getResult(0).getType(), slice).getResult());
    }
    // Only now: the builder inserts before the first matmul.
    for (Candidate candidate : group) {
      if (candidate.biasAdd)
        candidate.biasAdd.erase();
      candidate.matmul.erase();
    }
  }

  void merge(std::vector<Candidate> &group, SymbolTable &symbols) {
    MatMulOp firstMatMul = group.front().matmul;
    ArrayRef<int64_t> input = typeOf(firstMatMul.getLhs()).getShape();
    const Candidate &shape = group.front();
    SmallVector<int64_t> rowShape(input.take_front(shape.rows.size())),
        contractedShape(input.drop_front(shape.rows.size()));
    Layout layout = layOut(group, elements(contractedShape));
    Type element = typeOf(shape.matmul->getOperand(1)).getElementType();
    SmallVector<int64_t> weightShape(contractedShape);
    weightShape.insert(shape.freeFirst ? weightShape.begin() : weightShape.end(), layout.total);
    auto weightType = RankedTensorType::get(weightShape, element);
    ml_program::GlobalOp weight = mergedGlobal(layout.weights, weightType, layout.places, symbols);

    // The first user of any part comes after the first matmul: merge there.
    OpBuilder builder(firstMatMul);
    Location loc = firstMatMul.getLoc();
    auto load = [&](ml_program::GlobalOp global, RankedTensorType type) -> Value {
      return ml_program::GlobalLoadConstOp::create(builder, loc, type,
                                                   FlatSymbolRefAttr::get(global.getSymNameAttr()));
    };
    char n = 'a'; // A matmul of a plan has fewer dimensions than there are letters.
    while (StringRef(shape.rows + shape.contracted).contains(n))
      ++n;
    std::string lhs = shape.rows + shape.contracted;
    std::string rhs = shape.freeFirst ? n + shape.contracted : shape.contracted + n;
    SmallVector<int64_t> resultShape(rowShape);
    resultShape.push_back(layout.total);
    auto resultType =
        RankedTensorType::get(resultShape, typeOf(firstMatMul.getResult()).getElementType());
    Value bias;
    if (!layout.biases.empty()) {
      auto biasType = RankedTensorType::get(
          {layout.total}, typeOf(layout.biases.front().getResult()).getElementType());
      bias = load(mergedGlobal(layout.biases, biasType, layout.biasPlaces, symbols), biasType);
    }
    Value merged = MatMulOp::create(builder, loc, resultType,
                                    builder.getStringAttr(lhs + "," + rhs + "->" + shape.rows + n),
                                    firstMatMul.getLhs(), load(weight, weightType), bias, Value(),
                                    ActivationKindAttr::get(&getContext(), ActivationKind::None));
    handOut(group, layout.widths, merged, builder);
  }
};

} // namespace
