// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/WeightLoader.h"

#include "tenon/runtime/comm/HalfFloat.h"
#include "tenon/runtime/exec/HostArray.h"
#include "tenon/runtime/exec/MemoryCheck.h"
#include "tenon/runtime/exec/RandomValues.h"
#include "tenon/runtime/plan/Blocks.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace tenon::runtime {
namespace {

using plan::DataType;

const char *dtypeName(DataType type) {
  switch (type) {
  case DataType::F32:
    return "F32";
  case DataType::BF16:
    return "BF16";
  case DataType::F16:
    return "F16";
  case DataType::I32:
    return "I32";
  case DataType::I64:
    return "I64";
  case DataType::I1:
    return "BOOL";
  }
  return "?";
}

/// The stored dtype as a DataType; false when a plan cannot name it.
bool parseDtype(const std::string &dtype, DataType &type) {
  for (DataType candidate :
       {DataType::F32, DataType::BF16, DataType::F16, DataType::I32, DataType::I64, DataType::I1})
    if (dtype == dtypeName(candidate)) {
      type = candidate;
      return true;
    }
  return false;
}

float readFloat(DataType type, const std::byte *from) {
  uint16_t half;
  if (type == DataType::F32) {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
  std::memcpy(&half, from, 2);
  return type == DataType::BF16 ? bf16ToF32(half) : f16ToF32(half);
}

void writeFloat(DataType type, std::byte *to, float value) {
  if (type == DataType::F32) {
    std::memcpy(to, &value, 4);
    return;
  }
  uint16_t half = type == DataType::BF16 ? f32ToBf16(value) : f32ToF16(value);
  std::memcpy(to, &half, 2);
}

float roundTo(DataType type, float value) {
  std::byte bytes[4];
  writeFloat(type, bytes, value);
  return readFloat(type, bytes);
}

/// Where the elements of one part come from.
struct Source {
  const std::byte *data = nullptr; ///< Null: random, or ones.
  DataType stored = DataType::F32;
  bool ones = false;
  uint64_t seed = 0;
};

/// This rank's box of a part: per dimension the owned elements and both strides.
struct Box {
  std::vector<int64_t> lengths, from, to;
  int64_t fromOffset = 0, toOffset = 0;
  int64_t elements = 1; ///< Owned and written.

  /// The part of the box whose index along dimension d lies in [begin, end).
  Box cut(size_t d, int64_t begin, int64_t end) const {
    Box piece = *this;
    begin = std::clamp<int64_t>(begin, 0, lengths[d]);
    end = std::clamp<int64_t>(end, begin, lengths[d]);
    piece.fromOffset += begin * from[d];
    piece.toOffset += begin * to[d];
    piece.lengths[d] = end - begin;
    piece.elements = lengths[d] ? elements / lengths[d] * (end - begin) : 0;
    return piece;
  }
};

class PartWriter {
public:
  PartWriter(const plan::View &view, const Source &source, DataType held, std::byte *out)
      : view_(view), source_(source), held_(held), width_(plan::byteWidth(held)), out_(out),
        random_(source.seed, view.key) {}

  void write(const Box &box) {
    if (box.elements > 0)
      dimension(box, 0, box.fromOffset, box.toOffset);
  }

private:
  void dimension(const Box &box, size_t d, int64_t from, int64_t to) {
    if (d + 1 >= box.lengths.size()) {
      if (box.lengths.empty())
        run(from, 0, to, 0, 1);
      else
        run(from, box.from[d], to, box.to[d], box.lengths[d]);
      return;
    }
    for (int64_t i = 0; i < box.lengths[d]; ++i)
      dimension(box, d + 1, from + i * box.from[d], to + i * box.to[d]);
  }

  void run(int64_t from, int64_t fromStride, int64_t to, int64_t toStride, int64_t count) {
    std::byte *out = out_ + to * width_;
    if (source_.data && source_.stored == held_) {
      const std::byte *in = source_.data + from * width_;
      if (fromStride == 1 && toStride == 1) {
        std::memcpy(out, in, size_t(count * width_));
        return;
      }
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(out + i * toStride * width_, in + i * fromStride * width_, size_t(width_));
      return;
    }
    const int64_t storedWidth = plan::byteWidth(source_.stored);
    for (int64_t i = 0; i < count; ++i) {
      int64_t index = from + i * fromStride;
      float value = source_.data   ? readFloat(source_.stored, source_.data + index * storedWidth)
                    : source_.ones ? 1.0f
                                   : roundTo(view_.type, 0.02f * random_.normal(index));
      writeFloat(held_, out + i * toStride * width_, value);
    }
  }

  const plan::View &view_;
  const Source &source_;
  DataType held_;
  int64_t width_;
  std::byte *out_;
  RandomValues random_;
};

Box boxOf(const plan::Plan &plan, const plan::WeightPart &part,
          const std::vector<int64_t> &coordinates) {
  Box box;
  box.fromOffset = part.view.offset;
  box.toOffset = part.dstOffset;
  for (size_t d = 0; d < part.view.sizes.size(); ++d) {
    std::vector<int64_t> sizes, at;
    for (int32_t axis : part.dimAxes[d]) {
      sizes.push_back(plan.mesh[size_t(axis)].size);
      at.push_back(coordinates[size_t(axis)]);
    }
    plan::Block block = plan::block(part.view.sizes[d], sizes, at);
    box.lengths.push_back(block.length);
    box.from.push_back(part.view.strides[d]);
    box.to.push_back(part.dstStrides[d]);
    box.fromOffset += block.start * part.view.strides[d];
    box.elements *= block.length;
  }
  return box;
}

/// How the memory of a weight is cut into pieces of whole rows: row r is [r * elements, (r + 1) *
/// elements), and no part's row reaches into another's.
struct Rows {
  int64_t elements = 0, count = 0;
};

/// The dimension of a box whose steps are rows; -1 when it lies in one row.
int rowDimension(const Box &box, int64_t rowElements) {
  for (size_t d = 0; d < box.lengths.size(); ++d)
    if (box.lengths[d] > 1 && box.to[d] == rowElements)
      return int(d);
  return -1;
}

/// Rows are as long as the widest step of any part; one row for a weight that has no such rows.
Rows rowsOf(const plan::Weight &weight, const std::vector<Box> &boxes) {
  const Rows whole{weight.elements, 1};
  int64_t widest = 0;
  for (const Box &box : boxes)
    for (size_t d = 0; d < box.lengths.size(); ++d)
      if (box.lengths[d] > 1)
        widest = std::max(widest, box.to[d]);
  if (widest <= 0)
    return whole;
  for (const Box &box : boxes) {
    const int rows = rowDimension(box, widest);
    int64_t last = box.toOffset % widest;
    for (size_t d = 0; d < box.lengths.size(); ++d)
      if (int(d) != rows && box.lengths[d] > 1)
        last += (box.lengths[d] - 1) * box.to[d];
    if (box.elements > 0 && last >= widest)
      return whole;
  }
  return {widest, (weight.elements + widest - 1) / widest};
}

/// What of a box lies in rows [begin, end), with offsets from the begin of these.
Box inRows(const Box &box, const Rows &rows, int64_t begin, int64_t end) {
  const int64_t first = box.toOffset / rows.elements;
  const int d = rowDimension(box, rows.elements);
  Box piece = box;
  if (d >= 0)
    piece = box.cut(size_t(d), begin - first, end - first);
  else if (first < begin || first >= end)
    piece.elements = 0;
  piece.toOffset -= begin * rows.elements;
  return piece;
}

/// Finds and checks what a part needs.
Expected<Source> findSource(const plan::Weight &weight, const plan::WeightPart &part,
                            const Checkpoint &checkpoint, const LoadOptions &options,
                            Checkpoint::Found &found) {
  const plan::View &view = part.view;
  Expected<Checkpoint::Found> search = checkpoint.find(view.key);
  if (!search)
    return search.status();
  found = *search;
  Source source;
  if (!found.file) {
    if (!options.randomSeed)
      return Status(Code::Plan, "key '" + view.key + "' is missing" + checkpoint.whereMissing());
    if (!isFloat(view.type) || !isFloat(weight.type))
      return Status(Code::Plan, "key '" + view.key + "' of type " + plan::name(view.type) +
                                    " cannot be random and is missing" + checkpoint.whereMissing());
    source.ones = weight.ones;
    source.seed = *options.randomSeed;
    return source;
  }
  auto wrong = [&](const std::string &what) {
    return Status(Code::Plan, found.file->path() + ": key '" + view.key + "': " + what);
  };
  if (found.tensor->shape != view.storedShape)
    return wrong("expected shape " + shapeOf(view.storedShape) + ", found " +
                 shapeOf(found.tensor->shape));
  bool known = parseDtype(found.tensor->dtype, source.stored);
  bool floats = known && isFloat(source.stored) && isFloat(view.type);
  if (!known || (source.stored != view.type && !floats))
    return wrong(std::string("expected dtype ") + dtypeName(view.type) + ", found " +
                 found.tensor->dtype);
  if (source.stored != weight.type && !(isFloat(source.stored) && isFloat(weight.type)))
    return wrong(found.tensor->dtype + " cannot be held as " + plan::name(weight.type));
  return source;
}

} // namespace

int64_t plannedWeightBytes(const plan::Plan &plan) {
  int64_t bytes = 0;
  for (const plan::Weight &weight : plan.weights)
    bytes += weight.elements * plan::byteWidth(weight.type);
  return bytes;
}

namespace {

/// A part of a weight with its source and this rank's box of it.
struct Part {
  const plan::WeightPart *part;
  Source source;
  Box box;
};

/// Writes a box; random values by several threads, of which each makes its own lines.
void writeBox(const Part &part, const Box &box, DataType held, std::byte *out, int threads) {
  size_t d = 0;
  for (size_t other = 0; other < box.lengths.size(); ++other)
    if (box.lengths[other] > box.lengths[d])
      d = other;
  constexpr int64_t kElementsPerThread = 1 << 16;
  const int64_t most = box.lengths.empty() ? 1 : box.lengths[d];
  const int64_t pieces =
      part.source.data || part.source.ones
          ? 1
          : std::min({int64_t(threads), most, box.elements / kElementsPerThread});
  if (pieces <= 1) {
    PartWriter(part.part->view, part.source, held, out).write(box);
    return;
  }
  std::vector<std::thread> workers;
  for (int64_t i = 0; i < pieces; ++i)
    workers.emplace_back([&, i] {
      PartWriter(part.part->view, part.source, held, out)
          .write(box.cut(d, most * i / pieces, most * (i + 1) / pieces));
    });
  for (std::thread &worker : workers)
    worker.join();
}

/// Stages and copies one weight, slice by slice.
Status writeWeight(const plan::Weight &weight, const std::vector<Part> &parts, std::byte *memory,
                   Device &device, const LoadOptions &options,
                   const std::function<void(int64_t)> &done) {
  const int64_t width = plan::byteWidth(weight.type);
  std::vector<Box> boxes;
  for (const Part &part : parts)
    boxes.push_back(part.box);
  Rows rows{weight.elements, 1};
  if (weight.elements * width > options.sliceBytes)
    rows = rowsOf(weight, boxes);
  const int64_t step =
      std::max<int64_t>(1, options.sliceBytes / std::max<int64_t>(1, rows.elements * width));
  for (int64_t begin = 0; begin < rows.count; begin += step) {
    const int64_t end = std::min(begin + step, rows.count), from = begin * rows.elements;
    const int64_t bytes = (std::min(end * rows.elements, weight.elements) - from) * width;
    if (bytes <= 0)
      continue;
    Expected<std::byte *> staged = device.stage(memory + from * width, bytes);
    if (!staged)
      return staged.status();
    for (const Part &part : parts)
      if (Box piece = rows.count == 1 ? part.box : inRows(part.box, rows, begin, end);
          piece.elements > 0)
        writeBox(part, piece, weight.type, *staged, options.threads);
    if (Status status = device.submit(memory + from * width, bytes); !status)
      return status;
    done(bytes);
  }
  return Status();
}

} // namespace

Expected<LoadedWeights> loadWeights(const plan::Plan &plan, const std::vector<int64_t> &coordinates,
                                    const Checkpoint &checkpoint, Device &device,
                                    const LoadOptions &options) {
  for (const plan::Weight &weight : plan.weights)
    for (const plan::WeightPart &part : weight.parts) {
      Checkpoint::Found found;
      Expected<Source> source = findSource(weight, part, checkpoint, options, found);
      if (!source)
        return source.status();
    }

  LoadedWeights loaded;
  loaded.plannedBytes = plannedWeightBytes(plan);
  int64_t staged = 0;
  for (const plan::Weight &weight : plan.weights) {
    const int64_t width = plan::byteWidth(weight.type), bytes = weight.elements * width;
    Expected<DeviceMemory> memory = DeviceMemory::allocate(device, bytes);
    if (!memory)
      return Status(memory.status().code(), "weight '" + weight.name +
                                                "': " + memory.status().message() + "; " +
                                                largestBuffers(plan));
    int64_t owned = 0;
    bool random = false;
    std::vector<Part> parts;
    for (const plan::WeightPart &part : weight.parts) {
      Checkpoint::Found found;
      Expected<Source> source = findSource(weight, part, checkpoint, options, found);
      if (!source)
        return source.status();
      if (found.file) {
        Expected<const std::byte *> data = found.file->data(*found.tensor);
        if (!data)
          return data.status();
        source->data = *data;
      } else {
        random = true;
      }
      Box box = boxOf(plan, part, coordinates);
      owned += box.elements;
      // Only the rank at coordinate 0 brings a value that is added over these axes.
      bool mine = true;
      for (int32_t axis : part.partialAxes)
        mine = mine && coordinates[size_t(axis)] == 0;
      if (!mine)
        continue;
      loaded.copiedBytes += box.elements * width;
      parts.push_back({&part, *source, std::move(box)});
    }
    Status written = writeWeight(weight, parts, memory->data(), device, options, [&](int64_t more) {
      staged += more;
      if (options.progress)
        options.progress(staged, loaded.plannedBytes);
    });
    if (!written)
      return written;
    loaded.heldBytes += memory->bytes();
    loaded.paddingBytes += (weight.elements - owned) * width;
    loaded.randomWeights += random;
    loaded.memory.push_back(std::move(*memory));
  }
  // The last pieces may still be on their way.
  if (Status status = device.synchronize(); !status)
    return status;
  if (loaded.heldBytes != loaded.plannedBytes)
    return Status(Code::Plan, "weights: expected to hold " + std::to_string(loaded.plannedBytes) +
                                  " bytes as planned, found " + std::to_string(loaded.heldBytes));
  return loaded;
}

} // namespace tenon::runtime
