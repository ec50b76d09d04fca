// SPDX-License-Identifier: Apache-2.0
// FusedAttention: describes an attention to cuDNN as one graph and keeps its plan by shape, so that
// equal layers build it once. What cuDNN refuses, or would compute differently, goes to the plain
// kernel: masks, f32, wide heads, layouts that 16-byte accesses cannot read, causal windows that
// start at neither end.
#include "FusedAttention.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cudnn_frontend.h>
#include <map>
#include <unordered_map>

namespace tenon::runtime::cuda {
namespace {

namespace fe = cudnn_frontend;

enum Uid : int64_t { Q = 1, K, V, Out, Bias };

/// Sizes and strides as cuDNN wants them: batch, head, position, element.
struct Tensor {
  std::array<int64_t, 4> sizes = {}, strides = {};

  std::string text() const {
    std::string text;
    for (size_t d = 0; d < 4; ++d)
      text += " " + std::to_string(sizes[d]) + ":" + std::to_string(strides[d]);
    return text;
  }

  /// Gives dimensions of size 1, whose strides mean nothing, the stride of a packed tensor.
  void packOnes() {
    for (size_t d = 0; d + 1 < 4; ++d)
      if (sizes[d] == 1) {
        int64_t reach = 1;
        for (size_t other = 0; other < 4; ++other)
          if (other != d && sizes[other] > 1)
            reach = std::max(reach, sizes[other] * strides[other]);
        strides[d] = std::max(reach, sizes[3]);
      }
    if (sizes[3] == 1)
      strides[3] = 1;
  }

  /// Whether 16-byte accesses along the last dimension reach every row.
  bool isAligned(const Region &region) const {
    const int64_t perAccess = 16 / region.width();
    bool aligned = reinterpret_cast<uintptr_t>(region.data) % 16 == 0 && strides[3] == 1;
    for (size_t d = 0; d + 1 < 4; ++d)
      aligned = aligned && (sizes[d] == 1 || (strides[d] > 0 && strides[d] % perAccess == 0));
    return aligned;
  }
};

enum class Window { All, TopLeft, BottomRight };

/// What a plan is built for.
struct Shape {
  Tensor q, k, v, out, bias;
  bool hasBias = false;
  plan::DataType type = plan::DataType::BF16;
  float scale = 1;
  Window window = Window::All;

