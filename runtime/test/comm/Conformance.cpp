// SPDX-License-Identifier: Apache-2.0
#include "Conformance.h"

#include "tenon/runtime/comm/HalfFloat.h"

#include <cmath>
#include <cstring>

namespace tenon::runtime::test {
namespace {

using plan::DataType;
using plan::ReduceKind;

const DataType kTypes[] = {DataType::F32, DataType::BF16, DataType::F16,
                           DataType::I32, DataType::I64,  DataType::I1};
// Nothing, one, odd, a whole share, more than one area of a shared segment (512 KiB) for every
// type.
const int64_t kCounts[] = {0, 1, 7, 64, 1001, 16385, 270001};

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Element i of rank r: signs and magnitudes that make the order of additions visible.
void fill(std::vector<std::byte> &data, int rank, int64_t count, DataType type, uint64_t salt) {
  data.resize(size_t(count * plan::byteWidth(type)));
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = mix(uint64_t(i) * 1000003 + uint64_t(rank) * 7919 + salt);
    float value = float(int64_t(bits % 2000001) - 1000000) * std::ldexp(1.0f, -int(bits >> 60));
    std::byte *to = data.data() + i * plan::byteWidth(type);
    uint16_t half = 0;
    int32_t i32 = int32_t(bits);
    int64_t i64 = int64_t(bits);
    uint8_t i1 = bits % 3 == 0;
    switch (type) {
    case DataType::F32:
      std::memcpy(to, &value, 4);
      break;
    case DataType::BF16:
      half = f32ToBf16(value);
      std::memcpy(to, &half, 2);
      break;
    case DataType::F16:
      half = f32ToF16(value / 64);
      std::memcpy(to, &half, 2);
      break;
    case DataType::I32:
      std::memcpy(to, &i32, 4);
      break;
    case DataType::I64:
      std::memcpy(to, &i64, 8);
      break;
    case DataType::I1:
      std::memcpy(to, &i1, 1);
      break;
    }
  }
}

template <typename T> T at(const std::vector<std::byte> &data, int64_t i) {
  T value;
  std::memcpy(&value, data.data() + i * int64_t(sizeof(T)), sizeof(T));
  return value;
}

template <typename T> T combine(T a, T b, ReduceKind kind) {
  if (kind == ReduceKind::Sum)
    return a + b;
  return kind == ReduceKind::Max ? std::max(a, b) : std::min(a, b);
}

// The reference: element by element, in rank order, rounded once.
std::vector<std::byte> reduceReference(const std::vector<std::vector<std::byte>> &parts,
                                       int64_t count, DataType type, ReduceKind kind) {
  std::vector<std::byte> result(size_t(count * plan::byteWidth(type)));
  for (int64_t i = 0; i < count; ++i) {
    std::byte *to = result.data() + i * plan::byteWidth(type);
    auto store = [&](auto value) { std::memcpy(to, &value, sizeof(value)); };
    if (type == DataType::F32 || type == DataType::BF16 || type == DataType::F16) {
      auto load = [&](const std::vector<std::byte> &part) {
        if (type == DataType::F32)
          return at<float>(part, i);
        return type == DataType::BF16 ? bf16ToF32(at<uint16_t>(part, i))
                                      : f16ToF32(at<uint16_t>(part, i));
      };
      volatile float sum = load(parts[0]);
      for (size_t r = 1; r < parts.size(); ++r)
        sum = combine<float>(sum, load(parts[r]), kind);
      if (type == DataType::F32)
        store(float(sum));
      else
        store(type == DataType::BF16 ? f32ToBf16(sum) : f32ToF16(sum));
    } else if (type == DataType::I32 || type == DataType::I64) {
      auto load = [&](const std::vector<std::byte> &part) {
        return type == DataType::I32 ? int64_t(at<int32_t>(part, i)) : at<int64_t>(part, i);
      };
      int64_t sum = load(parts[0]);
      for (size_t r = 1; r < parts.size(); ++r) {
        int64_t b = load(parts[r]);
        sum = kind == ReduceKind::Sum ? int64_t(uint64_t(sum) + uint64_t(b))
                                      : combine<int64_t>(sum, b, kind);
      }
      if (type == DataType::I32)
        store(int32_t(uint32_t(uint64_t(sum))));
      else
        store(sum);
    } else {
      uint8_t any = at<uint8_t>(parts[0], i);
      for (size_t r = 1; r < parts.size(); ++r) {
        uint8_t b = at<uint8_t>(parts[r], i);
        any = kind == ReduceKind::Min ? any & b : any | b;
      }
      store(any);
    }
  }
  return result;
}

std::string where(const char *what, int64_t count, DataType type, const Communicator &c) {
  return std::string(what) + " of " + std::to_string(count) + " " + plan::name(type) + " on rank " +
         std::to_string(c.rank()) + " of " + std::to_string(c.size()) + ": ";
}

std::string differs(const std::vector<std::byte> &found, const std::vector<std::byte> &expected) {
  if (found.size() != expected.size())
    return "sizes differ";
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] != expected[i])
      return "byte " + std::to_string(i) + " differs";
  return "";
}

