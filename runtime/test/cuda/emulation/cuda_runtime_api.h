// SPDX-License-Identifier: Apache-2.0
// cuda_runtime_api.h: the toolkit's second name for the runtime's interface; there is only one
// here.
#pragma once

#include "cuda_runtime.h"
