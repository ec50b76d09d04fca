// SPDX-License-Identifier: Apache-2.0
// Times the kernels of the CPU device, each alone: minimum over at least five runs and half a
// second.
//   cpu_kernels [ISA [THREADS]]      ISA: sse2, avx2, avx512, or best

#include "tenon/runtime/Device.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace tenon;
using namespace tenon::plan;
using namespace tenon::runtime;

namespace {

class Bench {
public:
  explicit Bench(CpuOptions options) : options_(std::move(options)) { open(); }

  /// Forgets all operands.
  void open() {
    for (std::byte *buffer : binding_.buffers)
      device_->release(buffer);
    binding_ = Binding();
    Expected<std::unique_ptr<Device>> made = makeCpuDevice(options_);
    if (!made)
      fail(made.status());
    device_ = std::move(*made);
  }

  /// An operand over a buffer of its own, of ones; row-major unless strides are given.
  Operand operand(DataType type, std::vector<int64_t> sizes, std::vector<int64_t> strides = {}) {
    int64_t elements = 1;
    std::vector<int64_t> dense(sizes.size());
    for (size_t d = sizes.size(); d-- > 0; elements *= sizes[d])
      dense[d] = elements;
    Expected<std::byte *> memory = device_->allocate(elements * byteWidth(type));
    if (!memory)
      fail(memory.status());
    for (int64_t i = 0; i < elements; ++i)
      if (type == DataType::F32) {
        float value = float((i * 7919) % 1000) / 500 - 1;
        std::memcpy(*memory + i * 4, &value, 4);
      } else if (type == DataType::BF16) {
        uint16_t value = uint16_t(0x3f80 + i % 50);
        std::memcpy(*memory + i * 2, &value, 2);
      }
    binding_.buffers.push_back(*memory);
    binding_.types.push_back(type);
    Operand made;
    made.buffer = int32_t(binding_.buffers.size()) - 1;
    made.sizes = std::move(sizes);
    made.strides = strides.empty() ? dense : std::move(strides);
    return made;
  }

  /// Prints microseconds, and operations and bytes per second where they are known.
  void time(const std::string &label, OpBody body, double flops, double bytes) {
    Op op;
    op.body = std::move(body);
    Expected<std::unique_ptr<Kernel>> kernel = device_->prepare(op, binding_);
    if (!kernel) {
      std::printf("%-44s %s\n", label.c_str(), kernel.status().message().c_str());
      return;
    }
    using Clock = std::chrono::steady_clock;
    double best = 1e9, total = 0;
    for (int i = 0; i < 5 || (total < 0.5 && i < 2000); ++i) {
      auto start = Clock::now();
      (*kernel)->enqueue(0);
      if (Status status = device_->synchronize(); !status)
        fail(status);
      double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::min(best, seconds);
      total += seconds;
    }
    std::printf("%-44s %10.1f us", label.c_str(), best * 1e6);
    if (flops > 0)
      std::printf(" %8.1f GF/s", flops * 1e-9 / best);
    if (bytes > 0)
      std::printf(" %8.1f GB/s", bytes * 1e-9 / best);
    std::printf("\n");
  }

private:
  [[noreturn]] static void fail(const Status &status) {
    std::fprintf(stderr, "cpu_kernels: %s\n", status.message().c_str());
    std::exit(int(status.code()));
  }

