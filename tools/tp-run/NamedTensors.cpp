// SPDX-License-Identifier: Apache-2.0
#include "NamedTensors.h"

#include "tenon/runtime/AtomicFile.h"
#include "tenon/runtime/exec/InputCheck.h"
#include "tenon/runtime/exec/NpyFile.h"
#include "tenon/runtime/exec/OutputAssembly.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

namespace tenon::tprun {

using runtime::HostArray;

namespace {

/// "[0, 3, 1]".
std::string indexText(const std::vector<int64_t> &index) {
  std::string text = "[";
  for (size_t i = 0; i < index.size(); ++i)
    text += (i ? ", " : "") + std::to_string(index[i]);
  return text + "]";
}

size_t outputNumber(const plan::Entry &entry, const std::string &name) {
  return size_t(std::find_if(entry.outputs.begin(), entry.outputs.end(),
                             [&](const plan::IO &io) { return io.name == name; }) -
                entry.outputs.begin());
}

/// Name, type, shape and the first 16 elements, on stdout.
void printOutput(const std::string &name, const HostArray &value) {
  std::string text = name + " " + runtime::typeAndShape(value.type, value.shape) + ":";
  const int64_t width = plan::byteWidth(value.type), count = value.elements();
  for (int64_t i = 0; i < std::min<int64_t>(16, count); ++i) {
    const std::byte *element = value.bytes.data() + i * width;
    char number[40];
    if (plan::isFloat(value.type))
      std::snprintf(number, sizeof(number), " %.6g", runtime::elementAsDouble(value.type, element));
    else
      std::snprintf(number, sizeof(number), " %lld",
                    static_cast<long long>(runtime::elementAsInteger(value.type, element)));
    text += number;
  }
  std::puts((text + (count > 16 ? " ..." : "")).c_str());
}

} // namespace

Status checkNames(const plan::Entry &entry, const Options &options) {
  auto check = [&](const char *flag, const std::vector<plan::IO> &known,
                   const std::vector<NamedFile> &files) -> Status {
    for (const auto &[name, path] : files) {
      std::string names;
      bool found = false;
      for (const plan::IO &io : known) {
        names += (names.empty() ? "" : ", ") + io.name;
        found = found || io.name == name;
      }
      if (!found)
        return Status(Code::Usage, std::string(flag) + ": '" + entry.name + "' has no '" + name +
                                       "'; it has " + names);
    }
    return Status();
  };
  if (Status status = check("--input", entry.inputs, options.inputs); !status)
    return status;
  if (Status status = check("--output", entry.outputs, options.outputs); !status)
    return status;
  return check("--expected-output", entry.outputs, options.expectedOutputs);
}

Status checkPlaces(const Options &options) {
  std::vector<std::string> paths = {options.json, options.trace};
  for (const auto &[name, path] : options.outputs)
    paths.push_back(path);
  std::set<std::string> seen;
  for (const std::string &path : paths)
    if (!path.empty() && !path.starts_with("/dev/") && !seen.insert(path).second)
      return Status(Code::Usage, path + " is named for two results");
  for (const std::string &path : paths)
    if (!path.empty())
      if (Status status = checkWritable(path); !status)
        return status;
  return Status();
}

Expected<std::vector<HostArray>> makeInputs(const plan::Entry &entry, const Options &options) {
  std::vector<HostArray> values;
  for (const plan::IO &io : entry.inputs) {
    auto given = std::find_if(options.inputs.begin(), options.inputs.end(),
                              [&](const NamedFile &file) { return file.first == io.name; });
    if (given == options.inputs.end()) {
      if (!options.randomInputs)
        return Status(Code::Usage, "input '" + io.name + "' (" +
                                       runtime::typeAndShape(io.type, io.shape) +
                                       ") is missing: give --input=" + io.name +
                                       "=@FILE, or --random-inputs=SEED");
      values.push_back(runtime::randomInput(io, *options.randomInputs));
      continue;
    }
    Expected<HostArray> value = runtime::readNpy(given->second);
    if (!value)
      return value.status();
    Expected<HostArray> checked = runtime::checkInput(io, std::move(*value));
    if (!checked)
      return checked.status();
    values.push_back(std::move(*checked));
  }
  return values;
}

Expected<std::vector<HostArray>> readReferences(const plan::Entry &entry, const Options &options) {
  std::vector<HostArray> references;
  for (const auto &[name, path] : options.expectedOutputs) {
    const plan::IO &io = entry.outputs[outputNumber(entry, name)];
    Expected<HostArray> reference = runtime::readNpy(path);
    if (!reference)
      return reference.status();
    if (reference->shape != io.shape || plan::isFloat(reference->type) != plan::isFloat(io.type))
      return Status(Code::Usage, "--expected-output: '" + name + "' is " +
                                     runtime::typeAndShape(io.type, io.shape) + ", " + path +
                                     " holds " +
                                     runtime::typeAndShape(reference->type, reference->shape));
    references.push_back(std::move(*reference));
  }
  return references;
}

Status showOutputs(const plan::Entry &entry, const Options &options,
                   const std::vector<HostArray> &outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string &name = entry.outputs[i].name;
    auto wanted = std::find_if(options.outputs.begin(), options.outputs.end(),
                               [&](const NamedFile &file) { return file.first == name; });
    if (wanted == options.outputs.end()) {
      if (options.outputs.empty() && !options.quiet)
        printOutput(name, outputs[i]);
    } else if (Status status = runtime::writeNpy(wanted->second, outputs[i]); !status) {
      return status;
    }
  }
  // A reader may close; a full disk is a failure.
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed && errno != EPIPE)
    return Status(Code::Device, std::string("stdout: cannot write: ") + std::strerror(errno));
  std::clearerr(stdout);
  return Status();
}

Status compareOutputs(const plan::Entry &entry, const Options &options,
                      const std::vector<HostArray> &outputs,
                      const std::vector<HostArray> &references, std::vector<OutputCheck> &checks) {
  Status result;
  for (size_t i = 0; i < references.size(); ++i) {
    const std::string &name = options.expectedOutputs[i].first;
    runtime::Comparison comparison = runtime::compareValues(
        outputs[outputNumber(entry, name)], references[i], options.rtol, options.atol);
    checks.push_back({name, comparison.equal, comparison.maxError});
    if (comparison.equal || !result)
      continue;
    char text[256];
    std::snprintf(text, sizeof(text),
                  " differs: max error %.6g; worst at %s: expected %.9g, found %.9g",
                  comparison.maxError, indexText(comparison.index).c_str(), comparison.expected,
                  comparison.found);
    result = Status(Code::Differs, "output '" + name + "'" + text);
  }
  return result;
}

} // namespace tenon::tprun
