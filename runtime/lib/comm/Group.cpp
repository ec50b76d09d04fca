// SPDX-License-Identifier: Apache-2.0
#include "Group.h"

#include <algorithm>
#include <chrono>
#include <functional>

namespace tenon::runtime {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static const char *kindName(uint32_t op) {
  if (op == kBarrier)
    return "barrier";
  switch (plan::CollectiveKind(op / 16)) {
  case plan::CollectiveKind::AllReduce:
    return "all_reduce";
  case plan::CollectiveKind::AllGather:
    return "all_gather";
  case plan::CollectiveKind::ReduceScatter:
    return "reduce_scatter";
  case plan::CollectiveKind::AllToAll:
    return "all_to_all";
  case plan::CollectiveKind::Broadcast:
    return "broadcast";
  }
  return "unknown collective";
}

std::string describe(const WireTag &tag) {
  std::string text = kindName(tag.op);
  if (tag.op != kBarrier && tag.op % 16 == uint32_t(plan::ReduceKind::Max))
    text += " (max)";
  if (tag.op != kBarrier && tag.op % 16 == uint32_t(plan::ReduceKind::Min))
    text += " (min)";
  text += " number " + std::to_string(tag.sequence);
  if (tag.op != kBarrier)
    text += " of " + std::to_string(tag.count) + " " +
            (tag.type <= uint8_t(plan::DataType::I1) ? plan::name(plan::DataType(tag.type)) : "?");
  return text + " over " + std::string(tag.group, strnlen(tag.group, sizeof(tag.group)));
}

WireTag Group::nextTag(uint32_t op, int64_t count, plan::DataType type) {
  WireTag tag;
  std::memset(&tag, 0, sizeof(tag));
  tag.sequence = sequence_++;
  tag.count = uint64_t(count);
  tag.op = op;
  tag.type = uint8_t(type);
  if (name_.size() < sizeof(tag.group)) {
    std::memcpy(tag.group, name_.data(), name_.size());
  } else {
    std::string cut = "#" + std::to_string(std::hash<std::string>()(name_));
    size_t kept = sizeof(tag.group) - 1 - cut.size();
    std::memcpy(tag.group, name_.data(), kept);
    std::memcpy(tag.group + kept, cut.data(), cut.size());
  }
  return tag;
}

Status Group::compare(const WireTag &mine, const WireTag &other, int peer) const {
  if (std::memcmp(&mine, &other, sizeof(mine)) == 0)
    return Status();
  return Status(Code::Disagree, "collectives differ: rank " + std::to_string(rank()) +
                                    " of the group is at " + describe(mine) + ", rank " +
                                    std::to_string(peer) + " at " + describe(other));
}

Status Group::barrier() { return runBarrier(nextTag(kBarrier, 0, plan::DataType::I1)); }

Expected<std::vector<std::string>> Group::gatherStrings(const std::string &mine) {
  std::vector<int64_t> lengths(size_t(size()), 0);
  int64_t length = int64_t(mine.size());
  if (Status status = allGather(&length, lengths.data(), 1, plan::DataType::I64); !status)
    return status;
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::string padded = mine;
  padded.resize(size_t(longest));
  std::string all(size_t(longest * size()), '\0');
  if (Status status = allGather(padded.data(), all.data(), longest, plan::DataType::I1); !status)
    return status;
  std::vector<std::string> result;
  for (int member = 0; member < size(); ++member)
    result.push_back(all.substr(size_t(member * longest), size_t(lengths[size_t(member)])));
  return result;
}

Expected<std::vector<int>> Group::splitMembers(int color, int key) {
  int32_t mine[2] = {color, key};
  std::vector<int32_t> all(size_t(size()) * 2);
  if (Status status = allGather(mine, all.data(), 2, plan::DataType::I32); !status)
    return status;
  std::vector<int> members;
  for (int member = 0; member < size(); ++member)
    if (all[size_t(member) * 2] == color)
      members.push_back(member);
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return all[size_t(a) * 2 + 1] < all[size_t(b) * 2 + 1]; });
  return members;
}

} // namespace tenon::runtime
