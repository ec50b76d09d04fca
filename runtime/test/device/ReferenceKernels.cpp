// SPDX-License-Identifier: Apache-2.0
// The reference kernels. Results are computed whole before they are stored, so that ops in place
// read what they should.
#include "ReferenceKernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>

namespace tenon::runtime::reference {
namespace {

using plan::DataType;
using plan::Operand;
using Index = std::vector<int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double roundTo(double value, int mantissaBits, int minExponent, double largest) {
  if (value == 0 || !std::isfinite(value))
    return value;
  int exponent;
  std::frexp(value, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 1, minExponent) - mantissaBits);
  double rounded = std::nearbyint(value / unit) * unit;
  return std::fabs(rounded) > largest ? std::copysign(kInfinity, value) : rounded;
}

int64_t at(const Operand &operand, const Index &index) {
  int64_t position = operand.offset.base;
  for (size_t d = 0; d < index.size(); ++d)
    position += index[d] * operand.strides[d];
  return position;
}

void forEach(const std::vector<int64_t> &sizes, const std::function<void(const Index &)> &body) {
  for (int64_t size : sizes)
    if (size == 0)
      return;
  Index index(sizes.size(), 0);
  while (true) {
    body(index);
    size_t d = sizes.size();
    while (d-- > 0) {
      if (++index[d] < sizes[d])
        break;
      index[d] = 0;
    }
    if (d == size_t(-1))
      return;
  }
}

/// Writes gathered first and stored at the end.
class Results {
public:
  explicit Results(Memory &memory) : memory_(memory) {}
  ~Results() {
    for (const auto &[where, value] : values_)
      memory_.set(where.first, where.second, value);
  }
  void put(const Operand &out, const Index &index, double value) {
    values_[{out.buffer, at(out, index)}] = value;
  }

private:
  Memory &memory_;
  std::map<std::pair<int32_t, int64_t>, double> values_;
};

// The nearest value that a float type holds.
static double nearest(plan::DataType type, double value) {
  if (type == plan::DataType::BF16)
    return roundTo(value, 7, -126, 3.3895313892515355e38);
  return type == plan::DataType::F16 ? roundTo(value, 10, -14, 65504) : value;
}

struct Runner {
  Memory &memory;

  double get(const Operand &operand, const Index &index) const {
    return memory.get(operand.buffer, at(operand, index));
  }
  double optional(const std::vector<Operand> &operands, const Index &index, double absent) const {
    return operands.empty() ? absent : get(operands[0], index);
  }

  static double activate(plan::Activation activation, double x) {
    switch (activation) {
    case plan::Activation::None:
      return x;
    case plan::Activation::Gelu:
      return unary(plan::ExprOp::Gelu, x);
    case plan::Activation::GeluTanh:
      return unary(plan::ExprOp::GeluTanh, x);
    case plan::Activation::Silu:
      return unary(plan::ExprOp::Silu, x);
    case plan::Activation::Relu:
      return unary(plan::ExprOp::Relu, x);
    case plan::Activation::Tanh:
      return std::tanh(x);
    }
    return x;
  }

  void operator()(const plan::MatMul &op) {
    std::map<char, int64_t> size;
    auto note = [&](const std::string &labels, const Operand &operand) {
      for (size_t d = 0; d < labels.size(); ++d)
        size[labels[d]] = operand.sizes[d];
    };
    note(op.aDims, op.a);
    note(op.bDims, op.b);
    note(op.cDims, op.c);
    std::string contracted;
    std::vector<int64_t> contractedSizes;
    for (auto [label, n] : size)
      if (op.cDims.find(label) == std::string::npos) {
        contracted += label;
        contractedSizes.push_back(n);
      }
    Results results(memory);
    forEach(op.c.sizes, [&](const Index &c) {
      double sum = 0;
      forEach(contractedSizes, [&](const Index &k) {
        auto pick = [&](const std::string &labels) {
          Index index;
          for (char label : labels) {
            size_t place = op.cDims.find(label);
            index.push_back(place != std::string::npos ? c[place] : k[contracted.find(label)]);
          }
          return index;
        };
        sum += get(op.a, pick(op.aDims)) * get(op.b, pick(op.bDims));
      });
      results.put(op.c, c,
                  activate(op.activation, sum + optional(op.bias, c, 0)) +
                      optional(op.residual, c, 0));
    });
  }