  std::string key() const {
    return std::string(plan::name(type)) + q.text() + k.text() + v.text() + out.text() +
           (hasBias ? bias.text() : "") + " " + std::to_string(std::bit_cast<uint32_t>(scale)) +
           " " + std::to_string(int(window));
  }
};

/// Head h of the merged dimension is query head h % r of group h / r; false when no one stride
/// reaches them all.
bool mergeHeads(const Region &region, size_t group, int64_t &size, int64_t &stride) {
  const int64_t g = region.sizes[group], r = region.sizes[group + 1];
  const int64_t gStride = region.strides[group], rStride = region.strides[group + 1];
  size = g * r;
  stride = r == 1 ? gStride : rStride;
  return g == 1 || r == 1 || gStride == r * rStride;
}

bool takesQueries(const Region &region, Tensor &tensor) {
  int64_t heads, stride;
  if (!mergeHeads(region, 2, heads, stride))
    return false;
  tensor.sizes = {region.sizes[0], heads, region.sizes[1], region.sizes[4]};
  tensor.strides = {region.strides[0], stride, region.strides[1], region.strides[4]};
  return tensor.isAligned(region);
}

bool takesKeys(const Region &region, int64_t keys, Tensor &tensor) {
  tensor.sizes = {region.sizes[0], region.sizes[2], keys, region.sizes[3]};
  tensor.strides = {region.strides[0], region.strides[2], region.strides[1], region.strides[3]};
  return tensor.isAligned(region);
}

/// cuDNN broadcasts a bias over batches and heads, which then have size 1.
bool takesBias(const Region &region, int64_t keys, Tensor &tensor) {
  int64_t heads, stride;
  if (!mergeHeads(region, 1, heads, stride))
    return false;
  tensor.sizes = {region.strides[0] == 0 ? 1 : region.sizes[0], stride == 0 ? 1 : heads,
                  region.sizes[3], keys};
  tensor.strides = {region.strides[0], stride, region.strides[3], region.strides[4]};
  return tensor.isAligned(region);
}

/// False where the plain kernel is to do it.
bool describe(const plan::Attention &op, const AttentionOperands &operands, Shape &shape) {
  const Region &q = operands.q, &k = operands.k, &v = operands.v, &out = operands.out;
  shape.type = q.type;
  shape.scale = op.scale;
  shape.hasBias = operands.bias.data;
  if ((q.type != plan::DataType::BF16 && q.type != plan::DataType::F16) || k.type != q.type ||
      v.type != q.type || out.type != q.type || operands.mask.data)
    return false;
  const int64_t s = q.sizes[1], d = q.sizes[4], t = k.sizes[1], e = v.sizes[3];
  if (q.empty() || k.empty() || v.empty() || d > 128 || e > 128 || d % 8 != 0 || e % 8 != 0)
    return false;
  int64_t keys = t;
  if (op.causal) {
    // Keys behind the last query's are left out, so that the window ends in a corner.
    const int64_t position = op.position.base;
    if (position < 0)
      return false;
    keys = position < t - s ? position + s : t;
    if (position == 0)
      shape.window = Window::TopLeft;
    else if (position + s == keys)
      shape.window = Window::BottomRight;
    else if (position < t - 1)
      return false;
    // One query, or all queries, see every key that is left.
    if (position >= t - 1 || (s == 1 && position + 1 == keys))
      shape.window = Window::All;
  }
  if (!takesQueries(q, shape.q) || !takesQueries(out, shape.out) || !takesKeys(k, keys, shape.k) ||
      !takesKeys(v, keys, shape.v) ||
      (shape.hasBias &&
       (operands.bias.type != plan::DataType::F32 || !takesBias(operands.bias, keys, shape.bias))))
    return false;
  for (Tensor *tensor : {&shape.q, &shape.k, &shape.v, &shape.out, &shape.bias})
    tensor->packOnes();
  return true;
}

using Graph = fe::graph::Graph;

std::shared_ptr<fe::graph::Tensor_attributes> addTensor(Graph &graph, Uid uid,
                                                        const Tensor &tensor) {
  return graph.tensor(
      fe::graph::Tensor_attributes()
          .set_uid(uid)
          .set_dim(std::vector<int64_t>(tensor.sizes.begin(), tensor.sizes.end()))
          .set_stride(std::vector<int64_t>(tensor.strides.begin(), tensor.strides.end())));
}

/// Null when cuDNN has no kernel for the shape.
std::shared_ptr<Graph> buildGraph(const Shape &shape, cudnnHandle_t handle) {
  auto graph = std::make_shared<Graph>();
  graph
      ->set_io_data_type(shape.type == plan::DataType::BF16 ? fe::DataType_t::BFLOAT16
                                                            : fe::DataType_t::HALF)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  fe::graph::SDPA_attributes options;
  options.set_name("attention").set_generate_stats(false).set_attn_scale(shape.scale);
  if (shape.window == Window::TopLeft)
    options.set_causal_mask(true);
  if (shape.window == Window::BottomRight)
    options.set_causal_mask_bottom_right(true);
  if (shape.hasBias) {
    auto bias = addTensor(*graph, Bias, shape.bias);
    bias->set_data_type(fe::DataType_t::FLOAT);
    options.set_bias(bias);
  }
  auto outputs = graph->sdpa(addTensor(*graph, Q, shape.q), addTensor(*graph, K, shape.k),
                             addTensor(*graph, V, shape.v), options);
  const Tensor &out = shape.out;
  outputs[0]
      ->set_output(true)
      .set_uid(Out)
      .set_dim(std::vector<int64_t>(out.sizes.begin(), out.sizes.end()))
      .set_stride(std::vector<int64_t>(out.strides.begin(), out.strides.end()));
  const bool built =
      graph->validate().is_good() && graph->build_operation_graph(handle).is_good() &&
      graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_good() &&
      graph->check_support().is_good() && graph->build_plans().is_good();
  return built ? graph : nullptr;
}

/// cuDNN's handle and the plans built with it, one per context.
class AttentionLibrary {
public:
  ~AttentionLibrary() {
    // Plans go before the handle that they were built with.
    graphs_.clear();
    if (handle)
      (void)cudnnDestroy(handle);
  }

