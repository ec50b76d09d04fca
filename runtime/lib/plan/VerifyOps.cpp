// SPDX-License-Identifier: Apache-2.0
// Ops one by one: ranks, sizes, element types, labels, expressions, groups. The rules are those
// stated at the structs in Plan.h.
#include "Checked.h"
#include "VerifyParts.h"
#include "tenon/runtime/plan/Access.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace tenon::plan {
namespace {

bool isInteger(DataType type) { return type == DataType::I32 || type == DataType::I64; }

std::string number(int64_t i) { return std::to_string(i); }

struct Checker {
  const Plan &plan;
  const Entry &entry;

  DataType type(const Operand &operand) const { return entry.buffers[operand.buffer].type; }

  Complaint sameSizes(const char *role, const Operand &operand,
                      const std::vector<int64_t> &expected) const {
    if (operand.sizes == expected)
      return "";
    return std::string(role) + " has sizes " + text(operand.sizes) + ", expected " + text(expected);
  }
  Complaint allSameSizes(const char *role, const std::vector<Operand> &operands,
                         const std::vector<int64_t> &expected) const {
    for (const Operand &operand : operands)
      if (Complaint c = sameSizes(role, operand, expected); !c.empty())
        return c;
    return "";
  }
  Complaint hasType(const char *role, const Operand &operand, DataType expected) const {
    if (type(operand) == expected)
      return "";
    return std::string(role) + " is " + name(type(operand)) + ", expected " + name(expected);
  }
  Complaint floating(const char *role, const Operand &operand) const {
    if (isFloat(type(operand)))
      return "";
    return std::string(role) + " is " + name(type(operand)) + ", expected a float type";
  }
  Complaint integer(const char *role, const Operand &operand) const {
    if (isInteger(type(operand)))
      return "";
    return std::string(role) + " is " + name(type(operand)) + ", expected i32 or i64";
  }
  Complaint hasRank(const char *role, const Operand &operand, size_t expected) const {
    if (operand.sizes.size() == expected)
      return "";
    return std::string(role) + " has " + number(operand.sizes.size()) + " dimensions, expected " +
           number(expected);
  }
  Complaint atMostOne(const char *role, const std::vector<Operand> &operands) const {
    if (operands.size() <= 1)
      return "";
    return std::string(role) + " is given " + number(operands.size()) +
           " times, expected at most 1";
  }
  Complaint dimension(int32_t dim, const Operand &operand) const {
    if (dim >= 0 && size_t(dim) < operand.sizes.size())
      return "";
    return "dimension " + number(dim) + " of an operand with " + number(operand.sizes.size());
  }

  /// Returns the first complaint that is not empty.
  static Complaint first(std::initializer_list<Complaint> complaints) {
    for (const Complaint &c : complaints)
      if (!c.empty())
        return c;
    return "";
  }

  Complaint operand(const Operand &operand, bool write) const {
    if (operand.buffer < 0 || size_t(operand.buffer) >= entry.buffers.size())
      return "names buffer " + number(operand.buffer) + " of " + number(entry.buffers.size());
    if (operand.sizes.size() != operand.strides.size())
      return "has " + number(operand.sizes.size()) + " sizes and " +
             number(operand.strides.size()) + " strides";
    if (operand.sizes.size() > limits::dimensions)
      return "has " + number(operand.sizes.size()) + " dimensions, expected at most " +
             number(limits::dimensions);
    if (!checked::product(operand.sizes) || !checked::reach(operand.sizes, operand.strides))
      return "has a size or stride that is negative or too large: sizes " + text(operand.sizes) +
             ", strides " + text(operand.strides);
    if (Complaint c = checkRankValue(plan, operand.offset); !c.empty())
      return "offset: " + c;
    if (!write)
      return "";
    if (entry.buffers[operand.buffer].kind == Buffer::Kind::Weight)
      return "writes a weight (buffer " + number(operand.buffer) + ")";
    if (!hasDistinctElements(operand.sizes, operand.strides))
      return "writes an element twice: sizes " + text(operand.sizes) + ", strides " +
             text(operand.strides);
    return "";
  }

