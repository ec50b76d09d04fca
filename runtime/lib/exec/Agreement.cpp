// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/exec/Agreement.h"

#include <algorithm>

namespace tenon::runtime {

Status agree(Communicator &world, const Status &mine) {
  int32_t code = int32_t(mine.code());
  std::vector<int32_t> codes(size_t(world.size()), 0);
  if (Status status = world.allGather(&code, codes.data(), 1, plan::DataType::I32); !status)
    return mine.ok() ? status : mine;
  for (int rank = 0; rank < world.size(); ++rank)
    if (codes[size_t(rank)] != 0)
      return rank == world.rank() ? mine : Status(Code(codes[size_t(rank)]), peerFailed);
  return Status();
}

static std::string encode(const HandshakeFields &fields, const std::string &host) {
  std::string text = host;
  for (const auto &[name, value] : fields)
    text += '\n' + value;
  return text;
}

static std::vector<std::string> decode(const std::string &text) {
  std::vector<std::string> values;
  for (size_t begin = 0;;) {
    size_t end = text.find('\n', begin);
    values.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos)
      return values;
    begin = end + 1;
  }
}

Status shakeHands(Communicator &world, const HandshakeFields &mine, const std::string &host) {
  Expected<std::vector<std::string>> all = world.gatherStrings(encode(mine, host));
  if (!all)
    return all.status();
  std::vector<std::vector<std::string>> values;
  for (const std::string &text : *all)
    values.push_back(decode(text));
  std::string table;
  for (size_t field = 0; field < mine.size(); ++field) {
    auto valueOf = [&](size_t rank) {
      return field + 1 < values[rank].size() ? values[rank][field + 1] : std::string("(none)");
    };
    bool differs = false;
    for (size_t rank = 1; rank < values.size(); ++rank)
      differs = differs || valueOf(rank) != valueOf(0);
    if (!differs)
      continue;
    for (size_t rank = 0; rank < values.size(); ++rank)
      table += "\n  " + mine[field].first + "  rank " + std::to_string(rank) + " on " +
               values[rank][0] + ": " + valueOf(rank);
  }
  if (table.empty())
    return Status();
  return Status(Code::Disagree, world.rank() == 0 ? "ranks were started differently:" + table
                                                  : std::string(peerFailed));
}

std::vector<int> meshOrder(const std::vector<std::string> &hosts) {
  std::vector<std::string> seen;
  std::vector<int> order;
  for (const std::string &host : hosts)
    if (std::find(seen.begin(), seen.end(), host) == seen.end())
      seen.push_back(host);
  for (const std::string &host : seen)
    for (size_t rank = 0; rank < hosts.size(); ++rank)
      if (hosts[rank] == host)
        order.push_back(int(rank));
  return order;
}

Status checkPlacement(const std::vector<plan::MeshAxis> &mesh,
                      const std::vector<std::string> &hosts) {
  if (mesh.empty())
    return Status();
  const std::string &axis = mesh.back().parent;
  // Ranks are row-major, so a group over the last axis is a run of its size.
  size_t size = 1;
  for (const plan::MeshAxis &part : mesh)
    if (part.parent == axis)
      size *= size_t(part.size);
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    if (hosts[rank] == hosts[rank - rank % size])
      continue;
    std::string text =
        "axis '" + axis + "' of " + std::to_string(size) +
        " ranks crosses nodes, and the plan expects it inside one; start as many ranks "
        "per node, or accept it with --allow-placement. Mesh ranks by node:";
    for (size_t begin = 0; begin < hosts.size();) {
      size_t end = begin;
      while (end < hosts.size() && hosts[end] == hosts[begin])
        ++end;
      text += "\n  " + hosts[begin] + ": " + std::to_string(begin) +
              (end - begin > 1 ? "-" + std::to_string(end - 1) : "");
      begin = end;
    }
    return Status(Code::Usage, text);
  }
  return Status();
}

} // namespace tenon::runtime
