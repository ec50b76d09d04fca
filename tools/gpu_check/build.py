# SPDX-License-Identifier: Apache-2.0
"""Decides how the runtime is built on a bare machine: what is unpacked from the bundle, where CUDA's libraries are, which options CMake gets.

Nothing is installed: packages are unpacked into the work folder, and libraries that come as Python packages get links there under the
names that linkers look for. `python3 tools/gpu_check/build.py --bundle B --work W` does this part alone.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import os
import pathlib
import re
import shutil
import site
import sys
import sysconfig
import tarfile
from typing import Any, Iterator

import common

# No CPU device: it needs oneDNN, which the bundle leaves out.
PARTS = "plan;device;comm;exec;cuda"


class BuildError(Exception):
    pass


# --- packages -------------------------------------------------------------------------------------------------------------------------

def members(archive: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """The members of an ar archive, which is what a Debian package is."""
    with archive.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise BuildError(f"{archive.name}: expected a Debian package")
        while header := file.read(60):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            yield name, file.read(size)
            file.seek(size % 2, os.SEEK_CUR)


def unpack_package(archive: pathlib.Path, target: pathlib.Path) -> None:
    for name, content in members(archive):
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise BuildError(f"{archive.name}: compressed with zstd, which Python cannot read here")
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as tar:
                tar.extractall(target, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
            return
    raise BuildError(f"{archive.name}: no data.tar")


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def unpack_all(bundle: pathlib.Path, manifest: dict[str, Any], root: pathlib.Path) -> None:
    """Into root, once per bundle."""
    stamp = root / "unpacked"
    wanted = manifest["made"] + str(bundle)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for package in manifest["packages"]:
        if package["only_without"] and has_library(package["only_without"]):
            continue
        unpack_package(bundle / package["file"], root)
    if (bundle / "cudnn-frontend.tar.xz").exists():
        with tarfile.open(bundle / "cudnn-frontend.tar.xz") as archive:
            archive.extractall(root / "cudnn-frontend", **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
    # Debian makes this link when it installs.
    mpirun = root / "usr/bin/mpirun"
    if (root / "usr/bin/orterun").exists() and not mpirun.exists():
        mpirun.symlink_to("orterun")
    stamp.write_text(wanted)


# --- CUDA -----------------------------------------------------------------------------------------------------------------------------

def package_folders() -> list[pathlib.Path]:
    """Folders of Python packages, where torch's CUDA libraries lie."""
    names = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages(), site.getusersitepackages(), *sys.path]
    folders = dict.fromkeys(pathlib.Path(name) for name in names if name)
    return [folder / "nvidia" for folder in folders if (folder / "nvidia").is_dir()]


def find_nvcc() -> pathlib.Path | None:
    found = os.environ.get("CUDACXX") or shutil.which("nvcc")
    candidates = [pathlib.Path(found)] if found else []
    candidates += [pathlib.Path("/usr/local/cuda/bin/nvcc"), *sorted(pathlib.Path("/usr/local").glob("cuda-*/bin/nvcc"), reverse=True)]
    return next((path for path in candidates if path.exists()), None)


