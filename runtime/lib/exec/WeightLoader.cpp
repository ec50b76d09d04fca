// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Tensor.h"
#include "tenon/runtime/exec/Weights.h"
#include "tenon/runtime/plan/Blocks.h"

#include <cstring>

namespace tenon::runtime {

using plan::DataType;

namespace {

std::string text(const std::vector<int64_t> &shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

bool isFloat(DataType type) { return type == DataType::F32 || type == DataType::BF16 || type == DataType::F16; }

/// The stored tensor of a view, checked; null with an ok status when random numbers take its place.
Expected<const StoredTensor *> storedOf(const plan::View &view, const WeightSource &source) {
  const StoredTensor *stored = source.checkpoint ? source.checkpoint->find(view.key) : nullptr;
  if (!stored) {
    if (source.random)
      return static_cast<const StoredTensor *>(nullptr);
    return Status(Code::Plan, "weight '" + view.key + "' is missing in " +
                                  (source.checkpoint ? "'" + source.checkpoint->where() + "'" : std::string("--parameters (none given)")));
  }
  if (stored->shape != view.storedShape)
    return Status(Code::Plan, "weight '" + view.key + "' in '" + stored->file + "' has shape " + text(stored->shape) + ", the plan expects " +
                                  text(view.storedShape));
  if (stored->type != view.type && !(isFloat(stored->type) && isFloat(view.type)))
    return Status(Code::Plan, "weight '" + view.key + "' in '" + stored->file + "' holds " + plan::name(stored->type) + ", the plan expects " +
                                  plan::name(view.type));
  return stored;
}

/// Copies runs of the last dimension from the file, or draws them.
class PartCopier {
public:
  PartCopier(const plan::Weight &weight, const plan::WeightPart &part, const StoredTensor *stored, const WeightSource &source, std::byte *out,
             int64_t &copiedBytes)
      : weight_(weight), part_(part), stored_(stored), source_(source), out_(out), copiedBytes_(copiedBytes),
        width_(plan::byteWidth(weight.type)) {}

  void copy(const std::vector<plan::Block> &blocks) { dimension(0, blocks, part_.view.offset, part_.dstOffset); }

private:
  void dimension(size_t dim, const std::vector<plan::Block> &blocks, int64_t from, int64_t to) {
    const plan::View &view = part_.view;
    if (dim == blocks.size())
      return run(from, to, 1, 1, 1);
    from += blocks[dim].start * view.strides[dim];
    if (dim + 1 == blocks.size())
      return run(from, to, blocks[dim].length, view.strides[dim], part_.dstStrides[dim]);
    for (int64_t i = 0; i < blocks[dim].length; ++i)
      dimension(dim + 1, blocks, from + i * view.strides[dim], to + i * part_.dstStrides[dim]);
  }

  void run(int64_t from, int64_t to, int64_t count, int64_t fromStride, int64_t toStride) {
    copiedBytes_ += count * width_;
    if (stored_ && stored_->type == weight_.type) {
      const std::byte *source = stored_->data + from * width_;
      std::byte *target = out_ + to * width_;
      if (fromStride == 1 && toStride == 1) {
        if (count > 0)
          std::memcpy(target, source, static_cast<size_t>(count * width_));
        return;
      }
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(target + i * toStride * width_, source + i * fromStride * width_, static_cast<size_t>(width_));
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      float value = stored_        ? toFloat(stored_->data + (from + i * fromStride) * plan::byteWidth(stored_->type), stored_->type)
                    : weight_.ones ? 1.0f
                                   : randomElement(source_.seed, part_.view.key, from + i * fromStride);
      fromFloat(value, weight_.type, out_ + (to + i * toStride) * width_);
    }
  }

  const plan::Weight &weight_;
  const plan::WeightPart &part_;
  const StoredTensor *stored_;
  const WeightSource &source_;
  std::byte *out_;
  int64_t &copiedBytes_;
  int64_t width_;
};

} // namespace

Status loadWeight(const plan::Weight &weight, const std::vector<plan::MeshAxis> &mesh, const std::vector<int64_t> &coordinates,
                  const WeightSource &source, std::byte *out, int64_t &copiedBytes) {
  for (const plan::WeightPart &part : weight.parts) {
    Expected<const StoredTensor *> stored = storedOf(part.view, source);
    if (!stored)
      return stored.status();
    if (!*stored && !isFloat(weight.type))
      return Status(Code::Plan, "weight '" + part.view.key + "' holds " + plan::name(weight.type) +
                                    ", which is not drawn at random; give the file that has it in --parameters");
    bool zeros = false;
    for (int32_t axis : part.partialAxes)
      zeros |= coordinates[axis] != 0;
    if (zeros)
      continue;
    std::vector<plan::Block> blocks;
    for (size_t dim = 0; dim < part.view.sizes.size(); ++dim) {
      std::vector<int64_t> sizes, place;
      for (int32_t axis : part.dimAxes[dim]) {
        sizes.push_back(mesh[axis].size);
        place.push_back(coordinates[axis]);
      }
      blocks.push_back(plan::block(part.view.sizes[dim], sizes, place));
    }
    PartCopier(weight, part, *stored, source, out, copiedBytes).copy(blocks);
  }
  return {};
}

} // namespace tenon::runtime