  CpuOptions options_;
  std::unique_ptr<Device> device_;
  Binding binding_;
};

void matmuls(Bench &bench) {
  struct Shape {
    int64_t m, k, n;
  };
  for (DataType type : {DataType::F32, DataType::BF16})
    for (Shape s : {Shape{1, 1024, 2816},
                    {4, 1024, 2816},
                    {128, 1024, 2816},
                    {512, 1024, 2816},
                    {128, 384, 1536},
                    {128, 384, 384}})
      for (bool transposed : {false, true}) {
        bench.open();
        MatMul op;
        op.a = bench.operand(type, {s.m, s.k});
        op.b = transposed ? bench.operand(type, {s.n, s.k}) : bench.operand(type, {s.k, s.n});
        op.c = bench.operand(type, {s.m, s.n});
        op.aDims = "mk";
        op.bDims = transposed ? "nk" : "kn";
        op.cDims = "mn";
        std::string label = std::string("matmul ") + name(type) + " " + std::to_string(s.m) + "x" +
                            std::to_string(s.k) + "x" + std::to_string(s.n) + " " + op.bDims;
        double bytes = double(byteWidth(type)) * double(s.m * s.k + s.k * s.n + s.m * s.n);
        bench.time(label, op, 2.0 * double(s.m * s.k * s.n), bytes);
        if (s.m != 128 || !transposed || s.n != 1536)
          continue;
        op.bias = {bench.operand(type, {s.m, s.n}, {0, 1})};
        op.activation = Activation::Gelu;
        bench.time(label + " bias gelu", op, 2.0 * double(s.m * s.k * s.n), bytes);
      }
}

void attentions(Bench &bench) {
  struct Shape {
    int64_t b, s, t, g, r, d;
  };
  for (DataType type : {DataType::F32, DataType::BF16})
    for (Shape n : {Shape{1, 128, 128, 12, 1, 32},
                    {4, 128, 128, 12, 1, 32},
                    {1, 512, 512, 12, 1, 64},
                    {1, 2048, 2048, 4, 1, 128},
                    {1, 128, 128, 8, 4, 64},
                    {1, 1, 2048, 8, 4, 64}})
      for (bool causal : {false, true}) {
        bench.open();
        Attention op;
        op.q = bench.operand(type, {n.b, n.s, n.g, n.r, n.d});
        op.k = bench.operand(type, {n.b, n.t, n.g, n.d});
        op.v = bench.operand(type, {n.b, n.t, n.g, n.d});
        op.out = bench.operand(type, {n.b, n.s, n.g, n.r, n.d});
        op.scale = 0.1f;
        op.causal = causal;
        op.position.base = n.t - n.s;
        std::string label = std::string("attention ") + name(type) + " b" + std::to_string(n.b) +
                            " s" + std::to_string(n.s) + " t" + std::to_string(n.t) + " g" +
                            std::to_string(n.g) + " r" + std::to_string(n.r) + " d" +
                            std::to_string(n.d) + (causal ? " causal" : "");
        bench.time(label, op, 4.0 * double(n.b * n.s * n.g * n.r * n.d * n.t), 0);
      }
}

void pointwise(Bench &bench) {
  auto in = [](int32_t input) { return ExprTerm{ExprOp::Input, input, 0}; };
  auto apply = [](ExprOp op) { return ExprTerm{op, 0, 0}; };
  struct Program {
    const char *name;
    std::vector<ExprTerm> expr;
    int inputs;
  };
  const Program programs[] = {
      {"a + b", {in(0), in(1), apply(ExprOp::Add)}, 2},
      {"gelu(a)", {in(0), apply(ExprOp::Gelu)}, 1},
      {"gelu_tanh(a)", {in(0), apply(ExprOp::GeluTanh)}, 1},
      {"silu(a) * b", {in(0), apply(ExprOp::Silu), in(1), apply(ExprOp::Mul)}, 2},
      {"exp(a)", {in(0), apply(ExprOp::Exp)}, 1},
  };
  for (int64_t n : {196608, 8000000})
    for (const Program &program : programs) {
      bench.open();
      Elementwise op;
      op.expr = program.expr;
      for (int i = 0; i < program.inputs; ++i)
        op.inputs.push_back(bench.operand(DataType::F32, {n}));
      op.out = bench.operand(DataType::F32, {n});
      bench.time(std::string(program.name) + " of " + std::to_string(n), op, 0,
                 4.0 * double(n) * (program.inputs + 1));
    }
}

void rows(Bench &bench) {
  for (DataType type : {DataType::F32, DataType::BF16}) {
    bench.open();
    const std::vector<int64_t> sizes = {512, 1024};
    const double bytes = 2.0 * 512 * 1024 * double(byteWidth(type));
    const std::string suffix = std::string(" ") + name(type) + " 512x1024";
    Operand x = bench.operand(type, sizes), out = bench.operand(type, sizes);
    Norm norm;
    norm.x = x;
    norm.out = out;
    norm.scale = norm.bias = {bench.operand(type, sizes, {0, 1})};
    bench.time("layer norm" + suffix, norm, 0, bytes);
    norm.kind = Norm::Kind::Rms;
    norm.bias.clear();
    bench.time("rms norm" + suffix, norm, 0, bytes);
    bench.time("softmax" + suffix, Softmax{x, out, 1}, 0, bytes);
    bench.time("copy" + suffix, Copy{x, out}, 0, bytes);
    bench.time("transposition" + suffix, Copy{bench.operand(type, sizes, {1, 512}), out}, 0, bytes);
    bench.time("sum of rows" + suffix,
               Reduce{ReduceKind::Sum, x, bench.operand(type, {512, 1}), {false, true}}, 0,
               bytes / 2);
    bench.time("sum of columns" + suffix,
               Reduce{ReduceKind::Sum, x, bench.operand(type, {1, 1024}), {true, false}}, 0,
               bytes / 2);
    Rope rope;
    rope.x = bench.operand(type, {1, 512, 16, 64});
    rope.out = bench.operand(type, {1, 512, 16, 64});
    rope.cos = bench.operand(DataType::F32, {512, 32});
    rope.sin = bench.operand(DataType::F32, {512, 32});
    rope.positions = bench.operand(DataType::I64, {1, 512});
    bench.time(std::string("rope ") + name(type) + " 512x16x64", rope, 0, bytes);
  }
}

} // namespace

int main(int argc, char **argv) {
  CpuOptions options;
  if (argc > 1 && std::strcmp(argv[1], "best") != 0)
    options.isa = argv[1];
  if (argc > 2)
    options.threads = int(std::strtol(argv[2], nullptr, 10));
  std::printf("instruction set %s, %d threads\n", cpuIsa(options).c_str(), options.threads);
  Bench bench(options);
  matmuls(bench);
  attentions(bench);
  pointwise(bench);
  rows(bench);
  return 0;
}
