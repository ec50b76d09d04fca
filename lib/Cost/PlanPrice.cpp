// SPDX-License-Identifier: Apache-2.0
#include "tenon/Cost/PlanPrice.h"

#include "tenon/runtime/plan/Access.h"

#include <algorithm>

namespace tenon::cost {

using plan::Operand;
using sharding::StepKind;

namespace {

double count(const Operand &operand) {
  double elements = 1;
  for (int64_t size : operand.sizes)
    elements *= static_cast<double>(size);
  return elements;
}

/// Elements that stand in memory: those that a stride of 0 repeats count once.
double distinct(const Operand &operand) {
  double elements = 1;
  for (size_t d = 0; d < operand.sizes.size(); ++d)
    if (operand.strides[d] != 0)
      elements *= static_cast<double>(operand.sizes[d]);
  return elements;
}

MatMulShape shapeOf(const plan::MatMul &matmul) {
  MatMulShape shape;
  for (size_t d = 0; d < matmul.aDims.size(); ++d) {
    const bool other = matmul.bDims.find(matmul.aDims[d]) != std::string::npos;
    const bool kept = matmul.cDims.find(matmul.aDims[d]) != std::string::npos;
    (other ? (kept ? shape.batch : shape.k) : shape.m) *= static_cast<double>(matmul.a.sizes[d]);
  }
  for (size_t d = 0; d < matmul.bDims.size(); ++d)
    if (matmul.aDims.find(matmul.bDims[d]) == std::string::npos)
      shape.n *= static_cast<double>(matmul.b.sizes[d]);
  return shape;
}

AttentionShape shapeOf(const plan::Attention &attention) {
  AttentionShape shape;
  const std::vector<int64_t> &q = attention.q.sizes;
  shape.heads = static_cast<double>(q[0] * q[2] * q[3]);
  shape.queries = static_cast<double>(q[1]);
  shape.keys = static_cast<double>(attention.k.sizes[1]);
  shape.depth = static_cast<double>(q[4] + attention.v.sizes[3]) / 2;
  shape.causal = attention.causal && q[1] == attention.k.sizes[1];
  shape.masked = !attention.mask.empty();
  return shape;
}

/// True when the last dimension longer than 1 is dense: rows can be moved as they are.
bool movesRows(const Operand &operand) {
  for (size_t d = operand.sizes.size(); d-- > 0;)
    if (operand.sizes[d] > 1)
      return operand.strides[d] == 1;
  return true;
}

/// Elements that lie one after the other, from the last dimension on.
double denseRun(const Operand &operand) {
  double run = 1;
  for (size_t d = operand.sizes.size(); d-- > 0;) {
    if (operand.sizes[d] > 1 && static_cast<double>(operand.strides[d]) != run)
      break;
    run *= static_cast<double>(operand.sizes[d]);
  }
  return run;
}

StepKind kindOf(plan::CollectiveKind kind) {
  switch (kind) {
  case plan::CollectiveKind::AllGather:
    return StepKind::AllGather;
  case plan::CollectiveKind::ReduceScatter:
    return StepKind::ReduceScatter;
  case plan::CollectiveKind::AllToAll:
    return StepKind::AllToAll;
  case plan::CollectiveKind::AllReduce:
  case plan::CollectiveKind::Broadcast:
    break;
  }
  return StepKind::AllReduce;
}

/// Prices one instruction; visited with its body.
struct Pricer {
  const plan::Op &op;
  const plan::Entry &entry;
  const sharding::Mesh &mesh;
  const CostModel &model;

  plan::DataType typeOf(const Operand &operand) const {
    return entry.buffers[static_cast<size_t>(operand.buffer)].type;
  }

  /// Bytes of all operands, those of weights apart; a lookup's table counts as many rows as are
  /// asked for.
  struct Traffic {
    double values = 0, weights = 0;
  };
  Traffic traffic() const {
    Traffic sum;
    const auto *gather = std::get_if<plan::GatherRows>(&op.body);
    const auto *take = std::get_if<plan::Take>(&op.body);
    for (const plan::Access &access : plan::accesses(op)) {
      const Operand &operand = *access.operand;
      double elements = distinct(operand);
      if (gather && &operand == &gather->table)
        elements = std::min(elements, count(gather->out));
      if (take && &operand == &take->x)
        elements = std::min(elements, count(take->out));
      const plan::Buffer &buffer = entry.buffers[static_cast<size_t>(operand.buffer)];
      (buffer.kind == plan::Buffer::Kind::Weight ? sum.weights : sum.values) +=
          elements * static_cast<double>(plan::byteWidth(buffer.type));
    }
    return sum;
  }
  double bytes() const { return traffic().values + traffic().weights; }

