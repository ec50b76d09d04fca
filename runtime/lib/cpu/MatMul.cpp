// SPDX-License-Identifier: Apache-2.0
// MatMul: sorts dimensions by their labels into batch, rows, columns and contracted, merges each
// group where the strides allow, and gives oneDNN the largest loop of each; loops over what is
// left. An operand that has no plain matrix layout (no step of 1, or overlapping rows) is first
// copied into one; a result without a step of 1 is made in scratch and moved by the epilogue. A few
// f32 rows times transposed weights are ours.
#include "Epilogue.h"
#include "MatMulPrimitive.h"

#include <algorithm>
#include <cstring>

namespace tenon::runtime::cpu {
namespace {

/// A dimension with its strides in a, b, c, bias and residual; 0 where the operand lacks it.
enum Slot { A, B, C, Bias, Residual, kSlots };
enum Group { Batch, Rows, Columns, Contracted, kGroups };

/// Takes the loop that suits oneDNN best out of a group: one with step 1 in either unit if that is
/// long enough, else the longest. Returns size 1 and steps 0 from an empty group.
LoopNest takeMain(LoopNest &group, int unit, int otherUnit) {
  if (group.sizes.empty())
    return group.popInner();
  size_t best = 0;
  auto weight = [&](size_t d) {
    bool steps = group.strides[d][unit] == 1 || group.strides[d][otherUnit] == 1;
    return group.sizes[d] * (steps ? 8 : 1);
  };
  for (size_t d = 1; d < group.sizes.size(); ++d)
    if (weight(d) >= weight(best))
      best = d;
  LoopNest main;
  main.operands = group.operands;
  main.push(group.sizes[best], group.strides[best]);
  group.sizes.erase(group.sizes.begin() + best);
  group.strides.erase(group.strides.begin() + best);
  return main;
}

// Whether oneDNN takes a matrix with these steps as it is: one step is 1 and the lines do not
// overlap.
bool isPlain(int64_t rows, int64_t rowStep, int64_t columns, int64_t columnStep) {
  if (columns == 1)
    return rows == 1 || rowStep >= 1;
  if (rows == 1)
    return columnStep == 1;
  return (columnStep == 1 && rowStep >= columns) || (rowStep == 1 && columnStep >= rows);
}

/// Memory that a work owns.
struct Owned {
  std::byte *data;
  explicit Owned(int64_t bytes) : data(allocateAligned(bytes)) {}
  ~Owned() { releaseAligned(data); }
  Owned(const Owned &) = delete;
};

class MatMulWork : public Work {
public:
  explicit MatMulWork(Context &context) : context_(context) {}

  /// Decides everything. Called once.
  Status plan(const plan::MatMul &op, std::vector<Region> regions) {
    regions_ = std::move(regions);
    for (Slot slot : {A, B, C})
      labels_[slot] = slot == A ? op.aDims : slot == B ? op.bDims : op.cDims;
    if (Status status = checkLabels(); !status)
      return status;
    empty_ = regions_[C].empty();
    if (empty_)
      return Status();
    group();
    chooseLoops();
    // Packing one operand may let more loops merge, so the choice is made anew.
    for (Slot slot : {A, B})
      if (!isPlainOperand(slot)) {
        if (Status status = pack(slot); !status)
          return status;
        group();
        chooseLoops();
      }
    Status status = preparePrimitives(op.activation);
    if (!status && batch_.sizes[0] > 1) {
      // oneDNN refuses some interleavings of batch and rows: loop over the batch ourselves.
      loops_.push(batch_.sizes[0], batch_.strides[0]);
      batch_.sizes[0] = 1;
      batch_.strides[0].assign(kSlots, 0);
      status = preparePrimitives(op.activation);
    }
    if (status.ok() && hasEpilogue_)
      prepareEpilogue(op.activation);
    return status;
  }

