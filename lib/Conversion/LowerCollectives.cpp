// SPDX-License-Identifier: Apache-2.0
// LowerCollectives: the sharding library says what a rank does for a step (pads, transposes, one
// flat collective, cuts); here each becomes a region or an instruction. Pads and the packing before
// a collective copy, cuts and pieces do not.

#include "LowerFunction.h"

#include "tenon/Sharding/LocalActions.h"
#include "tenon/runtime/plan/Access.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using plan::Operand;
using sharding::LocalAction;
using sharding::Sharding;
using sharding::Step;
using sharding::StepKind;

static StepKind stepKindOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, StepKind>(op)
      .Case<tp::AllReduceOp>([](auto) { return StepKind::AllReduce; })
      .Case<tp::AllGatherOp>([](auto) { return StepKind::AllGather; })
      .Case<tp::ReduceScatterOp>([](auto) { return StepKind::ReduceScatter; })
      .Case<tp::AllToAllOp>([](auto) { return StepKind::AllToAll; })
      .Case<tp::LocalSliceOp>([](auto) { return StepKind::Slice; });
}

static plan::CollectiveKind collectiveKindOf(StepKind kind) {
  switch (kind) {
  case StepKind::AllGather:
    return plan::CollectiveKind::AllGather;
  case StepKind::AllToAll:
    return plan::CollectiveKind::AllToAll;
  case StepKind::ReduceScatter:
    return plan::CollectiveKind::ReduceScatter;
  case StepKind::AllReduce:
  case StepKind::Slice:
    return plan::CollectiveKind::AllReduce;
  }
  llvm_unreachable("all kinds of steps are listed");
}

/// The step between two shardings; the op's verifier has made sure that there is one. Gathered is
/// the dimension that loses axes, in a step that only gathers.
static Step stepOf(StepKind kind, const sharding::AxisList &axes, const Sharding &from,
                   const Sharding &to) {
  Step step{kind, axes, -1, -1, to};
  for (size_t d = 0; d < from.dims.size(); ++d) {
    if (to.dims[d].size() > from.dims[d].size())
      step.dim = d;
    else if (to.dims[d].size() < from.dims[d].size())
      (kind == StepKind::AllGather ? step.dim : step.fromDim) = d;
  }
  return step;
}

/// A contiguous region as one dimension.
static Operand flat(const Operand &x) { return {x.buffer, x.offset, {plan::elements(x)}, {1}}; }

FunctionLowering::Result FunctionLowering::lowerCollective(Operation *op) {
  auto axesAttr = op->getAttrOfType<ArrayAttr>("axes");
  auto fromAttr = op->getAttrOfType<tp::ShardingAttr>("from"),
       toAttr = op->getAttrOfType<tp::ShardingAttr>("to");
  auto shapeAttr = op->getAttrOfType<DenseI64ArrayAttr>("shape");
  auto cause = op->getAttrOfType<StringAttr>("cause");
  std::vector<int64_t> shape = shapeAttr.asArrayRef().vec();
  auto error = [&] { return op->emitOpError(); };
  FailureOr<sharding::AxisList> list = tp::toAxes(axesAttr, mesh, error);
  FailureOr<Sharding> from = tp::toSharding(fromAttr, shape.size(), mesh, error),
                      to = tp::toSharding(toAttr, shape.size(), mesh, error);
  Result input = region(op->getOperand(0));
  if (failed(list) || failed(from) || failed(to) || failed(input))
    return failure();
  if (input->sizes != sharding::localShape(shape, *from, mesh))
    return error() << "expected one rank's block of " << fromAttr << "; localise first", failure();

  Step step = stepOf(stepKindOf(op), *list, *from, *to);
  Operand x = *input;
  for (const LocalAction &action : sharding::expand(step, *from, shape, mesh)) {
    switch (action.kind) {
    case LocalAction::Kind::Pad:
      x = build.pad(x, action.dim, action.size);
      break;
    case LocalAction::Kind::Cut:
      x.sizes[action.dim] = action.size;
      break;
    case LocalAction::Kind::Select:
      x = build.piece(x, action.dim, mesh.size(action.axes), axes(action.axes));
      break;
    case LocalAction::Kind::Reshape:
      x = build.reshape(x, action.shape);
      break;
    case LocalAction::Kind::Transpose:
      x = EntryBuilder::transpose(x, {action.permutation.begin(), action.permutation.end()});
      break;
    case LocalAction::Kind::Collective: {
      Operand dense = build.contiguous(x), out = build.newBuffer(build.type(x), action.shape);
      plan::Collective body;
      body.kind = collectiveKindOf(step.kind);
      body.reduce = static_cast<plan::ReduceKind>(from->reduction);
      body.x = flat(dense);
      body.out = flat(out);
      body.axes = axes(action.axes);
      body.cause = cause ? cause.str() : "";
      build.add(body);
      x = out;
      break;
    }
    }
  }
  return x;
}