  double rows(double seconds) const {
    const Traffic bytes = traffic();
    return model.rowSeconds(bytes.values, seconds, bytes.weights);
  }
  double rows(const Operand &x, const char *function) const {
    return rows(count(x) * model.functionSeconds(function));
  }

  double operator()(const plan::MatMul &matmul) const {
    double seconds = model.matmulSeconds(shapeOf(matmul), bytes(), typeOf(matmul.a));
    if (matmul.activation != plan::Activation::None)
      seconds += count(matmul.c) * model.functionSeconds(functionName(matmul.activation));
    return seconds;
  }
  double operator()(const plan::Attention &attention) const {
    return model.attentionSeconds(shapeOf(attention), bytes(), typeOf(attention.q));
  }
  double operator()(const plan::Norm &norm) const {
    const bool layer = norm.kind == plan::Norm::Kind::Layer;
    if (norm.residual.empty())
      return rows(norm.x, layer ? "layer_norm" : "rms_norm");
    return rows(norm.x, layer ? "layer_norm_residual" : "rms_norm_residual");
  }
  double operator()(const plan::Rope &rope) const { return rows(rope.x, "rope"); }
  double operator()(const plan::Softmax &softmax) const { return rows(softmax.x, "softmax"); }
  double operator()(const plan::Reduce &reduce) const { return rows(reduce.x, "reduce"); }
  double operator()(const plan::GatherRows &gather) const { return rows(gather.out, ""); }
  double operator()(const plan::Take &take) const { return rows(take.out, ""); }
  double operator()(const plan::Fill &fill) const { return rows(fill.out, ""); }
  double operator()(const plan::Copy &copy) const {
    if (!movesRows(copy.x) || !movesRows(copy.out))
      return rows(copy.out, "transpose");
    const double run = std::min(denseRun(copy.x), denseRun(copy.out));
    return rows(count(copy.out) / run * model.functionSeconds("copy_run"));
  }
  double operator()(const plan::Elementwise &elementwise) const {
    double perElement = 0;
    for (const plan::ExprTerm &term : elementwise.expr)
      perElement += model.functionSeconds(functionName(term.op));
    return rows(count(elementwise.out) * perElement);
  }
  double operator()(const plan::Collective &collective) const {
    const sharding::AxisList axes(collective.axes.begin(), collective.axes.end());
    const double tensor =
        count(collective.x) * static_cast<double>(plan::byteWidth(typeOf(collective.x))) *
        (collective.kind == plan::CollectiveKind::AllGather ? static_cast<double>(mesh.size(axes))
                                                            : 1);
    return model.machine().launch +
           model.collectiveSeconds(kindOf(collective.kind), tensor, axes, mesh);
  }
  double operator()(const plan::Record &) const { return 0; }
  double operator()(const plan::Wait &) const { return 0; }
};

} // namespace

double instructionSeconds(const plan::Op &op, const plan::Entry &entry, const sharding::Mesh &mesh,
                          const CostModel &model) {
  return std::visit(Pricer{op, entry, mesh, model}, op.body);
}

const char *functionName(plan::ExprOp op) {
  static constexpr const char *kNames[] = {
      "",          "",     "neg",  "exp",   "log", "tanh", "sigmoid", "relu", "gelu",
      "gelu_tanh", "silu", "sqrt", "rsqrt", "sin", "cos",  "abs",     "erf",  "not",
      "add",       "sub",  "mul",  "div",   "pow", "max",  "min",     "eq",   "ne",
      "lt",        "le",   "gt",   "ge",    "and", "or",   "select"};
  return kNames[static_cast<size_t>(op)];
}

const char *functionName(plan::Activation activation) {
  static constexpr const char *kNames[] = {"", "gelu", "gelu_tanh", "silu", "relu", "tanh"};
  return kNames[static_cast<size_t>(activation)];
}

} // namespace tenon::cost