  Status run() override {
    if (empty_)
      return Status();
    for (const std::unique_ptr<Work> &pack : packs_)
      if (Status status = pack->run(); !status)
        return status;
    NestCursor cursor(loops_, 0);
    for (int64_t i = 0, n = loops_.iterations(); i < n; ++i, cursor.next())
      if (Status status = runTile(cursor); !status)
        return status;
    return Status();
  }

private:
  Status runTile(const NestCursor &cursor) {
    std::byte *c = regions_[C].at(cursor[C]);
    std::byte *product = tileInScratch_ ? context_.scratch.data() + tileOffset_ : c;
    const std::byte *bias = regions_[Bias].data ? regions_[Bias].at(cursor[Bias]) : nullptr;
    const std::byte *residual =
        regions_[Residual].data ? regions_[Residual].at(cursor[Residual]) : nullptr;
    if (fewRows_) {
      multiplyFewRows(regions_[left()].at(cursor[left()]), regions_[right()].at(cursor[right()]),
                      reinterpret_cast<float *>(product));
    } else if (!first_) {
      // Nothing is contracted: the sum is 0.
      std::memset(product, 0, size_t(tileBytes_));
    } else {
      std::byte *scratch = context_.scratch.data() + primitiveOffset_;
      NestCursor inner(sums_, 0);
      for (int64_t i = 0, n = sums_.iterations(); i < n; ++i, inner.next()) {
        MatMulPrimitive *primitive = i == 0 ? first_ : next_;
        Status status = primitive->run(regions_[left()].at(cursor[left()] + inner[left()]),
                                       regions_[right()].at(cursor[right()] + inner[right()]), bias,
                                       product, scratch);
        if (!status)
          return status;
      }
    }
    if (hasEpilogue_)
      epilogue_.run(context_, Epilogue::kFloats, reinterpret_cast<const float *>(product), c, bias,
                    residual);
    return Status();
  }

  // oneDNN needs up to three times as long as the memory does when a few rows meet the transposed
  // weights of a linear layer, and this is where decoding spends its time.
  bool suitsFewRows() const {
    constexpr int64_t kFewRows = 4;
    return regions_[A].type == plan::DataType::F32 && rows_.sizes[0] <= kFewRows &&
           batch_.sizes[0] == 1 && sums_.iterations() == 1 && sum_.sizes[0] > 0 &&
           (sum_.sizes[0] == 1 || (sum_.strides[0][left()] == 1 && sum_.strides[0][right()] == 1 &&
                                   columns_.strides[0][right()] >= sum_.sizes[0]));
  }

  void multiplyFewRows(const std::byte *rows, const std::byte *columns, float *product) const {
    const float *x = reinterpret_cast<const float *>(rows);
    const float *w = reinterpret_cast<const float *>(columns);
    const int64_t m = rows_.sizes[0], n = columns_.sizes[0], k = sum_.sizes[0];
    const int64_t ldx = rows_.strides[0][left()], ldw = columns_.strides[0][right()];
    const int64_t ldo = tileInScratch_ ? n : rows_.strides[0][C];
    parallelFor(context_, n, m * k, [&](int, int64_t begin, int64_t end) {
      context_.rows->dotRows(x, ldx, m, w + begin * ldw, ldw, product + begin, ldo, end - begin, k);
    });
  }

  // The operand that holds the rows and the one that holds the columns, as oneDNN sees them.
  Slot left() const { return swapped_ ? B : A; }
  Slot right() const { return swapped_ ? A : B; }

  int64_t stride(Slot slot, char label) const {
    Slot names = slot == Bias || slot == Residual ? C : slot;
    size_t at = labels_[names].find(label);
    return at == std::string::npos || !regions_[slot].data ? 0 : regions_[slot].strides[at];
  }

  int64_t size(char label) const {
    for (Slot slot : {A, B, C})
      if (size_t at = labels_[slot].find(label); at != std::string::npos)
        return regions_[slot].sizes[at];
    return 1;
  }