struct Inputs {
  std::vector<std::vector<std::byte>> of;
  Inputs(const Communicator &c, int64_t count, DataType type, uint64_t salt)
      : of(static_cast<size_t>(c.size())) {
    for (int r = 0; r < c.size(); ++r)
      fill(of[size_t(r)], r, count, type, salt);
  }
};

std::string allReduce(Communicator &c, ReduceKind kind) {
  for (DataType type : kTypes)
    for (int64_t count : kCounts) {
      Inputs in(c, count, type, uint64_t(kind));
      auto expected = reduceReference(in.of, count, type, kind);
      std::vector<std::byte> x = in.of[size_t(c.rank())], out(x.size());
      CollectiveTime time;
      if (Status s = c.allReduce(x.data(), out.data(), count, type, kind, &time); !s)
        return where("all_reduce", count, type, c) + s.message();
      if (std::string d = differs(out, expected); !d.empty())
        return where("all_reduce", count, type, c) + d;
      if (!(time.entered > 0 && time.entered <= time.ready && time.ready <= time.left))
        return where("all_reduce", count, type, c) + "times are not in order";
      if (Status s = c.allReduce(x.data(), x.data(), count, type, kind); !s)
        return where("all_reduce in place", count, type, c) + s.message();
      if (std::string d = differs(x, expected); !d.empty())
        return where("all_reduce in place", count, type, c) + d;
    }
  return "";
}

std::string allReduceSum(Communicator &c) { return allReduce(c, ReduceKind::Sum); }
std::string allReduceMax(Communicator &c) { return allReduce(c, ReduceKind::Max); }
std::string allReduceMin(Communicator &c) { return allReduce(c, ReduceKind::Min); }

std::string allGather(Communicator &c) {
  for (DataType type : kTypes)
    for (int64_t count : kCounts) {
      Inputs in(c, count, type, 11);
      std::vector<std::byte> expected;
      for (const auto &part : in.of)
        expected.insert(expected.end(), part.begin(), part.end());
      std::vector<std::byte> out(expected.size());
      CollectiveTime time;
      if (Status s = c.allGather(in.of[size_t(c.rank())].data(), out.data(), count, type, &time);
          !s)
        return where("all_gather", count, type, c) + s.message();
      if (std::string d = differs(out, expected); !d.empty())
        return where("all_gather", count, type, c) + d;
      if (!(time.entered <= time.ready && time.ready <= time.left))
        return where("all_gather", count, type, c) + "times are not in order";
    }
  return "";
}

std::string reduceScatter(Communicator &c) {
  for (DataType type : kTypes)
    for (int64_t block : kCounts) {
      int64_t count = block * c.size();
      Inputs in(c, count, type, 12);
      auto sum = reduceReference(in.of, count, type, ReduceKind::Sum);
      int64_t bytes = block * plan::byteWidth(type);
      std::vector<std::byte> expected(sum.begin() + c.rank() * bytes,
                                      sum.begin() + (c.rank() + 1) * bytes);
      std::vector<std::byte> out(expected.size());
      if (Status s = c.reduceScatter(in.of[size_t(c.rank())].data(), out.data(), count, type,
                                     ReduceKind::Sum);
          !s)
        return where("reduce_scatter", count, type, c) + s.message();
      if (std::string d = differs(out, expected); !d.empty())
        return where("reduce_scatter", count, type, c) + d;
    }
  return "";
}

std::string allToAll(Communicator &c) {
  for (DataType type : kTypes)
    for (int64_t block : kCounts) {
      int64_t count = block * c.size(), bytes = block * plan::byteWidth(type);
      Inputs in(c, count, type, 13);
      std::vector<std::byte> expected;
      for (const auto &part : in.of)
        expected.insert(expected.end(), part.begin() + c.rank() * bytes,
                        part.begin() + (c.rank() + 1) * bytes);
      std::vector<std::byte> out(expected.size());
      if (Status s = c.allToAll(in.of[size_t(c.rank())].data(), out.data(), count, type); !s)
        return where("all_to_all", count, type, c) + s.message();
      if (std::string d = differs(out, expected); !d.empty())
        return where("all_to_all", count, type, c) + d;
    }
  return "";
}

std::string broadcast(Communicator &c) {
  for (DataType type : kTypes)
    for (int64_t count : kCounts) {
      Inputs in(c, count, type, 14);
      std::vector<std::byte> x = in.of[size_t(c.rank())], out(x.size());
      if (Status s = c.broadcast(x.data(), out.data(), count, type); !s)
        return where("broadcast", count, type, c) + s.message();
      if (std::string d = differs(out, in.of[0]); !d.empty())
        return where("broadcast", count, type, c) + d;
      if (Status s = c.broadcast(x.data(), x.data(), count, type); !s)
        return where("broadcast in place", count, type, c) + s.message();
      if (std::string d = differs(x, in.of[0]); !d.empty())
        return where("broadcast in place", count, type, c) + d;
    }
  return "";
}

