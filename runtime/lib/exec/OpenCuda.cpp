// SPDX-License-Identifier: Apache-2.0
#include "tenon/runtime/CudaDevice.h"

#include <dlfcn.h>
#include <filesystem>

namespace tenon::runtime {

/// Made by the library; it is never closed, so the object lives to the end of the process.
using MakeCuda = Cuda *();

Expected<std::unique_ptr<Cuda>> openCuda(const std::string &name) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path here = program.parent_path();
  std::filesystem::path found;
  for (const std::filesystem::path &folder : {here, here / ".." / "lib"})
    if (found.empty() && std::filesystem::exists(folder / name, error))
      found = folder / name;
  if (found.empty())
    return Status(Code::Plan, "--device=cuda: this build has no " + name +
                                  ": it was made without the CUDA toolkit");
  void *library = dlopen(found.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return Status(Code::Plan, std::string("--device=cuda: ") + dlerror());
  void *symbol = dlsym(library, "tenonMakeCuda");
  if (!symbol)
    return Status(Code::Plan, "--device=cuda: " + found.string() + " is another library");
  return std::unique_ptr<Cuda>(reinterpret_cast<MakeCuda *>(symbol)());
}

} // namespace tenon::runtime