  Status checkLabels() const {
    for (Slot slot : {A, B, C}) {
      const char *names[] = {"a", "b", "c"};
      const std::string &labels = labels_[slot];
      if (labels.size() != regions_[slot].sizes.size())
        return Status(Code::Plan, std::string(names[slot]) + " has labels '" + labels + "' for " +
                                      shapeText(regions_[slot].sizes));
      for (size_t i = 0; i < labels.size(); ++i) {
        if (labels.find(labels[i], i + 1) != std::string::npos)
          return Status(Code::Plan,
                        "label '" + std::string(1, labels[i]) + "' stands twice in " + names[slot]);
        int holders = 0;
        for (Slot other : {A, B, C})
          holders += labels_[other].find(labels[i]) != std::string::npos;
        if (holders < 2)
          return Status(Code::Plan,
                        "label '" + std::string(1, labels[i]) + "' stands only in " + names[slot]);
        if (regions_[slot].sizes[i] != size(labels[i]))
          return Status(Code::Plan, "label '" + std::string(1, labels[i]) + "' has sizes " +
                                        std::to_string(size(labels[i])) + " and " +
                                        std::to_string(regions_[slot].sizes[i]));
      }
    }
    return Status();
  }

  Group groupOf(char label) const {
    bool a = labels_[A].find(label) != std::string::npos;
    bool b = labels_[B].find(label) != std::string::npos;
    bool c = labels_[C].find(label) != std::string::npos;
    if (!c)
      return Contracted;
    if (a && b)
      return Batch;
    return a != swapped_ ? Rows : Columns;
  }

  void group() {
    swapped_ = false;
    sortIntoGroups();
    auto hasUnitStep = [&](Group group) {
      for (const std::vector<int64_t> &steps : groups_[group].strides)
        if (steps[C] == 1)
          return true;
      return false;
    };
    // oneDNN wants the result's rows contiguous; otherwise compute its transpose.
    if (hasUnitStep(Rows) && !hasUnitStep(Columns)) {
      swapped_ = true;
      sortIntoGroups();
    }
  }

  void sortIntoGroups() {
    for (LoopNest &group : groups_) {
      group = LoopNest();
      group.operands = kSlots;
    }
    std::string all = labels_[C];
    for (char label : labels_[A])
      if (all.find(label) == std::string::npos)
        all += label;
    for (char label : all)
      groups_[groupOf(label)].push(size(label),
                                   {stride(A, label), stride(B, label), stride(C, label),
                                    stride(Bias, label), stride(Residual, label)});
    for (LoopNest &group : groups_) {
      group.sortBy(&group == &groups_[Contracted] ? B : C);
      group.collapse();
    }
  }

  void chooseLoops() {
    LoopNest rest[kGroups] = {groups_[0], groups_[1], groups_[2], groups_[3]};
    batch_ = takeMain(rest[Batch], C, C);
    if (batch_.strides[0][A] == 0 && batch_.strides[0][B] == 0 && batch_.sizes[0] > 1) {
      rest[Batch].push(batch_.sizes[0], batch_.strides[0]);
      batch_ = LoopNest();
      batch_.operands = kSlots;
      batch_.push(1, std::vector<int64_t>(kSlots, 0));
    }
    rows_ = takeMain(rest[Rows], C, C);
    columns_ = takeMain(rest[Columns], C, C);
    sum_ = takeMain(rest[Contracted], A, B);
    loops_ = LoopNest();
    loops_.operands = kSlots;
    for (Group group : {Batch, Rows, Columns})
      for (size_t d = 0; d < rest[group].sizes.size(); ++d)
        loops_.push(rest[group].sizes[d], rest[group].strides[d]);
    sums_ = rest[Contracted];
  }

  bool isPlainOperand(Slot slot) const {
    const LoopNest &kept = slot == left() ? rows_ : columns_;
    return isPlain(kept.sizes[0], kept.strides[0][slot], sum_.sizes[0], sum_.strides[0][slot]);
  }

