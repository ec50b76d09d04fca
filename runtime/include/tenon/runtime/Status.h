// SPDX-License-Identifier: Apache-2.0
// Status and Expected: how every runtime function reports failure. Libraries return them; only
// `main` turns a code into a process exit.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace tenon {

/// Exit codes of tp-run; 1 is never used.
enum class Code : int {
  Ok = 0,
  Usage = 2,    ///< Arguments, inputs or world size.
  Plan = 3,     ///< Plan, weights or an op is not acceptable.
  Disagree = 4, ///< Ranks disagree.
  Memory = 5,   ///< Memory does not suffice.
  Deadline = 6, ///< A deadline passed.
  Device = 7,   ///< Device or communication library failed.
  Differs = 8,  ///< A result differs.
};

/// Success, or a code with one message: lower-case, no full stop, expected and found.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {
    assert(code != Code::Ok && "an error needs a code");
  }
  bool ok() const { return code_ == Code::Ok; }
  explicit operator bool() const { return ok(); }
  Code code() const { return code_; }
  const std::string &message() const { return message_; }

private:
  Code code_ = Code::Ok;
  std::string message_;
};

/// A value, or the Status that says why there is none.
template <typename T> class [[nodiscard]] Expected {
public:
  Expected(T value) : value_(std::move(value)) {}
  Expected(Status status) : status_(std::move(status)) { assert(!status_.ok()); }
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T &operator*() { return *value_; }
  const T &operator*() const { return *value_; }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }
  const Status &status() const { return status_; }

private:
  std::optional<T> value_;
  Status status_;
};

} // namespace tenon
