// SPDX-License-Identifier: Apache-2.0
// Elementwise: a postfix program run over blocks of 512 elements that stay in the first-level
// cache. Inputs and outputs that are f32 and contiguous are used where they lie; all others pass
// through a row of f32. Integer programs run over int64 blocks in the same way.
#include "CastRun.h"
#include "Work.h"

namespace tenon::runtime::cpu {
namespace {

/// Values that an expression may have on its stack: all of its leaves.
constexpr int kMaxStack = int(plan::limits::exprTerms);

using plan::ExprOp;

constexpr int64_t kBlock = 512;

int arity(ExprOp op) {
  if (op == ExprOp::Input || op == ExprOp::Constant)
    return 0;
  if (op == ExprOp::Select)
    return 3;
  return op < ExprOp::Add ? 1 : 2;
}

bool isIntegerOp(ExprOp op) {
  switch (op) {
  case ExprOp::Input:
  case ExprOp::Constant:
  case ExprOp::Neg:
  case ExprOp::Abs:
  case ExprOp::Add:
  case ExprOp::Sub:
  case ExprOp::Mul:
  case ExprOp::Max:
  case ExprOp::Min:
  case ExprOp::Eq:
  case ExprOp::Ne:
  case ExprOp::Lt:
  case ExprOp::Le:
  case ExprOp::Gt:
  case ExprOp::Ge:
  case ExprOp::Select:
    return true;
  default:
    return false;
  }
}

/// Returns the deepest stack that the program needs, or a failure.
Expected<int> stackDepth(const plan::Elementwise &op) {
  int depth = 0, deepest = 0, operators = 0;
  for (const plan::ExprTerm &term : op.expr) {
    if (term.op > ExprOp::Select)
      return Status(Code::Plan, "unknown operator " + std::to_string(int(term.op)));
    if (term.op == ExprOp::Input && (term.input < 0 || size_t(term.input) >= op.inputs.size()))
      return Status(Code::Plan, "expression reads input " + std::to_string(term.input) + " of " +
                                    std::to_string(op.inputs.size()));
    int pops = arity(term.op);
    operators += pops > 0;
    if (depth < pops)
      return Status(Code::Plan, "expression pops an empty stack");
    depth += 1 - pops;
    deepest = std::max(deepest, depth);
  }
  if (depth != 1)
    return Status(Code::Plan, "expression leaves " + std::to_string(depth) + " values, expected 1");
  if (operators > 16)
    return Status(Code::Plan, "expression has " + std::to_string(operators) +
                                  " operators, expected at most 16");
  return deepest;
}

/// The loops shared by both element types: blocks of columns of one row, or several short rows.
class ElementwiseWork : public Work {
public:
  ElementwiseWork(const plan::Elementwise &op, std::vector<Region> regions, int depth,
                  Context &context)
      : expr_(op.expr), regions_(std::move(regions)), depth_(depth), context_(context) {
    std::vector<const Region *> pointers;
    for (const Region &region : regions_)
      pointers.push_back(&region);
    rows_ = nestOf(pointers, 0, regions_[0].rank());
    rows_.sortBy(0);
    rows_.collapse();
    inner_ = rows_.popInner();
    n_ = regions_[0].empty() ? 0 : inner_.sizes[0];
    if (n_ == 0)
      return;
    rowsPerBlock_ = std::max<int64_t>(1, kBlock / n_);
    chunksPerRow_ = (n_ + kBlock - 1) / kBlock;
    int64_t rows = rows_.iterations();
    blocks_ = rowsPerBlock_ > 1 ? (rows + rowsPerBlock_ - 1) / rowsPerBlock_ : rows * chunksPerRow_;
  }

protected:
  struct Block {
    int64_t row, rows, column, columns;
    int64_t elements() const { return rows * columns; }
  };

  template <typename Body> void forEachBlock(Body body) {
    if (n_ == 0)
      return;
    int64_t operators = int64_t(expr_.size());
    parallelFor(context_, blocks_, kBlock * operators, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (rowsPerBlock_ > 1) {
          int64_t row = i * rowsPerBlock_;
          body(thread, Block{row, std::min(rowsPerBlock_, rows_.iterations() - row), 0, n_});
        } else {
          int64_t column = i % chunksPerRow_ * kBlock;
          body(thread, Block{i / chunksPerRow_, 1, column, std::min(kBlock, n_ - column)});
        }
      }
    });
  }