  // Replaces an operand by a dense copy: batch, then kept, then contracted dimensions.
  Status pack(Slot slot) {
    Region dense = regions_[slot];
    int64_t step = 1;
    auto assign = [&](bool contracted) {
      for (size_t i = labels_[slot].size(); i-- > 0;)
        if ((groupOf(labels_[slot][i]) == Contracted) == contracted) {
          dense.strides[i] = step;
          step *= dense.sizes[i];
        }
    };
    assign(true);
    assign(false);
    int64_t bytes = dense.elements() * dense.width();
    owned_.push_back(std::make_unique<Owned>(bytes));
    dense.data = owned_.back()->data;
    if (!dense.data)
      return Status(Code::Memory,
                    "cannot allocate " + std::to_string(bytes) + " bytes to copy an operand");
    workspaceBytes += bytes;
    packs_.push_back(makeCopy(regions_[slot], dense, context_));
    regions_[slot] = std::move(dense);
    return Status();
  }

  // Decides where the product goes and creates what computes it.
  Status preparePrimitives(plan::Activation activation) {
    using plan::DataType;
    const DataType in = regions_[A].type, out = regions_[C].type;
    const int64_t batch = batch_.sizes[0], m = rows_.sizes[0], n = columns_.sizes[0];
    const int64_t k = sum_.sizes[0];
    const bool sumsNothing = k == 0 || sums_.iterations() == 0;
    const bool loopsOverSum = sums_.iterations() > 1;
    const bool hasBias = regions_[Bias].data, hasResidual = regions_[Residual].data;
    const DataType biasType = regions_[Bias].type;
    fewRows_ = suitsFewRows();
    nativeBias_ = hasBias && !fewRows_ && !sumsNothing && !loopsOverSum &&
                  (n == 1 || columns_.strides[0][Bias] == 1) && rows_.strides[0][Bias] == 0 &&
                  batch_.strides[0][Bias] == 0 &&
                  (biasType == DataType::F32 || (biasType == in && in == DataType::BF16));
    const bool later =
        activation != plan::Activation::None || hasResidual || (hasBias && !nativeBias_);
    const bool direct = out == DataType::F32 || (out == in && !later && !loopsOverSum);
    tileInScratch_ = sumsNothing || !direct || (n > 1 && columns_.strides[0][C] != 1);
    hasEpilogue_ = tileInScratch_ || later;

    scratchBytes_ = hasEpilogue_ ? paddedFloats(Epilogue::kFloats) * 4 * context_.threads : 0;
    tileBytes_ = 0;
    if (tileInScratch_) {
      tileOffset_ = scratchBytes_;
      tileBytes_ = batch * m * n * 4;
      scratchBytes_ += paddedFloats(batch * m * n) * 4;
    }
    primitiveOffset_ = scratchBytes_;
    first_ = next_ = nullptr;
    if (!sumsNothing && !fewRows_) {
      MatMulShape shape;
      shape.batch = batch;
      shape.m = m;
      shape.n = n;
      shape.k = k;
      auto steps = [&](Slot slot, const LoopNest &x, const LoopNest &y) {
        return std::array<int64_t, 3>{batch_.strides[0][slot], x.strides[0][slot],
                                      y.strides[0][slot]};
      };
      shape.aStrides = steps(left(), rows_, sum_);
      shape.bStrides = steps(right(), sum_, columns_);
      shape.cStrides =
          tileInScratch_ ? std::array<int64_t, 3>{m * n, n, 1} : steps(C, rows_, columns_);
      shape.inType = in;
      shape.outType = tileInScratch_ ? DataType::F32 : out;
      shape.bias = nativeBias_;
      shape.biasType = nativeBias_ ? biasType : DataType::F32;
      Expected<MatMulPrimitive *> first = context_.primitives->get(shape);
      if (!first)
        return first.status();
      first_ = *first;
      int64_t bytes = first_->scratchBytes();
      if (loopsOverSum) {
        shape.accumulate = true;
        Expected<MatMulPrimitive *> next = context_.primitives->get(shape);
        if (!next)
          return next.status();
        next_ = *next;
        bytes = std::max(bytes, next_->scratchBytes());
      }
      scratchBytes_ += bytes;
    }
    Expected<int64_t> grown = context_.scratch.reserve(scratchBytes_);
    if (!grown)
      return grown.status();
    workspaceBytes += *grown;
    return Status();
  }