  void operator()(const plan::Attention &op) {
    Results results(memory);
    const int64_t t = op.k.sizes[1], d = op.q.sizes[4], e = op.v.sizes[3];
    std::vector<int64_t> queries(op.q.sizes.begin(), op.q.sizes.end() - 1);
    forEach(queries, [&](const Index &i) {
      int64_t b = i[0], s = i[1], g = i[2], r = i[3];
      std::vector<double> score(t, -kInfinity), value(e, 0);
      double top = -kInfinity, total = 0;
      for (int64_t j = 0; j < t; ++j) {
        if (op.causal && j > op.position.base + s)
          continue;
        if (optional(op.mask, {b, s, j}, 1) == 0)
          continue;
        double dot = 0;
        for (int64_t c = 0; c < d; ++c)
          dot += get(op.q, {b, s, g, r, c}) * get(op.k, {b, j, g, c});
        score[j] = op.scale * dot + optional(op.bias, {b, g, r, s, j}, 0);
        top = std::max(top, score[j]);
      }
      for (int64_t j = 0; j < t && top > -kInfinity; ++j) {
        double weight = std::exp(score[j] - top);
        total += weight;
        for (int64_t c = 0; c < e && weight > 0; ++c)
          value[c] += weight * get(op.v, {b, j, g, c});
      }
      for (int64_t c = 0; c < e; ++c)
        results.put(op.out, {b, s, g, r, c}, total > 0 ? value[c] / total : 0);
    });
  }

  void operator()(const plan::GatherRows &op) {
    Results results(memory);
    size_t lookups = op.ids.sizes.size();
    forEach(op.out.sizes, [&](const Index &i) {
      Index lookup(i.begin(), i.begin() + lookups), row(i.begin() + lookups, i.end());
      double id = get(op.ids, lookup) - double(op.base.base);
      bool owned = id >= 0 && id < double(op.rows.base);
      row.insert(row.begin(), int64_t(id));
      results.put(op.out, i, owned ? get(op.table, row) : 0);
    });
  }

  void operator()(const plan::Take &op) {
    Results results(memory);
    int64_t position = op.index - op.base.base;
    bool owned = position >= 0 && position < op.rows.base;
    forEach(op.out.sizes, [&](const Index &i) {
      Index from = i;
      from[op.dim] = position;
      results.put(op.out, i, owned ? get(op.x, from) : 0);
    });
  }

  void operator()(const plan::Norm &op) {
    Results results(memory);
    size_t split = op.x.sizes.size() - op.dims;
    std::vector<int64_t> outer(op.x.sizes.begin(), op.x.sizes.begin() + split);
    std::vector<int64_t> inner(op.x.sizes.begin() + split, op.x.sizes.end());
    forEach(outer, [&](const Index &o) {
      auto full = [&](const Index &i) {
        Index index = o;
        index.insert(index.end(), i.begin(), i.end());
        return index;
      };
      auto x = [&](const Index &i) {
        return get(op.x, full(i)) + optional(op.residual, full(i), 0);
      };
      double count = 0, mean = 0, square = 0;
      forEach(inner, [&](const Index &i) { ++count, mean += x(i); });
      mean = op.kind == plan::Norm::Kind::Rms ? 0 : mean / count;
      forEach(inner, [&](const Index &i) { square += (x(i) - mean) * (x(i) - mean); });
      double deviation = std::sqrt(square / count + op.eps);
      forEach(inner, [&](const Index &i) {
        double value = (x(i) - mean) / deviation;
        if (op.rounded)
          value = nearest(memory.types[size_t(op.out.buffer)], value);
        results.put(op.out, full(i),
                    value * optional(op.scale, full(i), 1) + optional(op.bias, full(i), 0));
        if (!op.sum.empty())
          results.put(op.sum[0], full(i), x(i));
      });
    });
  }

  void operator()(const plan::Rope &op) {
    Results results(memory);
    const int64_t half = op.cos.sizes[1];
    forEach(op.x.sizes, [&](const Index &i) {
      int64_t at = i.back();
      auto x = [&](int64_t other) {
        Index index = i;
        index.back() = other;
        return get(op.x, index);
      };
      if (at >= 2 * half)
        return results.put(op.out, i, x(at));
      int64_t pair = op.interleaved ? at / 2 : at % half;
      bool second = op.interleaved ? at % 2 : at >= half;
      int64_t mate = op.interleaved ? (second ? at - 1 : at + 1) : (second ? at - half : at + half);
      int64_t position = int64_t(get(op.positions, {i[0], i[1]}));
      double cosine = get(op.cos, {position, pair}), sine = get(op.sin, {position, pair});
      results.put(op.out, i, x(at) * cosine + (second ? 1 : -1) * x(mate) * sine);
    });
  }