  /// Calls f(pointer to the run's first element, index of the run within the block) for operand j.
  template <typename F> void forEachRun(const Block &block, int j, F f) const {
    const Region &region = regions_[j];
    int64_t step = inner_.strides[0][j];
    NestCursor cursor(rows_, block.row);
    for (int64_t r = 0; r < block.rows; ++r, cursor.next())
      f(region.at(cursor[j] + block.column * step), r);
  }

  std::vector<plan::ExprTerm> expr_;
  std::vector<Region> regions_; ///< out first, then the inputs.
  int depth_;
  Context &context_;
  LoopNest rows_, inner_;
  int64_t n_ = 0, rowsPerBlock_ = 1, chunksPerRow_ = 1, blocks_ = 0;
};

class FloatWork : public ElementwiseWork {
public:
  using ElementwiseWork::ElementwiseWork;

  Status prepareScratch() {
    for (plan::ExprTerm &term : expr_)
      if (term.op == ExprOp::Constant) {
        term.input = int32_t(constants_.size() / kBlock);
        constants_.resize(constants_.size() + kBlock, float(term.value));
      }
    workspaceBytes += int64_t(constants_.size()) * 4;
    return context_.reserveRows(*this, floatsPerThread());
  }

  Status run() override {
    forEachBlock([&](int thread, const Block &block) {
      evaluate(block, context_.threadRows(thread, floatsPerThread()));
    });
    return Status();
  }

private:
  int64_t floatsPerThread() const { return depth_ * kBlock; }

  // A pointer to operand j's elements of the block if they lie side by side as f32, else null.
  float *inPlace(const Block &block, int j) const {
    const Region &region = regions_[j];
    if (region.type != plan::DataType::F32 || inner_.strides[0][j] != 1 || block.rows != 1)
      return nullptr;
    float *found = nullptr;
    forEachRun(block, j, [&](std::byte *run, int64_t) { found = reinterpret_cast<float *>(run); });
    return found;
  }

  const float *input(const Block &block, int j, float *slot) const {
    if (const float *found = inPlace(block, j))
      return found;
    const Region &region = regions_[j];
    forEachRun(block, j, [&](const std::byte *run, int64_t r) {
      context_.rows->load(region.type, run, inner_.strides[0][j], slot + r * block.columns,
                          block.columns);
    });
    return slot;
  }

  void evaluate(const Block &block, float *slots) const {
    const RowKernels &rows = *context_.rows;
    const int64_t n = block.elements();
    const float *stack[kMaxStack] = {};
    int top = 0;
    float *direct = inPlace(block, 0);
    for (size_t i = 0; i < expr_.size(); ++i) {
      const plan::ExprTerm &term = expr_[i];
      int pops = arity(term.op);
      int place = top - pops;
      float *to = direct && i + 1 == expr_.size() ? direct : slots + place * kBlock;
      const float **args = stack + place;
      if (term.op == ExprOp::Input) {
        args[0] = input(block, term.input + 1, slots + place * kBlock);
      } else if (term.op == ExprOp::Constant) {
        args[0] = constants_.data() + int64_t(term.input) * kBlock;
      } else {
        if (pops == 1)
          rows.unary(term.op, args[0], to, n);
        else if (pops == 3)
          rows.select(args[0], args[1], args[2], to, n);
        else if (int power = smallPower(i))
          rows.power(power, args[0], to, n);
        else
          rows.binary(term.op, args[0], args[1], to, n);
        args[0] = to;
      }
      top = place + 1;
    }
    if (stack[0] == direct)
      return;
    const Region &out = regions_[0];
    const float *result = stack[0];
    forEachRun(block, 0, [&](std::byte *run, int64_t r) {
      rows.store(out.type, run, inner_.strides[0][0], result + r * block.columns, block.columns);
    });
  }

  // Exponent of x^2 and x^3 by a constant, else 0.
  int smallPower(size_t i) const {
    if (expr_[i].op != ExprOp::Pow || expr_[i - 1].op != ExprOp::Constant)
      return 0;
    double exponent = expr_[i - 1].value;
    return exponent == 2 ? 2 : exponent == 3 ? 3 : 0;
  }

  std::vector<float> constants_;
};

class IntegerWork : public ElementwiseWork {
public:
  using ElementwiseWork::ElementwiseWork;

  Status prepareScratch() { return context_.reserveRows(*this, floatsPerThread()); }

