// SPDX-License-Identifier: Apache-2.0
#include "tenon/Cost/Measured.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace tenon::cost {

namespace {

/// Where a size lies among ascending points: the point below, the weight of the next one (in
/// logarithms), and the factor by which the size exceeds the last point.
struct Place {
  size_t below = 0;
  double weight = 0, beyond = 1;
};

Place placeOf(const std::vector<double> &points, double size) {
  Place place;
  if (size >= points.back()) {
    place.below = points.size() - 1;
    place.beyond = size / points.back();
  } else if (size > points.front()) {
    place.below = static_cast<size_t>(std::upper_bound(points.begin(), points.end(), size) -
                                      points.begin() - 1);
    place.weight = std::log(size / points[place.below]) /
                   std::log(points[place.below + 1] / points[place.below]);
  }
  return place;
}

} // namespace

double Curve::at(double size) const {
  const Place place = placeOf(bytes, size);
  double log = std::log(seconds[place.below]);
  if (place.weight > 0)
    log += place.weight * (std::log(seconds[place.below + 1]) - log);
  return std::exp(log) * place.beyond;
}

double Grid::at(const std::array<double, 3> &sizes) const {
  std::array<Place, 3> places;
  double beyond = 1;
  for (size_t d = 0; d < 3; ++d) {
    places[d] = placeOf(axes[d], sizes[d]);
    beyond *= places[d].beyond;
  }
  double log = 0;
  for (int corner = 0; corner < 8; ++corner) {
    double weight = 1;
    size_t index = 0;
    for (size_t d = 0; d < 3; ++d) {
      const bool next = (corner >> d & 1) != 0;
      weight *= next ? places[d].weight : 1 - places[d].weight;
      index =
          index * axes[d].size() + std::min(places[d].below + (next ? 1 : 0), axes[d].size() - 1);
    }
    if (weight > 0)
      log += weight * std::log(seconds[index]);
  }
  return std::exp(log) * beyond;
}

std::optional<double> Measured::collective(const std::string &kind, int64_t ranks,
                                           double bytes) const {
  const MeasuredCollective *nearest = nullptr;
  for (const MeasuredCollective &candidate : collectives)
    if (candidate.kind == kind &&
        (!nearest || std::abs(candidate.ranks - ranks) < std::abs(nearest->ranks - ranks)))
      nearest = &candidate;
  if (!nearest)
    return std::nullopt;
  auto sent = [](int64_t p) { return static_cast<double>(p - 1) / static_cast<double>(p); };
  return nearest->time.at(bytes * sent(ranks) / sent(nearest->ranks));
}

} // namespace tenon::cost