  static double unary(plan::ExprOp op, double x) {
    using plan::ExprOp;
    switch (op) {
    case ExprOp::Neg:
      return -x;
    case ExprOp::Exp:
      return std::exp(x);
    case ExprOp::Log:
      return std::log(x);
    case ExprOp::Tanh:
      return std::tanh(x);
    case ExprOp::Sigmoid:
      return 1 / (1 + std::exp(-x));
    case ExprOp::Relu:
      return x < 0 ? 0 : x;
    case ExprOp::Gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case ExprOp::GeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ExprOp::Silu:
      return x / (1 + std::exp(-x));
    case ExprOp::Sqrt:
      return std::sqrt(x);
    case ExprOp::Rsqrt:
      return 1 / std::sqrt(x);
    case ExprOp::Sin:
      return std::sin(x);
    case ExprOp::Cos:
      return std::cos(x);
    case ExprOp::Abs:
      return std::fabs(x);
    case ExprOp::Erf:
      return std::erf(x);
    default:
      return x == 0;
    }
  }

  static double binary(plan::ExprOp op, double a, double b) {
    using plan::ExprOp;
    switch (op) {
    case ExprOp::Add:
      return a + b;
    case ExprOp::Sub:
      return a - b;
    case ExprOp::Mul:
      return a * b;
    case ExprOp::Div:
      return a / b;
    case ExprOp::Pow:
      return std::pow(a, b);
    case ExprOp::Max:
      return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case ExprOp::Min:
      return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
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
    case ExprOp::Ge:
      return a >= b;
    case ExprOp::And:
      return a != 0 && b != 0;
    default:
      return a != 0 || b != 0;
    }
  }

  void operator()(const plan::Elementwise &op) {
    using plan::ExprOp;
    Results results(memory);
    forEach(op.out.sizes, [&](const Index &i) {
      std::vector<double> stack;
      auto pop = [&] {
        double top = stack.back();
        stack.pop_back();
        return top;
      };
      for (const plan::ExprTerm &term : op.expr) {
        if (term.op == ExprOp::Input) {
          stack.push_back(get(op.inputs[term.input], i));
        } else if (term.op == ExprOp::Constant) {
          stack.push_back(term.value);
        } else if (term.op == ExprOp::Select) {
          double otherwise = pop(), then = pop(), condition = pop();
          stack.push_back(condition != 0 ? then : otherwise);
        } else if (term.op >= ExprOp::Add) {
          double b = pop(), a = pop();
          stack.push_back(binary(term.op, a, b));
        } else {
          stack.push_back(unary(term.op, pop()));
        }
      }
      results.put(op.out, i, stack.back());
    });
  }

  void operator()(const plan::Reduce &op) {
    Results results(memory);
    std::vector<int64_t> inner = op.x.sizes;
    for (size_t d = 0; d < inner.size(); ++d)
      inner[d] = op.reduced[d] ? inner[d] : 1;
    forEach(op.out.sizes, [&](const Index &o) {
      double total = op.kind == plan::ReduceKind::Sum   ? 0
                     : op.kind == plan::ReduceKind::Max ? -kInfinity
                                                        : kInfinity;
      forEach(inner, [&](const Index &i) {
        Index index = o;
        for (size_t d = 0; d < i.size(); ++d)
          index[d] += i[d];
        double value = get(op.x, index);
        total = op.kind == plan::ReduceKind::Sum   ? total + value
                : op.kind == plan::ReduceKind::Max ? binary(plan::ExprOp::Max, total, value)
                                                   : binary(plan::ExprOp::Min, total, value);
      });
      results.put(op.out, o, total);
    });
  }

  void operator()(const plan::Softmax &op) {
    Results results(memory);
    forEach(op.x.sizes, [&](const Index &i) {
      double top = -kInfinity, total = 0;
      Index index = i;
      for (index[op.dim] = 0; index[op.dim] < op.x.sizes[op.dim]; ++index[op.dim])
        top = std::max(top, get(op.x, index));
      for (index[op.dim] = 0; index[op.dim] < op.x.sizes[op.dim]; ++index[op.dim])
        total += std::exp(get(op.x, index) - top);
      results.put(op.out, i, std::exp(get(op.x, i) - top) / total);
    });
  }