  Complaint check(const MatMul &op) const;
  Complaint check(const Attention &op) const;
  Complaint check(const GatherRows &op) const;
  Complaint check(const Take &op) const;
  Complaint check(const Norm &op) const;
  Complaint check(const Rope &op) const;
  Complaint check(const Elementwise &op) const;
  Complaint check(const Reduce &op) const;
  Complaint check(const Softmax &op) const;
  Complaint check(const Copy &op) const;
  Complaint check(const Fill &op) const;
  Complaint check(const Collective &op) const;
  Complaint check(const Record &) const { return ""; }
  Complaint check(const Wait &) const { return ""; }
};

/// Indices of the labels 'a'..'z', 'A'..'Z' in a label string, -1 where absent.
Complaint indexLabels(const char *role, const std::string &labels, const Operand &operand,
                      std::array<int, 128> &index) {
  index.fill(-1);
  if (labels.size() != operand.sizes.size())
    return std::string(role) + " has labels '" + labels + "' for " + number(operand.sizes.size()) +
           " dimensions";
  for (size_t i = 0; i < labels.size(); ++i) {
    unsigned char label = labels[i];
    bool isLetter = (label >= 'a' && label <= 'z') || (label >= 'A' && label <= 'Z');
    if (!isLetter)
      return std::string(role) + " has a label that is no letter";
    if (index[label] >= 0)
      return std::string(role) + " has label '" + char(label) + "' twice";
    index[label] = int(i);
  }
  return "";
}

Complaint Checker::check(const MatMul &op) const {
  std::array<int, 128> a, b, c;
  if (Complaint e = first({indexLabels("a", op.aDims, op.a, a), indexLabels("b", op.bDims, op.b, b),
                           indexLabels("c", op.cDims, op.c, c)});
      !e.empty())
    return e;
  for (int label = 0; label < 128; ++label) {
    int uses = (a[label] >= 0) + (b[label] >= 0) + (c[label] >= 0);
    if (uses == 0)
      continue;
    std::string quoted = std::string("label '") + char(label) + "' ";
    if (uses == 1)
      return quoted + "stands in one operand only, expected two or three of a, b, c";
    int64_t size = -1;
    for (auto [index, operand] :
         {std::pair(a[label], &op.a), {b[label], &op.b}, {c[label], &op.c}}) {
      if (index < 0)
        continue;
      if (size >= 0 && operand->sizes[index] != size)
        return quoted + "has sizes " + number(size) + " and " + number(operand->sizes[index]);
      size = operand->sizes[index];
    }
  }
  if (Complaint e = first({floating("a", op.a), hasType("b", op.b, type(op.a)), floating("c", op.c),
                           atMostOne("bias", op.bias), atMostOne("residual", op.residual),
                           allSameSizes("bias", op.bias, op.c.sizes),
                           allSameSizes("residual", op.residual, op.c.sizes)});
      !e.empty())
    return e;
  for (const Operand &bias : op.bias)
    if (Complaint e = floating("bias", bias); !e.empty())
      return e;
  for (const Operand &residual : op.residual)
    if (Complaint e = floating("residual", residual); !e.empty())
      return e;
  return "";
}

Complaint Checker::check(const Attention &op) const {
  if (Complaint e = first({hasRank("q", op.q, 5), hasRank("k", op.k, 4), hasRank("v", op.v, 4),
                           hasRank("out", op.out, 5)});
      !e.empty())
    return e;
  int64_t b = op.q.sizes[0], s = op.q.sizes[1], g = op.q.sizes[2], r = op.q.sizes[3],
          d = op.q.sizes[4], t = op.k.sizes[1], width = op.v.sizes[3];
  if (Complaint e =
          first({sameSizes("k", op.k, {b, t, g, d}), sameSizes("v", op.v, {b, t, g, width}),
                 sameSizes("out", op.out, {b, s, g, r, width}), floating("q", op.q),
                 hasType("k", op.k, type(op.q)), hasType("v", op.v, type(op.q)),
                 floating("out", op.out), atMostOne("mask", op.mask), atMostOne("bias", op.bias),
                 allSameSizes("mask", op.mask, {b, s, t}),
                 allSameSizes("bias", op.bias, {b, g, r, s, t})});
      !e.empty())
    return e;
  for (const Operand &mask : op.mask)
    if (Complaint e = hasType("mask", mask, DataType::I1); !e.empty())
      return e;
  for (const Operand &bias : op.bias)
    if (Complaint e = hasType("bias", bias, DataType::F32); !e.empty())
      return e;
  if (!std::isfinite(op.scale))
    return "scale is not a finite number";
  return "";
}

Complaint Checker::check(const GatherRows &op) const {
  if (op.table.sizes.empty())
    return "table has no dimension of rows";
  std::vector<int64_t> expected = op.ids.sizes;
  expected.insert(expected.end(), op.table.sizes.begin() + 1, op.table.sizes.end());
  return first({integer("ids", op.ids), sameSizes("out", op.out, expected),
                hasType("out", op.out, type(op.table))});
}

Complaint Checker::check(const Take &op) const {
  if (Complaint e = dimension(op.dim, op.x); !e.empty())
    return e;
  std::vector<int64_t> expected = op.x.sizes;
  expected[op.dim] = 1;
  if (op.index < 0 || op.index > limits::elements)
    return "takes index " + number(op.index) + ", expected 0 or more";
  return first({sameSizes("out", op.out, expected), hasType("out", op.out, type(op.x))});
}

Complaint Checker::check(const Norm &op) const {
  if (Complaint e = first({floating("x", op.x), floating("out", op.out),
                           sameSizes("out", op.out, op.x.sizes), atMostOne("scale", op.scale),
                           atMostOne("bias", op.bias), atMostOne("residual", op.residual),
                           atMostOne("sum", op.sum), allSameSizes("scale", op.scale, op.x.sizes),
                           allSameSizes("bias", op.bias, op.x.sizes),
                           allSameSizes("residual", op.residual, op.x.sizes),
                           allSameSizes("sum", op.sum, op.x.sizes)});
      !e.empty())
    return e;
  for (const auto &[role, list] : {std::pair("scale", &op.scale),
                                   {"bias", &op.bias},
                                   {"residual", &op.residual},
                                   {"sum", &op.sum}})
    for (const Operand &operand : *list)
      if (Complaint e = floating(role, operand); !e.empty())
        return e;
  if (!op.sum.empty() && op.residual.empty())
    return "writes a sum without a residual";
  if (op.dims < 1 || size_t(op.dims) > op.x.sizes.size())
    return "normalises " + number(op.dims) + " of " + number(op.x.sizes.size()) + " dimensions";
  if (!std::isfinite(op.eps) || op.eps < 0)
    return "eps is not a finite number of at least 0";
  return "";
}

Complaint Checker::check(const Rope &op) const {
  if (op.x.sizes.size() < 3)
    return "x has " + number(op.x.sizes.size()) + " dimensions, expected at least 3";
  if (Complaint e =
          first({floating("x", op.x), floating("out", op.out), sameSizes("out", op.out, op.x.sizes),
                 integer("positions", op.positions),
                 sameSizes("positions", op.positions, {op.x.sizes[0], op.x.sizes[1]}),
                 hasType("cos", op.cos, DataType::F32), hasType("sin", op.sin, DataType::F32),
                 hasRank("cos", op.cos, 2), sameSizes("sin", op.sin, op.cos.sizes)});
      !e.empty())
    return e;
  if (op.cos.sizes[1] > op.x.sizes.back() / 2)
    return "rotates " + number(op.cos.sizes[1]) + " pairs of " + number(op.x.sizes.back()) +
           " elements";
  return "";
}

int operatorArity(ExprOp op) {
  if (op == ExprOp::Input || op == ExprOp::Constant)
    return 0;
  if (op < ExprOp::Add)
    return 1;
  return op == ExprOp::Select ? 3 : 2;
}

bool worksOnIntegers(ExprOp op) {
  switch (op) {
  case ExprOp::Input:
  case ExprOp::Constant:
  case ExprOp::Add:
  case ExprOp::Sub:
  case ExprOp::Mul:
  case ExprOp::Max:
  case ExprOp::Min:
  case ExprOp::Neg:
  case ExprOp::Abs:
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

/// True when a double is an integer that int64 holds. 2^63 is the smallest double beyond.
bool isInt64(double value) {
  return value >= -0x1p63 && value < 0x1p63 && value == std::trunc(value);
}

Complaint Checker::check(const Elementwise &op) const {
  if (op.inputs.empty() || op.inputs.size() > limits::exprInputs)
    return "has " + number(op.inputs.size()) + " inputs, expected 1 to " +
           number(limits::exprInputs);
  bool integers = false, floats = false;
  for (const Operand &input : op.inputs) {
    if (Complaint e = sameSizes("input", input, op.out.sizes); !e.empty())
      return e;
    integers |= isInteger(type(input));
    floats |= isFloat(type(input));
  }
  if (integers && floats)
    return "mixes integer and float inputs";
  DataType out = type(op.out);
  if (integers ? isFloat(out) : isInteger(out))
    return std::string("out is ") + name(out) + " and the inputs are " +
           (integers ? "integers" : "floats");

  int64_t depth = 0;
  size_t operators = 0;
  if (op.expr.size() > limits::exprTerms)
    return "expression has " + number(op.expr.size()) + " terms, expected at most " +
           number(limits::exprTerms);
  for (size_t i = 0; i < op.expr.size(); ++i) {
    const ExprTerm &term = op.expr[i];
    std::string place = "term " + number(i) + " of the expression ";
    if (term.op > ExprOp::Select)
      return place + "is no operator";
    if (term.op == ExprOp::Input && (term.input < 0 || size_t(term.input) >= op.inputs.size()))
      return place + "reads input " + number(term.input) + " of " + number(op.inputs.size());
    if (term.op == ExprOp::Constant && std::isnan(term.value))
      return place + "is not a number";
    if (integers && !worksOnIntegers(term.op))
      return place + "does not work on integers";
    if (integers && term.op == ExprOp::Constant && !isInt64(term.value))
      return place + "is no 64-bit integer";
    int arity = operatorArity(term.op);
    operators += arity > 0;
    if (depth < arity)
      return place + "pops " + number(arity) + " values of " + number(depth);
    depth += 1 - arity;
  }
  if (operators > limits::exprOperators)
    return "expression has " + number(operators) + " operators, expected at most " +
           number(limits::exprOperators);
  if (depth != 1)
    return "expression leaves " + number(depth) + " values, expected 1";
  return "";
}

Complaint Checker::check(const Reduce &op) const {
  if (op.reduced.size() != op.x.sizes.size())
    return "tells " + number(op.reduced.size()) + " of " + number(op.x.sizes.size()) +
           " dimensions whether they are reduced";
  std::vector<int64_t> expected = op.x.sizes;
  for (size_t i = 0; i < expected.size(); ++i)
    if (op.reduced[i])
      expected[i] = 1;
  if (!(isFloat(type(op.x)) && isFloat(type(op.out))))
    if (Complaint e = hasType("out", op.out, type(op.x)); !e.empty())
      return e;
  if (type(op.x) == DataType::I1 && op.kind == ReduceKind::Sum)
    return "sums i1";
  return sameSizes("out", op.out, expected);
}

Complaint Checker::check(const Softmax &op) const {
  return first({dimension(op.dim, op.x), floating("x", op.x), floating("out", op.out),
                sameSizes("out", op.out, op.x.sizes)});
}

Complaint Checker::check(const Copy &op) const { return sameSizes("out", op.out, op.x.sizes); }

Complaint Checker::check(const Fill &op) const {
  if (op.dim != -1)
    if (Complaint e = dimension(op.dim, op.out); !e.empty())
      return e;
  if (std::isnan(op.value))
    return "value is not a number";
  DataType out = type(op.out);
  if (!isFloat(out) && !isInt64(op.value))
    return std::string("value is no integer, for ") + name(out);
  if (out == DataType::I32 && (op.value < -0x1p31 || op.value >= 0x1p31))
    return "value does not fit in i32";
  return "";
}

Complaint Checker::check(const Collective &op) const {
  if (op.axes.empty())
    return "names no axes";
  if (Complaint e = first({checkAxes(plan, op.axes), hasType("out", op.out, type(op.x))});
      !e.empty())
    return e;
  int64_t group = 1;
  for (int64_t size : axisSizes(plan, op.axes))
    group *= size;
  // Both counts are at most limits::elements = 2^46 and the group at most limits::ranks = 2^16.
  static_assert(limits::elements <= INT64_MAX / limits::ranks);
  int64_t x = elements(op.x), out = elements(op.out), expected = x;
  bool divides = true;
  switch (op.kind) {
  case CollectiveKind::AllReduce:
  case CollectiveKind::Broadcast:
    break;
  case CollectiveKind::AllGather:
    expected = x * group;
    break;
  case CollectiveKind::ReduceScatter:
    divides = x % group == 0;
    expected = x / group;
    break;
  case CollectiveKind::AllToAll:
    divides = x % group == 0;
    break;
  }
  if (!divides)
    return "x has " + number(x) + " elements, expected a multiple of the group's size " +
           number(group);
  if (out != expected)
    return "out has " + number(out) + " elements, expected " + number(expected) + " for x with " +
           number(x) + " over " + number(group) + " ranks";
  if (!isContiguous(op.x) || !isContiguous(op.out))
    return std::string(isContiguous(op.x) ? "out" : "x") + " is not contiguous";
  bool reduces = op.kind == CollectiveKind::AllReduce || op.kind == CollectiveKind::ReduceScatter;
  if (reduces && op.reduce == ReduceKind::Sum && type(op.x) == DataType::I1)
    return "sums i1";
  return "";
}

} // namespace

Complaint checkOp(const Plan &plan, const Entry &entry, const Op &op) {
  Checker checker{plan, entry};
  Complaint complaint;
  forEachOperand(op.body, [&](const Operand &operand, bool write, const char *role, int) {
    if (!complaint.empty())
      return;
    complaint = checker.operand(operand, write);
    if (!complaint.empty())
      complaint = std::string(role) + " " + complaint;
  });
  forEachRankValue(op.body, [&](const RankValue &value) {
    if (complaint.empty())
      complaint = checkRankValue(plan, value);
  });
  if (!complaint.empty())
    return complaint;
  return std::visit([&](const auto &body) { return checker.check(body); }, op.body);
}

} // namespace tenon::plan