// 16-bit floats are summed in f32: 256 + 1 + 1 in bf16 gives 258, step by step it would stay 256.
// In f32 the order decides: 2^24 + 1 + 1 stays 2^24.
std::string roundsOnce(Communicator &c) {
  uint16_t x = f32ToBf16(c.rank() == 0 ? 256.0f : 1.0f), out = 0;
  if (Status s = c.allReduce(&x, &out, 1, DataType::BF16, ReduceKind::Sum); !s)
    return s.message();
  float expected = bf16ToF32(f32ToBf16(256.0f + float(c.size() - 1)));
  if (bf16ToF32(out) != expected)
    return "bf16 sum is " + std::to_string(bf16ToF32(out)) + ", expected " +
           std::to_string(expected);
  float y = c.rank() == 0 ? 0x1p24f : 1.0f, sum = 0;
  if (Status s = c.allReduce(&y, &sum, 1, DataType::F32, ReduceKind::Sum); !s)
    return s.message();
  if (sum != 0x1p24f)
    return "f32 sum is not in rank order";
  return "";
}

std::string nanWins(Communicator &c) {
  float x = c.rank() == c.size() - 1 ? NAN : float(c.rank()), out = 0;
  for (ReduceKind kind : {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min}) {
    if (Status s = c.allReduce(&x, &out, 1, DataType::F32, kind); !s)
      return s.message();
    if (!std::isnan(out))
      return "a NaN was lost";
  }
  return "";
}

// Odd and even ranks apart, in reverse order; then both kinds of group in use at once.
std::string splits(Communicator &c) {
  auto group = c.split(c.rank() % 2, -c.rank());
  if (!group)
    return group.status().message();
  std::vector<int32_t> expected;
  for (int r = c.size() - 1; r >= 0; --r)
    if (r % 2 == c.rank() % 2)
      expected.push_back(r);
  if ((*group)->size() != int(expected.size()) || expected[size_t((*group)->rank())] != c.rank())
    return "rank " + std::to_string(c.rank()) + " is number " + std::to_string((*group)->rank()) +
           " of " + std::to_string((*group)->size());
  (*group)->setName("half");
  for (int round = 0; round < 50; ++round) {
    int32_t me = c.rank();
    std::vector<int32_t> members(expected.size());
    if (Status s = (*group)->allGather(&me, members.data(), 1, DataType::I32); !s)
      return s.message();
    if (members != expected)
      return "members are in another order";
    int32_t one = 1, all = 0;
    if (Status s = c.allReduce(&one, &all, 1, DataType::I32, ReduceKind::Sum); !s)
      return s.message();
    if (all != c.size())
      return "a sum over the parent is " + std::to_string(all);
  }
  auto alone = (*group)->split(c.rank(), 0);
  if (!alone)
    return alone.status().message();
  if ((*alone)->size() != 1)
    return "a group of one has size " + std::to_string((*alone)->size());
  float x = 3, out = 0;
  if (Status s = (*alone)->allReduce(&x, &out, 1, DataType::F32, ReduceKind::Sum); !s || out != 3)
    return "a group of one does not copy";
  return "";
}

std::string strings(Communicator &c) {
  for (size_t length : {size_t(0), size_t(1), size_t(300000)}) {
    auto mine = [&](int rank) { return std::string(length * size_t(rank), char('a' + rank)); };
    auto all = c.gatherStrings(mine(c.rank()));
    if (!all)
      return all.status().message();
    if (int(all->size()) != c.size())
      return "expected one string per member";
    for (int r = 0; r < c.size(); ++r)
      if ((*all)[size_t(r)] != mine(r))
        return "string of rank " + std::to_string(r) + " differs";
  }
  return "";
}

std::string barriers(Communicator &c) {
  for (int i = 0; i < 100; ++i)
    if (Status s = c.barrier(); !s)
      return s.message();
  return "";
}

std::string checkedTagsAgree(Communicator &c) {
  c.checkTags(true);
  c.setName(std::string(200, 'n'));
  c.setSequence(41);
  for (int i = 0; i < 3; ++i) {
    float x = 1, out = 0;
    if (Status s = c.allReduce(&x, &out, 1, DataType::F32, ReduceKind::Sum); !s)
      return s.message();
    if (out != float(c.size()))
      return "a checked sum is " + std::to_string(out);
  }
  c.checkTags(false);
  c.setName("world");
  return "";
}

} // namespace

const std::vector<ConformanceCase> &conformanceCases() {
  static const std::vector<ConformanceCase> cases = {
      {"allReduceSum", allReduceSum},
      {"allReduceMax", allReduceMax},
      {"allReduceMin", allReduceMin},
      {"allGather", allGather},
      {"reduceScatter", reduceScatter},
      {"allToAll", allToAll},
      {"broadcast", broadcast},
      {"roundsOnce", roundsOnce},
      {"nanWins", nanWins},
      {"splits", splits},
      {"strings", strings},
      {"barriers", barriers},
      {"checkedTagsAgree", checkedTagsAgree},
  };
  return cases;
}

} // namespace tenon::runtime::test