class Cuda:
    """The toolkit, and what stands in for what it lacks."""

    def __init__(self, links: pathlib.Path) -> None:
        nvcc = find_nvcc()
        if nvcc is None:
            raise BuildError("no nvcc: expected it in PATH, in CUDACXX or under /usr/local/cuda/bin")
        self.nvcc = nvcc
        self.root = nvcc.resolve().parents[1]
        self.links = links
        toolkit = [self.root, *(self.root / "targets").glob("x86_64-linux")]
        packages = package_folders()
        self.includes = [folder / "include" for folder in toolkit]
        self.libraries = [folder / name for folder in toolkit for name in ("lib64", "lib")]
        self.more_includes = [p for folder in packages for p in sorted(folder.glob("*/include"))]
        self.more_libraries = [p for folder in packages for p in sorted(folder.glob("*/lib"))]
        system = [pathlib.Path(p) for p in ("/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/local/include")]
        self.all_includes = [p for p in [*self.includes, *system, *self.more_includes] if p.is_dir()]
        system = [pathlib.Path(p) for p in ("/usr/lib/x86_64-linux-gnu", "/usr/local/lib", "/usr/lib64")]
        self.all_libraries = [p for p in [*self.libraries, *system, *self.more_libraries] if p.is_dir()]

    def header(self, name: str) -> pathlib.Path | None:
        return next((folder for folder in self.all_includes if (folder / name).exists()), None)

    def library(self, name: str) -> pathlib.Path | None:
        """libNAME.so, linked under that name and its own into the folder of links where only versions of it exist."""
        for folder in self.all_libraries:
            plain = folder / f"lib{name}.so"
            if plain.exists() and plain.stat().st_size > 4096:
                return plain
            versions = sorted(folder.glob(f"lib{name}.so.*"))
            if versions:
                self.links.mkdir(parents=True, exist_ok=True)
                # cuDNN opens its parts from its own folder.
                for file in {*versions, *(folder.glob("libcudnn*.so.*") if name == "cudnn" else [])}:
                    self.link(self.links / file.name, file)
                self.link(self.links / f"lib{name}.so", versions[0])
                return self.links / f"lib{name}.so"
        return None

    @staticmethod
    def link(at: pathlib.Path, to: pathlib.Path) -> None:
        at.unlink(missing_ok=True)
        at.symlink_to(to.resolve())

    def options(self, frontend: pathlib.Path | None) -> tuple[list[str], list[pathlib.Path], dict[str, str]]:
        """CMake's options, folders of headers to add for C++ and CUDA, and what was found."""
        options = [f"-DCMAKE_CUDA_COMPILER={self.nvcc}", f"-DCUDAToolkit_ROOT={self.root}"]
        missing, extra, found = [], [], {"nvcc": str(self.nvcc)}
        for variable, header, name in (("", "cuda_runtime.h", "cudart"), ("cublasLt", "cublasLt.h", "cublasLt"), ("nvrtc", "nvrtc.h", "nvrtc")):
            folder, library = self.header(header), self.library(name)
            if not folder or not library:
                missing.append(f"{header} and lib{name}")
                continue
            found[name] = str(library.resolve())
            if folder not in self.includes:
                extra.append(folder)
            if variable:
                options.append(f"-DCUDA_{variable}_LIBRARY={library}")
        folder, library = self.header("nccl.h"), self.library("nccl")
        if not folder or not library:
            missing.append("nccl.h and libnccl")
        else:
            options += [f"-DTENON_NCCL_INCLUDE={folder}", f"-DTENON_NCCL_LIBRARY={library}"]
            found["nccl"] = str(library.resolve())
        if missing:
            raise BuildError(f"not found in the toolkit, the system or Python's packages: {'; '.join(missing)}")
        folder, library = self.header("cudnn.h"), self.library("cudnn")
        if folder and library and frontend:
            options += [f"-DTENON_CUDNN_INCLUDE={folder}", f"-DTENON_CUDNN_LIBRARY={library}", f"-DTENON_CUDNN_FRONTEND_INCLUDE={frontend}"]
            found["cudnn"] = str(library.resolve())
        return options, list(dict.fromkeys(extra)), found


# --- environment, configure, build ------------------------------------------------------------------------------------------------------