  void operator()(const plan::Copy &op) {
    Results results(memory);
    forEach(op.x.sizes, [&](const Index &i) { results.put(op.out, i, get(op.x, i)); });
  }

  void operator()(const plan::Fill &op) {
    Results results(memory);
    forEach(op.out.sizes, [&](const Index &i) {
      if (op.dim < 0 || i[op.dim] >= op.from.base)
        results.put(op.out, i, op.value);
    });
  }

  void operator()(const plan::Collective &op) {
    Results results(memory);
    forEach(op.x.sizes, [&](const Index &i) { results.put(op.out, i, get(op.x, i)); });
  }

  void operator()(const plan::Record &) {}
  void operator()(const plan::Wait &) {}
};

} // namespace

int32_t Memory::add(DataType type, int64_t elements) {
  types.push_back(type);
  buffers.emplace_back(size_t(elements * plan::byteWidth(type)));
  return int32_t(buffers.size()) - 1;
}

int64_t Memory::elements(int32_t buffer) const {
  return int64_t(buffers[buffer].size()) / plan::byteWidth(types[buffer]);
}

template <typename T> static T readAs(const std::byte *from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

double Memory::get(int32_t buffer, int64_t element) const {
  const std::byte *from = buffers[buffer].data() + element * plan::byteWidth(types[buffer]);
  switch (types[buffer]) {
  case DataType::F32:
    return readAs<float>(from);
  case DataType::I32:
    return readAs<int32_t>(from);
  case DataType::I64:
    return double(readAs<int64_t>(from));
  case DataType::I1:
    return readAs<uint8_t>(from);
  case DataType::BF16: {
    uint32_t bits = uint32_t(readAs<uint16_t>(from)) << 16;
    return readAs<float>(reinterpret_cast<const std::byte *>(&bits));
  }
  case DataType::F16: {
    uint16_t bits = readAs<uint16_t>(from);
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 31  ? (fraction ? NAN : kInfinity)
                       : exponent == 0 ? std::ldexp(fraction, -24)
                                       : std::ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 ? -magnitude : magnitude;
  }
  }
  return 0;
}

/// Truncates; NaN becomes 0.
template <typename Integer> static Integer saturated(double value) {
  constexpr double end = -double(std::numeric_limits<Integer>::min());
  if (std::isnan(value))
    return 0;
  return value >= end    ? std::numeric_limits<Integer>::max()
         : value <= -end ? std::numeric_limits<Integer>::min()
                         : Integer(value);
}

void Memory::set(int32_t buffer, int64_t element, double value) {
  std::byte *to = buffers[buffer].data() + element * plan::byteWidth(types[buffer]);
  auto write = [&](auto typed) { std::memcpy(to, &typed, sizeof(typed)); };
  switch (types[buffer]) {
  case DataType::F32:
    return write(float(value));
  case DataType::I32:
    return write(saturated<int32_t>(value));
  case DataType::I64:
    return write(saturated<int64_t>(value));
  case DataType::I1:
    return write(uint8_t(value != 0));
  case DataType::BF16: {
    float rounded = float(roundTo(value, 7, -126, 3.3895313892515355e38));
    uint32_t bits;
    std::memcpy(&bits, &rounded, 4);
    return write(uint16_t(bits >> 16 | (std::isnan(value) ? 64 : 0)));
  }
  case DataType::F16: {
    double rounded = roundTo(value, 10, -14, 65504), magnitude = std::fabs(rounded);
    uint16_t sign = std::signbit(rounded) ? 0x8000 : 0, bits;
    int exponent;
    double fraction = std::frexp(magnitude, &exponent);
    if (std::isnan(magnitude))
      bits = 0x7e00;
    else if (std::isinf(magnitude))
      bits = 0x7c00;
    else if (magnitude < std::ldexp(1.0, -14))
      bits = uint16_t(std::ldexp(magnitude, 24));
    else
      bits = uint16_t((exponent + 14) << 10 | (int(fraction * 2048) - 1024));
    return write(uint16_t(sign | bits));
  }
  }
}

void run(const plan::Op &op, Memory &memory) { std::visit(Runner{memory}, op.body); }

} // namespace tenon::runtime::reference