  void prepareEpilogue(plan::Activation activation) {
    epilogue_.activation = activation;
    epilogue_.resultType = regions_[C].type;
    epilogue_.biasType = regions_[Bias].type;
    epilogue_.residualType = regions_[Residual].type;
    epilogue_.bias = regions_[Bias].data && !nativeBias_;
    epilogue_.residual = regions_[Residual].data;
    const int64_t m = rows_.sizes[0], n = columns_.sizes[0];
    auto loop = [&](LoopNest &nest, const LoopNest &main, int64_t productStep) {
      const std::vector<int64_t> &steps = main.strides[0];
      nest.operands = kEpilogueSlots;
      nest.push(main.sizes[0],
                {tileInScratch_ ? productStep : steps[C], steps[C], steps[Bias], steps[Residual]});
    };
    epilogue_.rows = LoopNest();
    epilogue_.columns = LoopNest();
    loop(epilogue_.rows, batch_, m * n);
    loop(epilogue_.rows, rows_, n);
    loop(epilogue_.columns, columns_, 1);
    epilogue_.rows.collapse();
    // One column: steps of size-1 dimensions are 0 after merging, which reads the same element.
  }

  Context &context_;
  std::vector<Region> regions_; ///< By Slot; without data where absent.
  std::string labels_[3];
  bool empty_ = false, swapped_ = false, fewRows_ = false;
  LoopNest groups_[kGroups];
  LoopNest batch_, rows_, columns_, sum_; ///< What oneDNN loops over.
  LoopNest loops_, sums_;                 ///< What we loop over: kept and contracted.
  std::vector<std::unique_ptr<Owned>> owned_;
  std::vector<std::unique_ptr<Work>> packs_;
  MatMulPrimitive *first_ = nullptr, *next_ = nullptr; ///< Sets c, adds to c.
  bool tileInScratch_ = false, nativeBias_ = false, hasEpilogue_ = false;
  int64_t scratchBytes_ = 0, tileOffset_ = 0, tileBytes_ = 0, primitiveOffset_ = 0;
  Epilogue epilogue_;
};

} // namespace

PreparedWork prepare(const plan::MatMul &op, const Binding &binding, Context &context) {
  using plan::DataType;
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.a), bind(op.b), bind(op.c), bind.optional(op.bias),
                                 bind.optional(op.residual)};
  for (Slot slot : {Bias, Residual})
    if (regions[slot].data)
      bind.same(regions[C], regions[slot], slot == Bias ? "c and bias" : "c and residual");
  bind.require(regions[A].type == regions[B].type,
               std::string("expected a and b of one type, found ") + plan::name(regions[A].type) +
                   " and " + plan::name(regions[B].type));
  DataType in = regions[A].type, out = regions[C].type;
  bind.require(in == DataType::F32 || in == DataType::BF16,
               std::string("expected f32 or bf16, found ") + plan::name(in) +
                   "; export with --dtype f32 or bf16");
  bind.require(out == DataType::F32 || out == DataType::BF16 || out == DataType::F16,
               std::string("expected a result of f32, bf16 or f16, found ") + plan::name(out));
  bind.require(in != DataType::BF16 || context.primitives->hasBf16(),
               "bf16 needs a processor with avx512_bf16 or amx; compile with --dtype f32");
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<MatMulWork>(context);
  if (Status status = work->plan(op, std::move(regions)); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu
