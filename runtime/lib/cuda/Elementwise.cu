// SPDX-License-Identifier: Apache-2.0
// Elementwise: one pass over memory per expression. The usual expressions are compiled in; others
// are compiled when they are prepared; where that cannot be, and for integers, a kernel interprets
// the program. All three run the loops of ElementwiseKernel.h.
#include "Compiled.h"
#include "Expression.h"
#include "Rows.h"

#include <cstring>
#include <utility>

namespace tenon::runtime::cuda {
namespace {

constexpr int kThreads = 256;
/// With more inputs, eight elements of each would not fit into a thread's registers.
constexpr int kMostPackedInputs = 8;
constexpr int kMostInputs = int(plan::limits::exprInputs);
constexpr int kMostTerms = int(plan::limits::exprTerms);

//===--------------------------------------------------------------------------------------------===//
// Compiled in.

struct Identity {
  float constant;
  __device__ float operator()(const float (&x)[1]) const { return x[0]; }
};
template <ExprCode kCode> struct Unary {
  float constant;
  __device__ float operator()(const float (&x)[1]) const { return unary(kCode, x[0]); }
};
template <ExprCode kCode> struct Binary {
  float constant;
  __device__ float operator()(const float (&x)[2]) const { return binary(kCode, x[0], x[1]); }
};
template <ExprCode kCode> struct WithConstant {
  float constant;
  __device__ float operator()(const float (&x)[1]) const { return binary(kCode, x[0], constant); }
};
/// A gated unit: act(x0) * x1.
template <ExprCode kCode> struct Gate {
  float constant;
  __device__ float operator()(const float (&x)[2]) const { return unary(kCode, x[0]) * x[1]; }
};
struct AddThree {
  float constant;
  __device__ float operator()(const float (&x)[3]) const { return x[0] + x[1] + x[2]; }
};

template <int N, typename F> __global__ void packsOf(ElementwiseTask<N> task, F f) {
  elementwisePacks(task, f);
}
template <int N, typename F> __global__ void scalarsOf(ElementwiseTask<N> task, F f) {
  elementwiseScalars(task, f);
}

/// How an expression is launched, and over how many inputs.
using Start = cudaError_t (*)(const void *task, float constant, bool packs, dim3 grid,
                              cudaStream_t stream);
struct Precompiled {
  const char *shape;
  int inputs; ///< An op may have more, which its expression does not read.
  Start start;
};

template <int N, typename F>
cudaError_t start(const void *task, float constant, bool packs, dim3 grid, cudaStream_t stream) {
  return launch(packs ? packsOf<N, F> : scalarsOf<N, F>, grid, dim3(unsigned(kThreads)), 0, stream,
                *static_cast<const ElementwiseTask<N> *>(task), F{constant});
}

constexpr Precompiled kPrecompiled[] = {
    {"$0", 1, start<1, Identity>},
    {"Neg($0)", 1, start<1, Unary<ExprCode::Neg>>},
    {"Relu($0)", 1, start<1, Unary<ExprCode::Relu>>},
    {"Tanh($0)", 1, start<1, Unary<ExprCode::Tanh>>},
    {"Sigmoid($0)", 1, start<1, Unary<ExprCode::Sigmoid>>},
    {"Silu($0)", 1, start<1, Unary<ExprCode::Silu>>},
    {"Gelu($0)", 1, start<1, Unary<ExprCode::Gelu>>},
    {"GeluTanh($0)", 1, start<1, Unary<ExprCode::GeluTanh>>},
    {"Add($0,#)", 1, start<1, WithConstant<ExprCode::Add>>},
    {"Mul($0,#)", 1, start<1, WithConstant<ExprCode::Mul>>},
    {"Add($0,$1)", 2, start<2, Binary<ExprCode::Add>>},
    {"Sub($0,$1)", 2, start<2, Binary<ExprCode::Sub>>},
    {"Mul($0,$1)", 2, start<2, Binary<ExprCode::Mul>>},
    {"Div($0,$1)", 2, start<2, Binary<ExprCode::Div>>},
    {"Mul(Silu($0),$1)", 2, start<2, Gate<ExprCode::Silu>>},
    {"Mul(Gelu($0),$1)", 2, start<2, Gate<ExprCode::Gelu>>},
    {"Mul(GeluTanh($0),$1)", 2, start<2, Gate<ExprCode::GeluTanh>>},
    {"Add(Add($0,$1),$2)", 3, start<3, AddThree>},
};

//===--------------------------------------------------------------------------------------------===//
// Interpreted.

struct Program {
  int terms = 0;
  unsigned char codes[kMostTerms] = {};
  unsigned char inputs[kMostTerms] = {};
  double constants[kMostTerms] = {};
};

__global__ void interpretFloats(ElementwiseTask<kMostInputs> task, Program program) {
  const long long units = task.rows * task.columns;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    const long long row = quotient(unit, task.columns), column = unit - row * task.columns;
    long long at[kMostInputs + 1];
    rowBegins(task, row, at);
    float stack[kMostTerms];
    int top = 0;
    for (int i = 0; i < program.terms; ++i) {
      const ExprCode code = static_cast<ExprCode>(program.codes[i]);
      const int j = program.inputs[i];
      if (code == ExprCode::Input) {
        stack[top++] = loadFloat(task.types[j], task.data[j], at[j] + column * task.steps[j]);
      } else if (code == ExprCode::Constant) {
        stack[top++] = float(program.constants[i]);
      } else if (code < ExprCode::Add) {
        stack[top - 1] = unary(code, stack[top - 1]);
      } else if (code < ExprCode::Select) {
        --top;
        stack[top - 1] = binary(code, stack[top - 1], stack[top]);
      } else {
        top -= 2;
        stack[top - 1] = stack[top - 1] != 0 ? stack[top] : stack[top + 1];
      }
    }
    storeFloat(task.types[kMostInputs], task.data[kMostInputs],
               at[kMostInputs] + column * task.steps[kMostInputs], stack[0]);
  }
}

// Unsigned arithmetic: the smallest number wraps instead of being undefined.
__device__ inline long long integerBinary(ExprCode code, long long a, long long b) {
  using Bits = unsigned long long;
  switch (code) {
  case ExprCode::Add:
    return static_cast<long long>(static_cast<Bits>(a) + static_cast<Bits>(b));
  case ExprCode::Sub:
    return static_cast<long long>(static_cast<Bits>(a) - static_cast<Bits>(b));
  case ExprCode::Mul:
    return static_cast<long long>(static_cast<Bits>(a) * static_cast<Bits>(b));
  case ExprCode::Max:
    return a > b ? a : b;
  case ExprCode::Min:
    return a < b ? a : b;
  case ExprCode::Eq:
    return a == b;
  case ExprCode::Ne:
    return a != b;
  case ExprCode::Lt:
    return a < b;
  case ExprCode::Le:
    return a <= b;
  case ExprCode::Gt:
    return a > b;
  default:
    return a >= b;
  }
}

__global__ void interpretIntegers(ElementwiseTask<kMostInputs> task, Program program) {
  const long long units = task.rows * task.columns;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long unit = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
       unit += step) {
    const long long row = quotient(unit, task.columns), column = unit - row * task.columns;
    long long at[kMostInputs + 1];
    rowBegins(task, row, at);
    long long stack[kMostTerms];
    int top = 0;
    for (int i = 0; i < program.terms; ++i) {
      const ExprCode code = static_cast<ExprCode>(program.codes[i]);
      const int j = program.inputs[i];
      if (code == ExprCode::Input) {
        stack[top++] = loadInteger(task.types[j], task.data[j], at[j] + column * task.steps[j]);
      } else if (code == ExprCode::Constant) {
        stack[top++] = static_cast<long long>(program.constants[i]);
      } else if (code < ExprCode::Add) {
        const long long a = stack[top - 1];
        if (code == ExprCode::Neg || a < 0)
          stack[top - 1] = static_cast<long long>(0 - static_cast<unsigned long long>(a));
      } else if (code < ExprCode::Select) {
        --top;
        stack[top - 1] = integerBinary(code, stack[top - 1], stack[top]);
      } else {
        top -= 2;
        stack[top - 1] = stack[top - 1] ? stack[top] : stack[top + 1];
      }
    }
    storeInteger(task.types[kMostInputs], task.data[kMostInputs],
                 at[kMostInputs] + column * task.steps[kMostInputs], stack[0]);
  }
}

//===--------------------------------------------------------------------------------------------===//

/// The first N inputs of a task, and its output.
template <int N> ElementwiseTask<N> narrowed(const ElementwiseTask<kMostInputs> &whole) {
  ElementwiseTask<N> task = {};
  task.rows = whole.rows;
  task.columns = whole.columns;
  task.depth = whole.depth;
  for (int d = 0; d < whole.depth; ++d)
    task.sizes[d] = whole.sizes[d];
  for (int j = 0; j <= N; ++j) {
    const int from = j == N ? kMostInputs : j;
    task.data[j] = whole.data[from];
    task.types[j] = whole.types[from];
    task.steps[j] = whole.steps[from];
    for (int d = 0; d < whole.depth; ++d)
      task.strides[j][d] = whole.strides[from][d];
  }
  return task;
}

class ElementwiseWork : public Work {
public:
  ElementwiseWork(const plan::Elementwise &op, const std::vector<Region> &regions, bool integer,
                  Context &context)
      : context_(context), inputs_(int(op.inputs.size())), integer_(integer) {
    std::vector<const Region *> pointers;
    for (const Region &region : regions)
      pointers.push_back(&region);
    LoopNest rows = nestOf(pointers, 0, regions[0].rank());
    rows.sortBy(0);
    rows.collapse();
    LoopNest inner = rows.popInner();
    task_.rows = rows.iterations();
    task_.columns = regions[0].empty() ? 0 : inner.sizes[0];
    task_.depth = int(rows.depth());
    packs_ = task_.columns % 8 == 0;
    for (int j = 0; j <= inputs_; ++j) {
      // Regions begin with the output, operands end with it.
      const int operand = j == 0 ? kMostInputs : j - 1;
      const Region &region = regions[size_t(j)];
      task_.data[operand] = region.data;
      task_.types[operand] = typeOf(region);
      task_.steps[operand] = inner.strides[0][size_t(j)];
      for (int d = 0; d < task_.depth; ++d) {
        task_.sizes[d] = rows.sizes[size_t(d)];
        task_.strides[operand][d] = rows.strides[size_t(d)][size_t(j)];
      }
      const bool stands = j > 0 && task_.steps[operand] == 0;
      const bool runs =
          task_.steps[operand] == 1 && plan::isFloat(region.type) && rowsAligned(region, rows, j);
      packs_ = packs_ && (stands || runs);
    }
    for (const plan::ExprTerm &term : op.expr) {
      const int i = program_.terms++;
      program_.codes[i] = static_cast<unsigned char>(term.op);
      program_.inputs[i] = static_cast<unsigned char>(term.input);
      program_.constants[i] = term.value;
    }
  }

  void choose(const plan::Elementwise &op) {
    if (integer_ || task_.columns == 0)
      return;
    const std::string shape = shapeOfExpression(op.expr);
    for (const Precompiled &candidate : kPrecompiled)
      if (shape == candidate.shape && inputs_ == candidate.inputs && narrow()) {
        start_ = candidate.start;
        for (const plan::ExprTerm &term : op.expr)
          if (term.op == plan::ExprOp::Constant)
            constant_ = float(term.value);
        return;
      }
    compile(op);
  }

  void enqueue(cudaStream_t stream) override {
    const int64_t units = task_.rows * (task_.columns / (packs_ ? 8 : 1));
    const int64_t elements = task_.rows * task_.columns;
    if (elements == 0)
      return;
    const dim3 grid = gridFor(units, kThreads), block{unsigned(kThreads)};
    if (start_)
      context_.note(start_(bytes_.data(), constant_, packs_, grid, stream), "elementwise");
    else if (compiled_)
      context_.note(compiled_->launch(grid, block, bytes_.data(), stream), "elementwise");
    else if (integer_)
      context_.note(
          launch(interpretIntegers, gridFor(elements, kThreads), block, 0, stream, task_, program_),
          "elementwise");
    else
      context_.note(
          launch(interpretFloats, gridFor(elements, kThreads), block, 0, stream, task_, program_),
          "elementwise");
  }

private:
  // Keeps the task of as many inputs as there are; false where there are none.
  bool narrow() {
    return [this]<int... kLess>(std::integer_sequence<int, kLess...>) {
      return ((inputs_ == kLess + 1 && (keep(narrowed<kLess + 1>(task_)), true)) || ...);
    }(std::make_integer_sequence<int, kMostInputs>());
  }

  template <int N> void keep(const ElementwiseTask<N> &task) {
    bytes_.resize(sizeof(task));
    std::memcpy(bytes_.data(), &task, sizeof(task));
  }

  // Leaves compiled_ null where the program is to be interpreted: a GPU that is newer than NVRTC is
  // no reason to refuse a plan.
  void compile(const plan::Elementwise &op) {
    if (!narrow())
      return;
    packs_ = packs_ && inputs_ <= kMostPackedInputs;
    if (!context_.compiled)
      context_.compiled = makeCompiledKernels();
    const std::string n = std::to_string(inputs_);
    const std::string source = "#include \"ElementwiseKernel.h\"\n"
                               "using namespace tenon::runtime::cuda;\n"
                               "struct Expression {\n"
                               "  __device__ float operator()(const float (&x)[" +
                               n + "]) const { return " + textOfExpression(op.expr) +
                               "; }\n"
                               "};\n"
                               "extern \"C\" __global__ void tenonKernel(ElementwiseTask<" +
                               n +
                               "> task) {\n"
                               "  " +
                               (packs_ ? "elementwisePacks" : "elementwiseScalars") +
                               "(task, Expression());\n"
                               "}\n";
    Expected<const CompiledKernel *> kernel = context_.compiled->get(source, context_);
    if (kernel)
      compiled_ = *kernel;
    packs_ = packs_ && compiled_;
  }

  Context &context_;
  int inputs_;
  bool integer_, packs_ = false;
  ElementwiseTask<kMostInputs> task_ = {};
  Program program_;
  std::vector<std::byte> bytes_; ///< The task of inputs_ inputs.
  Start start_ = nullptr;
  float constant_ = 0;
  const CompiledKernel *compiled_ = nullptr;
};

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
  bind.require(int(op.inputs.size()) <= kMostInputs,
               "expected at most " + std::to_string(kMostInputs) + " inputs");
  if (!bind.status().ok())
    return bind.status();
  if (Status status = checkExpression(op, integer); !status)
    return status;
  auto work = std::make_unique<ElementwiseWork>(op, regions, integer, context);
  work->choose(op);
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cuda