  std::shared_ptr<Graph> graphFor(const Shape &shape) {
    auto [place, isNew] = graphs_.try_emplace(shape.key());
    if (isNew)
      place->second = buildGraph(shape, handle);
    return place->second;
  }

  cudnnHandle_t handle = nullptr;

private:
  std::map<std::string, std::shared_ptr<Graph>> graphs_; ///< Null where cuDNN has no kernel.
};

class FusedAttentionWork : public Work {
public:
  FusedAttentionWork(const AttentionOperands &operands, std::shared_ptr<AttentionLibrary> library,
                     std::shared_ptr<Graph> graph, Context &context)
      : context_(context), library_(std::move(library)), graph_(std::move(graph)),
        pointers_{{Q, operands.q.data},
                  {K, operands.k.data},
                  {V, operands.v.data},
                  {Out, operands.out.data}} {
    if (operands.bias.data)
      pointers_[Bias] = operands.bias.data;
  }

  void enqueue(cudaStream_t stream) override {
    if (!context_.failure.ok())
      return;
    if (cudnnStatus_t status = cudnnSetStream(library_->handle, stream);
        status != CUDNN_STATUS_SUCCESS) {
      fail(cudnnGetErrorString(status));
      return;
    }
    fe::error_t error = graph_->execute(library_->handle, pointers_, context_.scratch.data());
    if (error.is_bad())
      fail(error.get_message());
  }

private:
  void fail(const std::string &message) {
    context_.failure = Status(Code::Device, "attention: cuDNN: " + message);
  }

  Context &context_;
  std::shared_ptr<AttentionLibrary> library_;
  std::shared_ptr<Graph> graph_;
  std::unordered_map<int64_t, void *> pointers_;
};

} // namespace

PreparedWork fusedAttention(const plan::Attention &op, const AttentionOperands &operands,
                            Context &context) {
  Shape shape;
  if (!describe(op, operands, shape))
    return std::unique_ptr<Work>();
  auto library = std::static_pointer_cast<AttentionLibrary>(context.attentionLibrary);
  if (!library) {
    library = std::make_shared<AttentionLibrary>();
    cudnnStatus_t status = cudnnCreate(&library->handle);
    if (status != CUDNN_STATUS_SUCCESS)
      return Status(status == CUDNN_STATUS_ALLOC_FAILED ? Code::Memory : Code::Device,
                    std::string("cannot start cuDNN: ") + cudnnGetErrorString(status));
    context.attentionLibrary = library;
  }
  std::shared_ptr<Graph> graph = library->graphFor(shape);
  if (!graph)
    return std::unique_ptr<Work>();
  int64_t bytes = 0;
  if (fe::error_t error = graph->get_workspace_size(bytes); error.is_bad())
    return Status(Code::Device, "attention: cuDNN: " + error.get_message());
  Expected<int64_t> grown = context.scratch.reserve(bytes);
  if (!grown)
    return grown.status();
  auto work =
      std::make_unique<FusedAttentionWork>(operands, std::move(library), std::move(graph), context);
  work->workspaceBytes = *grown;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cuda
