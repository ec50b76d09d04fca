#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up test results, names what failed and prints `N passed, N failed`; exits 1 if anything failed or nothing ran.

Each argument is a folder with ctest's JUnit file, ctest.xml. lit and the pytest suites are one ctest entry
each and leave their own files beside it (lit.xml, pytest-NAME.xml), whose cases are counted instead.
"""

import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def report(case, element):
    """Names a failed case and quotes the end of what it said."""
    name = "::".join(part for part in (case.get("classname"), case.get("name")) if part)
    print(f"FAILED {name}")
    text = "" if element is None else (element.text or element.get("message") or "")
    for line in text.strip().splitlines()[-20:]:
        print(f"  {line}")


def count(path):
    """Returns (passed, failed, skipped) of one JUnit file."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        problem = case.find("failure")
        if problem is None:
            problem = case.find("error")
        if problem is not None:
            report(case, problem)
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_folder(folder):
    passed = failed = skipped = 0
    for case in ElementTree.parse(folder / "ctest.xml").getroot().iter("testcase"):
        status = case.get("status")
        # ctest writes `notrun` for a test that asked to be skipped and for one whose program is missing.
        skip = case.find("skipped")
        missing = status == "notrun" and not (skip is not None and skip.get("message", "").startswith("SKIP_"))
        case_failed = status == "fail" or missing
        own = folder / (case.get("name").replace("pytest.", "pytest-") + ".xml")
        if own.exists():
            own_passed, own_failed, own_skipped = count(own)
            passed, skipped = passed + own_passed, skipped + own_skipped
            # A suite may fail without a failed case: a deadline, or an error while collecting.
            failed += max(own_failed, int(case_failed))
            if case_failed and not own_failed:
                report(case, case.find("system-out"))
        elif case_failed:
            report(case, case.find("system-out"))
            failed += 1
        elif status == "run":
            passed += 1
        else:
            skipped += 1
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failed-stages", type=int, default=0, help="stages that failed, counted at least so often")
    parser.add_argument("folders", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    passed = failed = skipped = 0
    for folder in arguments.folders:
        if not (folder / "ctest.xml").exists():
            print(f"test_totals: {folder} has no ctest.xml: its tests did not run", file=sys.stderr)
            failed += 1
            continue
        totals = count_folder(folder)
        passed, failed, skipped = (a + b for a, b in zip((passed, failed, skipped), totals))
    failed = max(failed, arguments.failed_stages)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