  Status run() override {
    forEachBlock([&](int thread, const Block &block) {
      evaluate(block, reinterpret_cast<int64_t *>(context_.threadRows(thread, floatsPerThread())));
    });
    return Status();
  }

private:
  int64_t floatsPerThread() const { return depth_ * kBlock * 2; }

  static int64_t applyUnary(ExprOp op, int64_t a) {
    // Unsigned negation: the smallest number wraps instead of being undefined.
    int64_t negated = int64_t(0 - uint64_t(a));
    return op == ExprOp::Neg || a < 0 ? negated : a;
  }

  static int64_t applyBinary(ExprOp op, int64_t a, int64_t b) {
    switch (op) {
    case ExprOp::Add:
      return int64_t(uint64_t(a) + uint64_t(b));
    case ExprOp::Sub:
      return int64_t(uint64_t(a) - uint64_t(b));
    case ExprOp::Mul:
      return int64_t(uint64_t(a) * uint64_t(b));
    case ExprOp::Max:
      return std::max(a, b);
    case ExprOp::Min:
      return std::min(a, b);
    case ExprOp::Eq:
      return a == b;
    case ExprOp::Ne:
      return a != b;
    case ExprOp::Lt:
      return a < b;
    case ExprOp::Le:
      return a <= b;
    case ExprOp::Gt:
      return a > b;
    default:
      return a >= b;
    }
  }

  void evaluate(const Block &block, int64_t *slots) const {
    const RowKernels &rows = *context_.rows;
    const int64_t n = block.elements();
    int top = 0;
    for (const plan::ExprTerm &term : expr_) {
      int pops = arity(term.op);
      int64_t *a = slots + (top - pops) * kBlock, *b = a + kBlock, *c = b + kBlock;
      top += 1 - pops;
      if (term.op == ExprOp::Input) {
        int j = term.input + 1;
        CastRun load = castRun(regions_[j].type, plan::DataType::I64);
        forEachRun(block, j, [&](const std::byte *run, int64_t r) {
          load(rows, run, inner_.strides[0][j],
               reinterpret_cast<std::byte *>(a + r * block.columns), 1, block.columns);
        });
      } else if (term.op == ExprOp::Constant) {
        std::fill(a, a + n, int64_t(term.value));
      } else if (pops == 1) {
        for (int64_t i = 0; i < n; ++i)
          a[i] = applyUnary(term.op, a[i]);
      } else if (pops == 2) {
        for (int64_t i = 0; i < n; ++i)
          a[i] = applyBinary(term.op, a[i], b[i]);
      } else {
        for (int64_t i = 0; i < n; ++i)
          a[i] = a[i] ? b[i] : c[i];
      }
    }
    CastRun store = castRun(plan::DataType::I64, regions_[0].type);
    forEachRun(block, 0, [&](std::byte *run, int64_t r) {
      store(rows, reinterpret_cast<const std::byte *>(slots + r * block.columns), 1, run,
            inner_.strides[0][0], block.columns);
    });
  }
};

template <typename W>
PreparedWork make(const plan::Elementwise &op, std::vector<Region> regions, int depth,
                  Context &context) {
  auto work = std::make_unique<W>(op, std::move(regions), depth, context);
  if (Status status = work->prepareScratch(); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace

PreparedWork prepare(const plan::Elementwise &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.out)};
  bool integer = false;
  for (const plan::Operand &operand : op.inputs) {
    regions.push_back(bind(operand));
    bind.same(regions.back(), regions[0], "input and out");
    plan::DataType type = regions.back().type;
    integer |= type == plan::DataType::I32 || type == plan::DataType::I64;
  }
  bind.require(int(regions.size()) <= NestCursor::kMaxOperands,
               "expected at most " + std::to_string(NestCursor::kMaxOperands - 1) + " inputs");
  if (!bind.status().ok())
    return bind.status();
  Expected<int> depth = stackDepth(op);
  if (!depth)
    return depth.status();
  if (*depth > kMaxStack)
    return Status(Code::Plan, "expression needs a stack of " + std::to_string(*depth) +
                                  ", expected at most " + std::to_string(kMaxStack));
  if (!integer)
    return make<FloatWork>(op, std::move(regions), *depth, context);
  for (const plan::ExprTerm &term : op.expr)
    if (!isIntegerOp(term.op))
      return Status(Code::Plan,
                    "operator " + std::to_string(int(term.op)) + " is not defined on integers");
  return make<IntegerWork>(op, std::move(regions), *depth, context);
}

} // namespace tenon::runtime::cpu
