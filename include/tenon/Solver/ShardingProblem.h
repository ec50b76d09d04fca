// SPDX-License-Identifier: Apache-2.0
// ShardingProblem: choose one strategy per node so that the sum of node, edge and group costs is
// least, and that what the chosen strategies hold in memory stays within a limit at every time.
// Plain index-based data; check, solve, evaluate: always all three.
//
// Costs are seconds; infinity forbids. A group prices a value that several users may demand in
// different forms: each distinct demanded form is paid once, however many users share it
// (same-target sharing).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace tenon::solver {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Node {
  std::string name;          ///< For messages.
  std::vector<double> costs; ///< One per strategy; at least one is finite.
};

/// costs[a * strategies(second) + b].
struct Edge {
  int32_t first = 0, second = 0; ///< first < second.
  std::vector<double> costs;
};

/// A produced value with k >= 2 users. form[s] is the form that strategy s of the producer makes;
/// users[u].target[s] the form that strategy s of that user demands. Cost of a choice: the sum over
/// distinct targets t demanded of price[form * targets + t]. A node may appear only once in a
/// group.
struct Group {
  struct User {
    int32_t node = 0;
    std::vector<int32_t> target;
  };
  int32_t producer = 0;
  std::vector<int32_t> form;
  std::vector<User> users;
  int32_t forms = 0, targets = 0;
  std::vector<double> price; ///< forms x targets, seconds; infinity forbids.
};

/// Bytes that each strategy of a node holds from time `begin` to before `end`. Times are positions
/// in a schedule; a weight lives from the first to the last. A node may have several.
struct MemoryUse {
  int32_t node = 0;
  int32_t begin = 0, end = 0;
  std::vector<int64_t> bytes; ///< One per strategy.
};

inline constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

struct ShardingProblem {
  std::vector<Node> nodes;
  std::vector<Edge> edges;
  std::vector<Group> groups;
  std::vector<MemoryUse> uses;
  int64_t memoryLimit = kNoLimit; ///< Bytes at any time.
};

struct Solution {
  std::vector<int32_t> choice; ///< Strategy per node.
  double objective = kInfinity;
  double bound = -kInfinity; ///< Proven lower bound. Equal to the objective when exact.
  /// The bound as the engine summed it, before it was compared with the objective: equal to the
  /// objective but for rounding when elimination was exact, and never above it.
  double rawBound = -kInfinity;
  bool exact = false; ///< Proven: bound and objective are equal.
  bool feasible = false;
  int64_t largestTable = 0; ///< Entries of the widest elimination table.
  std::string method;       ///< How choice and bound were found, in a few words.
};

/// Returns an empty string, or what is malformed: sizes, index ranges, negative or NaN costs.
std::string check(const ShardingProblem &problem);

/// Objective of a choice, straight from the definition: shares no code with the solvers. Infinity
/// when forbidden or beyond the memory limit.
double evaluate(const ShardingProblem &problem, const std::vector<int32_t> &choice);

/// The same without a look at memory.
double costOf(const ShardingProblem &problem, const std::vector<int32_t> &choice);

/// The most bytes that a choice holds at any time.
int64_t peakMemory(const ShardingProblem &problem, const std::vector<int32_t> &choice);

/// A choice of finite cost that holds little at its peak: each node's leanest strategy where their
/// costs together are finite, else what elimination makes of prices on the bytes at the peaks.
std::vector<int32_t> leastMemory(const ShardingProblem &problem);

/// Tries everything. For tests: problems of at most ~10^7 combinations.
Solution solveByBruteForce(const ShardingProblem &problem);

/// Exact variable elimination in the order that minimises table size. Any group is exact: small
/// ones are one table, others cost one helper variable of two values per target that several users
/// share. Worst case exponential in the width of the graph; a chain of layers has width 4-5 and
/// takes milliseconds.
///
/// The memory limit is not looked at: the answer is to the problem without it.
///
/// When a joint table would exceed `tableLimit` entries, strategies are removed that no choice
/// better than one already found can have (soft arc consistency), and dominated ones, until
/// elimination fits; that is still exact. If it never does, the answer is the best choice that
/// local search in large neighbourhoods finds, and the better one of two lower bounds; exact =
/// false unless they meet. Infeasible: exact and not feasible; not feasible without exact means
/// that no choice was found.
///
/// The same input gives the same choice; which of several optima is not promised.
Solution solveByElimination(const ShardingProblem &problem, int64_t tableLimit = 10'000'000);

/// What a search may spend. The search ends at the first of both; with `seconds` never reached, the
/// same input gives the same answer.
struct SearchLimits {
  double seconds = 60;
  int64_t rounds = 2000;
  int64_t tableLimit = 300'000; ///< Entries of an elimination table.
  uint32_t seed = 1;
  /// Relaxations are solved by solveByElimination, not only bounded: for problems that it solves
  /// exactly and soon when they have no memory limit.
  bool exactRelaxations = false;
  /// Called with each better objective and the seconds since the start. May be empty.
  std::function<void(double objective, double seconds)> onBetter;
};

/// For problems with a memory limit, or too wide for elimination: anytime search and a bound.
///
/// The search improves a choice in large neighbourhoods: some nodes are released, as many as
/// elimination can solve together, and take the best values that memory allows, by multipliers on
/// the bytes (simulated annealing accepts the result). The bound is the Lagrangian dual over the
/// memory limit; exact = true only if they meet. Not feasible without exact means that no choice
/// was found.
Solution solveBySearch(const ShardingProblem &problem, const SearchLimits &limits = {});

/// The engine that fits: elimination without a memory limit, else or where elimination was not
/// exact, the search.
Solution solve(const ShardingProblem &problem, const SearchLimits &limits = {},
               int64_t tableLimit = 10'000'000);

/// For a solved problem: per node, its best other strategy (-1: none is allowed) and the least
/// increase of the objective when the node is forced to it while its neighbours choose again and
/// the rest stays: an upper bound on the true increase. Users of groups with more than 16 users do
/// not count each other as neighbours.
struct RunnerUp {
  int32_t strategy = -1;
  double increase = kInfinity;
};
std::vector<RunnerUp> runnerUps(const ShardingProblem &problem, const Solution &solution);

/// Text form for tests and bug reports.
std::string toJson(const ShardingProblem &problem);
/// Reads the text form; on failure returns false and sets `error`.
bool fromJson(const std::string &text, ShardingProblem &problem, std::string &error);
/// Reads a problem of the ASPLOS/EuroSys 2025 contest on intra-operator parallelism
/// (google/iopddl):
/// {"nodes": {"intervals", "costs", "usages"}, "edges": {"nodes", "costs"}, "usage_limit"}, at the
/// top or under "problem". Costs of 10^17 and more forbid.
bool fromContestJson(const std::string &text, ShardingProblem &problem, std::string &error);

} // namespace tenon::solver