def runtime_environment(root: pathlib.Path, links: pathlib.Path, work: pathlib.Path) -> dict[str, str]:
    """For mpirun and tp-run: the unpacked Open MPI where it lies, one machine, shared memory; links to CUDA's libraries."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    environment = dict(os.environ)
    paths = [libraries, libraries / "openmpi/lib", libraries / "pmix2/lib", *([links] if links.is_dir() else [])]
    old = environment.get("LD_LIBRARY_PATH")
    environment.update({
        "OPAL_PREFIX": str(root / "usr"), "PMIX_PREFIX": str(libraries / "pmix2"),
        "PATH": f"{root / 'usr/bin'}:{environment.get('PATH', '/usr/bin:/bin')}",
        "LD_LIBRARY_PATH": ":".join([*map(str, paths), *([old] if old else [])]),
        # Components for networks lack their libraries here, and no other machine is asked for.
        "OMPI_MCA_mca_base_component_show_load_errors": "0", "OMPI_MCA_plm": "isolated", "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "self,vader", "PMIX_MCA_pcompress_base_silence_warning": "1",
        "TENON_CACHE_DIR": str(work / "cache"), "TMPDIR": short_temporary(environment),
    })
    return environment


def short_temporary(environment: dict[str, str]) -> str:
    """Open MPI puts sockets there, whose names must be short."""
    folder = environment.get("TMPDIR", "/tmp")
    return folder if len(folder) < 40 and os.access(folder, os.W_OK) else "/tmp"


def mpirun(ranks: int) -> list[str]:
    return ["mpirun", "--oversubscribe", "--bind-to", "none", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-n", str(ranks)]


def architectures() -> list[str]:
    """Machine code for the GPUs of this machine alone, which halves the build; without any, what the runtime builds for."""
    if not shutil.which("nvidia-smi"):
        return []
    done = common.call(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], 30, os.environ)
    found = sorted({line.strip().replace(".", "") for line in done.output.splitlines() if re.fullmatch(r"\d+\.\d", line.strip())})
    return [f"-DCMAKE_CUDA_ARCHITECTURES={';'.join(found)}"] if done.code == 0 and found else []


def configure(root: pathlib.Path, work: pathlib.Path, cuda: bool, parts: str = PARTS) -> tuple[list[str], dict[str, str]]:
    """The line of CMake, and what was found."""
    usr = root / "usr"
    libraries = usr / "lib/x86_64-linux-gnu"
    mpi_libraries = sorted(libraries.glob("libmpi.so.*"))
    command = ["cmake", "-S", common.ROOT / "runtime", "-B", work / "build", "-DCMAKE_BUILD_TYPE=Release", "-DTENON_BUILD_TESTS=OFF",
               "-DTENON_INJECT=ON", f"-DTENON_RUNTIME_PARTS={parts}", f"-DCMAKE_PREFIX_PATH={usr}"]
    if shutil.which("ninja"):
        command += ["-G", "Ninja"]
    headers, found = [f"-isystem {usr / 'include'}"], {}
    if (usr / "bin/flatc").exists():
        command.append(f"-DTENON_FLATC={usr / 'bin/flatc'}")
    if mpi_libraries:
        # Without the compiler wrapper: it knows only the folders that Debian installs to.
        command += ["-DMPI_SKIP_COMPILER_WRAPPER=ON", f"-DMPI_C_HEADER_DIR={libraries / 'openmpi/include'}", "-DMPI_C_LIB_NAMES=mpi",
                    f"-DMPI_mpi_LIBRARY={mpi_libraries[0]}"]
    if cuda:
        frontend = root / "cudnn-frontend/include"
        options, extra, found = Cuda(work / "links").options(frontend if frontend.is_dir() else None)
        command += options
        headers += [f"-isystem {folder}" for folder in extra]
        if extra:
            command.append("-DCMAKE_CUDA_FLAGS=" + " ".join(f"-isystem {folder}" for folder in extra))
        command += architectures()
    command.append("-DCMAKE_CXX_FLAGS=" + " ".join(headers))
    return command, found


def build(bundle: pathlib.Path, work: pathlib.Path, deadline: float, jobs: int, cuda: bool = True, parts: str = PARTS) -> dict[str, Any]:
    """Unpacks, configures, builds; returns what was found. Logs are in the work folder."""
    manifest = common.read_json(bundle / "manifest.json")
    root = work / "root"
    unpack_all(bundle, manifest, root)
    environment = runtime_environment(root, work / "links", work)
    command, found = configure(root, work, cuda, parts)
    # A cache of another place or another bundle would keep the paths of that.
    if (work / "build/CMakeCache.txt").exists() and not (work / "build/configured").exists():
        shutil.rmtree(work / "build")
    targets = ["tp-run", *(["TenonCuda"] if cuda else [])]
    for name, line in (("configure", command), ("build", ["cmake", "--build", work / "build", "--target", *targets, "-j", str(jobs)])):
        done = common.call(line, deadline, environment)
        (work / f"{name}.log").write_text(" ".join(map(str, line)) + "\n" + done.output)
        deadline -= done.seconds
        if done.code != 0:
            sys.stdout.write("\n".join(done.output.splitlines()[-60:]) + "\n")
            raise BuildError(f"{name} {'took too long' if done.code is None else f'failed with {done.code}'}; see {work / name}.log")
        if name == "configure":
            (work / "build/configured").touch()
            # What the runtime leaves out it says in lines of this form.
            notes = [line.strip(" -") for line in done.output.splitlines() if "CUDA: " in line]
            if notes:
                found["notes"] = "; ".join(notes)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--deadline", type=float, default=3600)
    parser.add_argument("--no-cuda", action="store_true", help="for tests of this script")
    parser.add_argument("--parts", default=PARTS)
    arguments = parser.parse_args()
    try:
        found = build(arguments.bundle.resolve(), arguments.work.resolve(), arguments.deadline, arguments.jobs, not arguments.no_cuda,
                      arguments.parts)
    except BuildError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
